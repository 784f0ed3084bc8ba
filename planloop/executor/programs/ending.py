"""How statements of a program end, and what they ask for, as the host reads it."""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Literal, TypeAlias

from planloop.observation import Failure, Output
from planloop.sandbox import Stream
from planloop.values import Value

MOST_SAID = 10_000
"""Characters of a note, or of a value that is shown."""
_MOST_MESSAGE = 4_000
_MOST_VALUES = 24

HowEnded: TypeAlias = Literal[
    "ok", "failed", "died", "timeout", "oom", "output_limit", "stopped", "forged"
]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ProgramCall:
    """A tool call as a program makes it."""

    number: int
    """As the program counts its calls."""
    tool: str
    args: list[Value]
    kwargs: dict[str, Value]
    line: int
    path: tuple[int, ...]
    """Where in its statement, in the order of evaluation."""

    @property
    def beside_others(self) -> bool:
        """Whether other calls may be made at the same time: it is in a branch or a thread."""
        return len(self.path) > 1


@dataclasses.dataclass(frozen=True)
class Returned:
    """A call's result."""

    value: Value


@dataclasses.dataclass(frozen=True)
class Raised:
    """A call's failure: an exception of the class `type` in the program."""

    type: str
    message: str
    value: Value = None


@dataclasses.dataclass(frozen=True)
class PlanOver:
    """The plan is ended from outside: no further call of it is served."""

    why: str


Answer: TypeAlias = Returned | Raised | PlanOver
Serve: TypeAlias = Callable[[ProgramCall], Awaitable[Answer]]
OnStatementOutput: TypeAlias = Callable[[Stream, str], None]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ended:
    """How a statement ended."""

    how: HowEnded
    error: Failure | None = None
    value: str | None = None
    """What a bare expression came to, as text."""
    bound: tuple[str, ...] = ()
    """Names that now hold something else than before."""
    said: tuple[tuple[str, Value], ...] = ()
    """Words and their values: `note`, `done`, `give_up`."""
    finished: bool = False
    """It ended the plan by `done` or `give_up`."""
    undone: bool = True
    """Nothing of a failed one is left in the interpreter."""
    alive: bool = True
    """Whether the interpreter lives on."""
    unhandled: tuple[int, ...] = ()
    """Numbers of the failed calls that led to its failure."""
    stdout: Output = dataclasses.field(default_factory=Output)
    stderr: Output = dataclasses.field(default_factory=Output)
    duration_s: float = 0.0
    calls_s: float = 0.0
    """The part of its duration in which calls of it ran."""

    @property
    def ok(self) -> bool:
        """Whether it ran to its end."""
        return self.how == "ok"


def clean(text: str) -> str:
    """A text without lone surrogates, which have no bytes."""
    return text.encode("utf-8", "replace").decode()


def told(frame: Mapping[str, Any]) -> Ended:
    """How a statement ended, as the program's own process tells it."""
    bound = frame.get("bound")
    names = tuple(n for n in bound if isinstance(n, str)) if isinstance(bound, list) else ()
    value = frame.get("value")
    if frame["ok"]:
        return Ended(
            how="ok",
            value=clean(value)[:MOST_SAID] if isinstance(value, str) else None,
            bound=names,
            finished=frame.get("finished") is True,
        )
    undone, calls = frame.get("undone") is True, frame.get("unhandled")
    unhandled = tuple(n for n in calls if type(n) is int) if isinstance(calls, list) else ()
    if isinstance(frame.get("stopped"), str):
        return Ended(how="stopped", undone=undone)
    return Ended(
        how="failed", error=_failure(frame.get("error")), undone=undone, unhandled=unhandled
    )


def _failure(told: Any) -> Failure:
    """The error that a program tells of, whatever it is."""
    if not isinstance(told, dict):
        return Failure(type="Failed", message="")
    line, values, loops = told.get("line"), told.get("values"), told.get("loops")
    shown = [*_pairs(loops), *_pairs(values)]
    return Failure(
        type=clean(str(told.get("type"))[:200]),
        message=clean(str(told.get("message"))[:_MOST_MESSAGE]),
        line=line if isinstance(line, int) else None,
        values=tuple(shown[:_MOST_VALUES]),
    )


def _pairs(things: Any) -> list[tuple[str, str]]:
    """Names and what they held; a loop's place becomes `the loop in line 4`, its iteration."""
    if not isinstance(things, list):
        return []
    found = []
    for one in things:
        match one:
            case [str(place), int(count)]:
                found.append((f"the loop in line {place.partition(':')[0]}", f"iteration {count}"))
            case [str(name), str(shown)]:
                found.append((clean(name[:200]), clean(shown[:400])))
    return found


def failure_of(how: HowEnded) -> Failure | None:
    texts = {
        "died": ("Killed", "the statement ended its own interpreter"),
        "timeout": ("Timeout", "the statement was ended: it took too long"),
        "oom": ("OutOfMemory", "the statement was ended: out of memory"),
        "output_limit": ("OutputLimit", "the statement was ended: it wrote more than is kept"),
    }
    return Failure(type=texts[how][0], message=texts[how][1]) if how in texts else None
