"""Exercism as tasks: a program writes the file by itself, the exercise's own test decides."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.suites.problems import Problem, cases, exercism
from tests.suites.solving import doing_nothing_fails, the_solution_passes

CASES = cases(exercism(), bubblewrap=3, docker=1)


def test_all_of_them_are_here() -> None:
    assert len(CASES) == 2 * 55


@pytest.mark.parametrize(("problem", "kind"), CASES)
def test_the_example_passes(problem: Problem, kind: str, tmp_path: Path) -> None:
    the_solution_passes(problem, kind, tmp_path / "task")


@pytest.mark.parametrize(("problem", "kind"), CASES)
def test_the_stub_fails(problem: Problem, kind: str, tmp_path: Path) -> None:
    doing_nothing_fails(problem, kind, tmp_path / "task")
