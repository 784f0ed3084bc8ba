"""Programming problems of the public suites: as tasks, each with a plan that solves it."""

from __future__ import annotations

import dataclasses
import random
import re
from collections.abc import Sequence
from typing import Any

import pytest

from planloop import PackagesSpec, PythonCheck, RunCheck, Task
from tests.suites.running import DATA, rows

CHECK_S = 20.0
"""What a test may take; some programs with a bug run for ever."""
_SEED = 8


@dataclasses.dataclass(frozen=True, kw_only=True)
class Problem:
    """One problem: what is given, what decides, and what solves it."""

    name: str
    text: str
    files: dict[str, str]
    solved: dict[str, str]
    """The files that a solution changes, as they are then."""
    check: PythonCheck | RunCheck
    solution: str
    """A plan that solves it."""
    attempt: str | None = None
    """A plan that tests what is given, and so fails, if the suite's tests are part of the plan."""
    pip: tuple[str, ...] = ()
    """Requirements of its check."""

    def task(self, folder: Any) -> Task:
        """The problem as a task over a folder that is filled with its files."""
        for name, text in self.files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
        return Task(
            text=self.text, folder=folder, checks=(self.check,), packages=PackagesSpec(pip=self.pip)
        )


def cases(problems: Sequence[Problem], **samples: int) -> list[Any]:
    """Every problem in every kind of sandbox; all but a seeded sample of each kind are slow.

    Args:
        samples: how many of each kind of sandbox are not.
    """
    found = []
    for kind, size in samples.items():
        chosen = random.Random(_SEED).sample([one.name for one in problems], size)
        for problem in problems:
            marks = [pytest.mark.docker] if kind == "docker" else []
            marks += [] if problem.name in chosen else [pytest.mark.slow]
            found.append(pytest.param(problem, kind, id=f"{problem.name}-{kind}", marks=marks))
    return found


# ---------------------------------------------------------------- HumanEval


def humaneval() -> list[Problem]:
    """Each solution and its test are one program; what is written then is what the check reads."""
    return [_of_humaneval(row) for row in rows("humaneval/humaneval.jsonl")]


def _of_humaneval(row: dict[str, Any]) -> Problem:
    given, name = row["prompt"], row["entry_point"]
    solved = given + row["canonical_solution"]
    return Problem(
        name=row["task_id"].partition("/")[2],
        text=f"Complete the function `{name}` in `solution.py`.",
        files={"solution.py": given},
        solved={"solution.py": solved},
        check=PythonCheck(
            python=f"exec(open('solution.py').read())\n{row['test']}\ncheck({name})\n",
            timeout_s=CHECK_S,
        ),
        solution=_tested(row, solved) + f"# keep it\nwrite('solution.py', {solved!r})\ndone()\n",
        attempt=_tested(row, given) + "done()\n",
    )


def _tested(row: dict[str, Any], source: str) -> str:
    # `check` is a word of plans.
    test = re.sub(r"\bdef check\(", "def verify(", row["test"])
    return f"# the solution\n{source}\n# its test\n{test}\nverify({row['entry_point']})\n"


# ---------------------------------------------------------------- QuixBugs


def quixbugs() -> list[Problem]:
    """The plan is a flow that writes the program without its bug."""
    return [_of_quixbugs(row) for row in rows("quixbugs/quixbugs.jsonl")]


def _of_quixbugs(row: dict[str, Any]) -> Problem:
    name = row["name"]
    file, test = f"python_programs/{name}.py", f"python_testcases/test_{name}.py"
    run = f"python3 -m pytest -q {test}"
    files = {
        "conftest.py": (DATA / "quixbugs" / "conftest.py").read_text("utf-8"),
        "python_testcases/load_testdata.py": (DATA / "quixbugs" / "load_testdata.py").read_text(
            "utf-8"
        ),
        file: row["buggy"],
        test: row["test"],
    }
    if "cases" in row:
        files[f"json_testcases/{name}.json"] = row["cases"]
    if "node" in row:
        files["python_testcases/node.py"] = row["node"]
    pins = ("conftest.py", "python_testcases/**", "json_testcases/**")
    return Problem(
        name=name,
        text=f"There is a bug in one line of `{file}`. Mend it.",
        files=files,
        solved={file: row["correct"]},
        check=RunCheck(run=run, pins=pins, timeout_s=CHECK_S),
        solution=f"# mend it\nwrite({file!r}, {row['correct']!r})\nshell({run!r})\ndone()\n",
        pip=("pytest",),
    )


# ---------------------------------------------------------------- Exercism


def exercism() -> list[Problem]:
    """The plan is a program that writes the file by itself and runs the exercise's test."""
    return [_of_exercism(row) for row in rows("exercism/exercism.jsonl")]


def _of_exercism(row: dict[str, Any]) -> Problem:
    run = f"python3 -m unittest -q {next(iter(row['tests']))}"
    return Problem(
        name=row["name"],
        text=row["text"],
        files={row["file"]: row["stub"], **row["tests"]},
        solved={row["file"]: row["example"]},
        check=RunCheck(run=run, pins=tuple(row["tests"]), timeout_s=CHECK_S),
        solution=(
            f"# write it\nwith open({row['file']!r}, 'w') as file:\n"
            f"    file.write({row['example']!r})\n# try it\nshell({run!r})\ndone()\n"
        ),
    )
