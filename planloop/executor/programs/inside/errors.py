"""Errors that programs see, and those that no handler of a program may swallow."""

from __future__ import annotations

import builtins
from typing import Any


class Gone(BaseException):
    """The host has hung up."""


class PlanStopped(BaseException):
    """The host ended the plan: no handler of the program may go on."""


class Finished(BaseException):
    """`done(…)` or `give_up(…)`."""


class Late(BaseException):
    """Showing values took too long."""


class ToolFailed(Exception):
    """A tool failed. `value` is its result, if it had one."""

    value: Any = None
    call: int | None = None
    """Its number."""


class ExpectationFailed(Exception):
    """`expect(…)` was not met."""


class Failures:
    """Classes of failed calls: one for each name, below `ToolFailed` and Python's own of it."""

    def __init__(self) -> None:
        self._known: dict[str, type[ToolFailed]] = {}

    def made(self, answer: dict[str, Any], value: Any) -> ToolFailed:
        """The exception that an answer of the host stands for."""
        name = answer["type"] if answer["type"].isidentifier() else "ToolFailed"
        if name not in self._known:
            self._known[name] = failure_class(name)
        error = self._known[name](answer["message"])
        error.value = value
        error.call = answer["call"]
        return error


def failure_class(name: str) -> type[ToolFailed]:
    body = {"__module__": "builtins", "__str__": Exception.__str__}
    known = TypeError if name == "ArgumentsInvalid" else getattr(builtins, name, None)
    if isinstance(known, type) and issubclass(known, Exception):
        try:
            return type(name, (ToolFailed, known), body)
        except TypeError:  # their layouts differ
            pass
    return type(name, (ToolFailed,), body)


def calls_behind(error: BaseException | None) -> list[int]:
    """Numbers of the failed calls that an error came of."""
    found: list[int] = []
    seen: set[int] = set()
    pending: list[Any] = [error]
    while pending and len(seen) < 1000:
        one = pending.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        if isinstance(one, ToolFailed) and one.call is not None:
            found.append(one.call)
        pending += [one.__cause__, one.__context__, *getattr(one, "exceptions", ())]
    return found


def class_name(thing: Any) -> str:
    """The name of a thing's class, whatever its metaclass says."""
    name: str = type.__dict__["__name__"].__get__(type(thing))
    return name
