"""QuixBugs as tasks: the plan writes the program without its bug, its own test decides."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.suites.problems import Problem, cases, quixbugs
from tests.suites.solving import doing_nothing_fails, the_solution_passes
from tests.suites.wheels import address_from, served

CASES = cases(quixbugs(), bubblewrap=2, docker=1)
PYTEST = ("pytest", "pluggy", "iniconfig", "packaging", "pygments")


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with served(PYTEST) as port:
        yield port


@pytest.fixture(scope="module")
def layers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is installed is made once for all of these tests."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def index(kind: str, port: int, layers: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sandboxes find pytest in an index on this machine."""
    address = address_from(kind)
    monkeypatch.setenv("XDG_CACHE_HOME", str(layers))
    monkeypatch.setenv("PIP_INDEX_URL", f"http://{address}:{port}/simple")
    monkeypatch.setenv("PIP_TRUSTED_HOST", address)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")


@pytest.mark.parametrize(("problem", "kind"), CASES)
def test_the_program_without_its_bug_passes(problem: Problem, kind: str, tmp_path: Path) -> None:
    the_solution_passes(problem, kind, tmp_path / "task")


@pytest.mark.parametrize(("problem", "kind"), CASES)
def test_the_program_with_its_bug_fails(problem: Problem, kind: str, tmp_path: Path) -> None:
    doing_nothing_fails(problem, kind, tmp_path / "task")
