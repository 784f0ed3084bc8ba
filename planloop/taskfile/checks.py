"""The `checks` of a task file."""

from __future__ import annotations

from collections.abc import Callable

from planloop.task import Check, FileCheck, PythonCheck, RunCheck
from planloop.taskfile import readers
from planloop.taskfile.nodes import Scalar, Table, quoted
from planloop.taskfile.readers import Field, table

FIELDS = {
    "run": ("run", "pins", "timeout"),
    "file": ("file", "contains", "equals"),
    "python": ("python", "timeout"),
}

_EXAMPLES = "write `run: pytest -q`, `file: report.md` or `python: assert …`"


def read_checks(field: Field) -> tuple[Check, ...]:
    """Commands, files and sources that decide about success."""
    return readers.listed(field, read_check, "a list of checks")


def read_check(field: Field) -> Check:
    """One check."""
    if isinstance(field.node, Scalar):
        return RunCheck(run=readers.text(field, "a command"))
    kinds = quoted(FIELDS)
    if not isinstance(field.node, Table):
        raise field.wrong("a check", _EXAMPLES)
    named = [kind for kind in FIELDS if kind in field.node.entries]
    if len(named) != 1:
        found = f"is {quoted(named)} at once" if named else "says not what to check"
        raise field.error(f"`{field.name}` {found}; expected one of {kinds}", _EXAMPLES)
    given = table(field, FIELDS[named[0]])
    return _CHECKS[named[0]](given)


def _run_check(given: dict[str, Field]) -> RunCheck:
    pins = readers.listed(given["pins"], readers.pattern) if "pins" in given else None
    return RunCheck(run=readers.text(given["run"], "a command"), pins=pins, timeout_s=_time(given))


def _file_check(given: dict[str, Field]) -> FileCheck:
    if "contains" in given and "equals" in given:
        raise given["equals"].error(
            "a file check has `contains` or `equals`, not both", "make it two checks"
        )
    return FileCheck(
        file=readers.pattern(given["file"]),
        contains=readers.text(given["contains"]) if "contains" in given else None,
        equals=_content(given["equals"]) if "equals" in given else None,
    )


def _content(field: Field) -> str:
    return "" if readers.scalar(field) == "" else readers.text(field)


def _python_check(given: dict[str, Field]) -> PythonCheck:
    return PythonCheck(
        python=readers.text(given["python"], "Python source"), timeout_s=_time(given)
    )


def _time(given: dict[str, Field]) -> float | None:
    return readers.seconds(given["timeout"]) if "timeout" in given else None


_CHECKS: dict[str, Callable[[dict[str, Field]], Check]] = {
    "run": _run_check,
    "file": _file_check,
    "python": _python_check,
}
