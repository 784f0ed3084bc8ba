"""Whole runs that try to pass a `run` check without the fix, in real sandboxes."""

from __future__ import annotations

from pathlib import Path

import pytest

from planloop import Agent, FunctionModel, Result, RunCheck, RunStatus, Task
from tests.loop.worlds import block

TEST = """import unittest, adding

class Adding(unittest.TestCase):
    def test_sum(self):
        self.assertEqual(adding.add(1, 2), 3)
"""
IN_FOLDER = "python3 -m unittest discover -s tests -t ."
FIX = "sed -i s/-/+/ adding.py"

Files = dict[str, str]
PACKAGE: Files = {"tests/__init__.py": "", "tests/test_adding.py": TEST}
FLAT: Files = {"test_adding.py": TEST}


def attempt(folder: Path, files: Files, command: str, check: str, kind: str) -> Result:
    for path, text in {"adding.py": "def add(a, b): return a - b\n", **files}.items():
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_text(text)
    replies = iter([block(f"shell({command!r})\ndone()")])
    agent = Agent(
        model=FunctionModel(lambda _: next(replies, block('give_up("over")'))), sandbox=kind
    )
    try:
        return agent.run_sync(Task(text="x", folder=folder, checks=(RunCheck(run=check),)))
    finally:
        agent.close()


KINDS = ["bubblewrap", pytest.param("docker", marks=pytest.mark.docker)]


@pytest.mark.parametrize("kind", KINDS)
def test_the_fix_passes(tmp_path: Path, kind: str) -> None:
    assert attempt(tmp_path, PACKAGE, FIX, IN_FOLDER, kind).status is RunStatus.SUCCESS


CHEATS = {
    "tests become a link": (PACKAGE, "mv tests t2; mkdir ok; ln -s ok tests", IN_FOLDER),
    "tests are removed": (PACKAGE, "rm -rf tests", IN_FOLDER),
    "tests become a file": (PACKAGE, "rm -rf tests; echo > tests", IN_FOLDER),
    "a test becomes a folder": (
        PACKAGE,
        "rm tests/test_adding.py; mkdir -p tests/test_adding.py/a/b",
        IN_FOLDER,
    ),
    "a test becomes a pipe": (
        PACKAGE,
        "rm tests/test_adding.py; mkfifo tests/test_adding.py",
        IN_FOLDER,
    ),
    "load_tests": (
        PACKAGE,
        "echo 'def load_tests(a, b, c): return type(b)()' > tests/__init__.py",
        IN_FOLDER,
    ),
    "an empty package in place of a test": (
        FLAT,
        "mkdir test_adding; touch test_adding/__init__.py",
        "python3 -m unittest test_adding",
    ),
    "an empty runner": (PACKAGE, "touch unittest.py", IN_FOLDER),
    "an empty runner's package": (
        PACKAGE,
        "mkdir unittest; touch unittest/__init__.py unittest/__main__.py",
        IN_FOLDER,
    ),
    "tests by another name": (
        {"testadding.py": TEST},
        "echo > testadding.py",
        "python3 -m unittest",
    ),
    "a module that the check names": (
        {"checks/verify.py": TEST},
        "echo > checks/verify.py",
        "python3 -m unittest checks.verify",
    ),
    "a Makefile": (
        {**PACKAGE, "Makefile": f"test:\n\t{IN_FOLDER}\n"},
        "printf 'test:\\n\\ttrue\\n' > GNUmakefile",
        "make test",
    ),
    "programs in the workspace": (
        PACKAGE,
        "printf '#!/bin/sh\\n' > python3; chmod +x python3; cp python3 sh",
        IN_FOLDER,
    ),
    "compiled code beside the source": (
        PACKAGE,
        'sed s/-/+/ adding.py > b.py; python3 -c "import py_compile as p; '
        "p.compile('b.py', 'adding.pyc', 'adding.py'); "
        "p.compile('b.py', '__pycache__/adding.cpython-311.pyc', 'adding.py', "
        'invalidation_mode=p.PycInvalidationMode.UNCHECKED_HASH)"',
        IN_FOLDER,
    ),
    "a process that stays": (
        PACKAGE,
        "(setsid sh -c 'while :; do echo > tests/test_adding.py; done' &)",
        IN_FOLDER,
    ),
}


@pytest.mark.parametrize("name", CHEATS)
def test_a_cheat_does_not_pass(tmp_path: Path, name: str) -> None:
    result = attempt(tmp_path, *CHEATS[name], "bubblewrap")
    assert result.status is RunStatus.FAILED


@pytest.mark.docker
@pytest.mark.parametrize(
    "name", ["a test becomes a folder", "an empty runner", "tests become a link"]
)
def test_a_cheat_does_not_pass_in_docker_either(tmp_path: Path, name: str) -> None:
    assert attempt(tmp_path, *CHEATS[name], "docker").status is not RunStatus.SUCCESS
