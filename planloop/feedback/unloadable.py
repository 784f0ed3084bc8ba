"""Checks that Python could not even load: found before money is spent on them."""

from __future__ import annotations

import re

from planloop.errors import UserError
from planloop.observation import Status
from planloop.sandbox import Command, Sandbox
from planloop.task import PythonCheck, RunCheck

_RUNNERS = ("coverage", "flake8", "mypy", "nox", "pylint", "pytest", "ruff", "tox")
"""Modules that no run writes itself. Others might come to be while it works."""

_COMPILE = "import sys; compile(sys.stdin.buffer.read(), 'check', 'exec')"
_FIND = "import sys, importlib.util as u; sys.exit(3 if u.find_spec(sys.argv[1]) is None else 0)"
_TIMEOUT_S = 10

OUTSIDE_HINT = (
    "use what is there, or an image that has it: `sandbox: {image: …}`; "
    "your own virtual environment is not in the sandbox"
)


async def refuse_unloadable(check: RunCheck | PythonCheck, sandbox: Sandbox) -> None:
    """Raise `UserError` for source that is no Python, or a runner that is not installed.

    The sandbox's own python3 is asked: it may be newer or older than this one.
    """
    match check:
        case PythonCheck(python=source):
            await _refuse_source(source, sandbox)
        case RunCheck(run=line):
            await _refuse_runner(line, sandbox)


async def _refuse_source(source: str, sandbox: Sandbox) -> None:
    argv = ("python3", "-I", "-c", _COMPILE)
    command = Command(argv=argv, stdin=source.encode(), timeout_s=_TIMEOUT_S)
    said = (await sandbox.run(command)).stderr.text.strip().splitlines()
    if said and re.match(r"(Syntax|Indentation|Tab)Error\b", said[-1]):
        place = next((row.strip() for row in said if 'File "check"' in row), "")
        where = place.removeprefix('File "check", ')
        raise UserError(
            f"a `python` check is no Python: {where}: {said[-1]}",
            hint="mend its source; in YAML it stands below `python: |`, indented",
        )


async def _refuse_runner(line: str, sandbox: Sandbox) -> None:
    found = re.match(r"\s*(python[\d.]*)\s+(?:-[A-Za-z]+\s+)*?-m\s+(\w+)", line)
    if found is None or found[2] not in _RUNNERS:
        return
    command = Command(argv=(found[1], "-c", _FIND, found[2]), timeout_s=_TIMEOUT_S)
    completed = await sandbox.run(command)
    if completed.status is Status.FAILED and completed.exit_code == 3:
        raise UserError(
            f"check `{line}` cannot run: `{found[1]}` in the sandbox has no `{found[2]}`",
            hint=OUTSIDE_HINT,
        )
