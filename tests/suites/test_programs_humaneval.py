"""HumanEval as programs: each solution and its test run statement by statement in a sandbox."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.suites.problems import Problem, cases, humaneval
from tests.suites.solving import doing_nothing_fails, the_solution_passes

CASES = cases(humaneval(), bubblewrap=3, docker=1)


def test_all_of_them_are_here() -> None:
    assert len(CASES) == 2 * 65


@pytest.mark.parametrize(("problem", "kind"), CASES)
def test_a_solution_passes_its_own_test_and_the_check(
    problem: Problem, kind: str, tmp_path: Path
) -> None:
    the_solution_passes(problem, kind, tmp_path / "task")


@pytest.mark.parametrize(("problem", "kind"), CASES)
def test_what_is_given_fails_its_own_test_and_the_check(
    problem: Problem, kind: str, tmp_path: Path
) -> None:
    solved = doing_nothing_fails(problem, kind, tmp_path / "task")
    test = next(one for one in solved.statements if one.text.startswith("verify("))
    assert test.error is not None
    assert solved.failed == [test.error.type]
