"""What holds for every test: a home of its own, an engine where one is asked for, nothing left."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from leftovers import MARK, left_behind

# A loaded machine is slow at times; what must end in time is bounded by the tests themselves.
settings.register_profile("planloop", deadline=None)
settings.load_profile("planloop")

ROOT = Path(__file__).resolve().parent.parent
collect_ignore = ["data"]
"""Material of tests, some of which looks like tests."""
_ENVIRONMENT = dict(os.environ)
"""As the session was started, before any test changed it."""
_NO_ENGINE = "PLANLOOP_TEST_NO_ENGINE"
"""Set by `scripts/test` to the reason why there is no Docker engine."""
_TEMPORARY = "PLANLOOP_TEST_TEMPORARY"
_FOREIGN = re.compile(r"PLANLOOP_|XDG_|OPENAI_|.*_API_KEY$")
"""Variables that would let the machine's own settings decide a test."""
_KEPT = ("PLANLOOP_TEST_", "XDG_CONFIG_DIRS", "XDG_DATA_DIRS", "XDG_RUNTIME_DIR")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Give the session one temporary folder, so that what is left of it can be told apart."""
    if hasattr(config, "workerinput"):
        return
    # Short, for the sake of socket addresses; open to the users that sandboxes change to.
    folder = Path(tempfile.mkdtemp(prefix="plt-", dir="/tmp"))
    folder.chmod(0o711)
    os.environ.update({"TMPDIR": str(folder), MARK: str(folder), _TEMPORARY: str(folder)})
    tempfile.tempdir = None
    config.option.basetemp = config.option.basetemp or folder / "t"


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail the session if anything is left of it."""
    if hasattr(session.config, "workerinput"):
        return
    folder = Path(os.environ[_TEMPORARY])
    if found := left_behind(folder):
        _report_error(session, "left behind by this session:\n" + "\n".join(found))
    shutil.rmtree(folder, ignore_errors=True)


def _report_error(session: pytest.Session, text: str) -> None:
    report = pytest.TestReport(
        nodeid="the whole session",
        location=("tests/conftest.py", None, "the whole session"),
        keywords={},
        outcome="failed",
        longrepr=text,
        when="teardown",
    )
    terminal = session.config.pluginmanager.get_plugin("terminalreporter")
    if terminal is not None:
        terminal.stats.setdefault("error", []).append(report)
    if session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_report_header() -> list[str]:
    """Say what cannot be tested here, and what to do; the skips themselves are short."""
    why = os.environ.get(_NO_ENGINE)
    return [f"tests marked `docker` are skipped: {why}"] if why else []


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Async tests run on asyncio, which is all that planloop promises."""
    return "asyncio"


@pytest.fixture(scope="session")
def started_environment() -> dict[str, str]:
    """The environment variables that the session was started with, for what needs the network."""
    return dict(_ENVIRONMENT)


@pytest.fixture(autouse=True)
def _own_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test sees the machine's own settings, or leaves any."""
    before = dict(os.environ)
    for name in before:
        if _FOREIGN.match(name) and not name.startswith(_KEPT):
            del os.environ[name]
    os.environ["HOME"] = str(tmp_path_factory.mktemp("home"))
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(autouse=True)
def _engine_where_marked(request: pytest.FixtureRequest) -> None:
    if request.node.get_closest_marker("docker"):
        request.getfixturevalue("docker_engine")


@pytest.fixture(scope="session")
def docker_engine() -> None:
    """A Docker engine that answers and has the default image; skips only where none may be had."""
    if os.environ.get(_NO_ENGINE):
        pytest.skip("no Docker engine")
    ran = subprocess.run(
        [ROOT / "scripts" / "engine"], env=_ENVIRONMENT, capture_output=True, text=True
    )
    if ran.returncode == 0:
        return
    if os.geteuid() == 0:
        pytest.fail(f"scripts/engine failed:\n{ran.stderr}", pytrace=False)
    pytest.skip(f"no Docker engine is ready: {ran.stderr.strip()}")
