"""Everything that happens in a run: one closed, versioned union.

`stream()`, `--json` and the trace all carry these events. `to_json` and `from_json` are the
trace's form: a flat object with `kind`, values tagged as `planloop.values.encode` says.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Callable, Hashable
from enum import Enum
from functools import cache
from typing import Any, Literal, TypeAlias

from planloop.budget import Budget, Usage
from planloop.errors import UserError
from planloop.observation import Observation
from planloop.plan import Place
from planloop.state import CheckResult, PlanMode, RunStatus, StatementResult
from planloop.tool import Effect
from planloop.values import Value, decode, encode

SCHEMA_VERSION = 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunStarted:
    """The first event of a run."""

    run_id: str
    task: str
    text: str
    folder: str | None
    model: str
    price: str
    """The price of the model as shown to people."""
    sandbox: str
    environment: str
    tools: tuple[str, ...]
    budget: Budget
    checks: tuple[str, ...]
    unenforced: tuple[str, ...] = ()
    """Limits that the sandbox cannot enforce here."""
    left_out: tuple[str, ...] = ()
    """What the copy of the workspace leaves out."""
    follows: str | None = None
    """The run that this one follows up."""
    schema: int = SCHEMA_VERSION
    kind: Literal["run_started"] = "run_started"


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelAsked:
    """A request is about to be sent."""

    conversation: str
    messages: int
    kind: Literal["model_asked"] = "model_asked"


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelReplied:
    """A whole reply arrived."""

    conversation: str
    text: str
    tool_calls: tuple[tuple[str, str, str], ...] = ()
    """Id, name and arguments of each native call."""
    finish: str = "stop"
    usage: Usage
    duration_s: float = 0.0
    kind: Literal["model_replied"] = "model_replied"


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReplyRefused:
    """A reply is no valid plan; the planner is told and asked again, on the budget."""

    message: str
    line: int
    column: int
    kind: Literal["reply_refused"] = "reply_refused"


@dataclasses.dataclass(frozen=True, kw_only=True)
class PlanStarted:
    """A valid plan begins to run."""

    round: int
    lineage: int
    mode: PlanMode
    source: str
    form: Literal["flow", "program", "answer"]
    scopes: tuple[tuple[int, str], ...] = ()
    """Line and name of each scope."""
    kind: Literal["plan_started"] = "plan_started"


@dataclasses.dataclass(frozen=True, kw_only=True)
class CallStarted:
    """On disk before the call has an effect."""

    serial: int
    lineage: int
    round: int
    place: Place
    line: int
    scope: str | None
    tool: str
    schema_hash: str
    arguments: dict[str, Value]
    key: str
    effect: Effect
    resources: tuple[str, ...]
    version: str = ""
    again: bool = False
    idempotency_key: str = ""
    kind: Literal["call_started"] = "call_started"


@dataclasses.dataclass(frozen=True, kw_only=True)
class CallEnded:
    """The call is over."""

    serial: int
    observation: Observation
    kind: Literal["call_ended"] = "call_ended"


@dataclasses.dataclass(frozen=True, kw_only=True)
class CallServed:
    """A call of a revision took its result from the ledger: nothing ran."""

    serial: int
    """The entry that served it."""
    round: int
    place: Place
    line: int
    tool: str
    kind: Literal["call_served"] = "call_served"


@dataclasses.dataclass(frozen=True, kw_only=True)
class StatementEnded:
    """A statement of the plan is over."""

    round: int
    result: StatementResult
    kind: Literal["statement_ended"] = "statement_ended"


@dataclasses.dataclass(frozen=True, kw_only=True)
class PlanEnded:
    """The plan is over; `settled` are the entries whose statements finished."""

    round: int
    settled: tuple[int, ...]
    bound: dict[str, Value]
    """Names that it bound."""
    kind: Literal["plan_ended"] = "plan_ended"


@dataclasses.dataclass(frozen=True, kw_only=True)
class PassRestarted:
    """The workspace went back to the lineage's snapshot and the plan runs from its top."""

    round: int
    reason: str
    kind: Literal["pass_restarted"] = "pass_restarted"


@dataclasses.dataclass(frozen=True, kw_only=True)
class SnapshotTaken:
    """The workspace was remembered."""

    id: str
    lineage: int
    kind: Literal["snapshot_taken"] = "snapshot_taken"


@dataclasses.dataclass(frozen=True, kw_only=True)
class NoteMade:
    """The plan said something to its planner."""

    text: str
    kind: Literal["note_made"] = "note_made"


@dataclasses.dataclass(frozen=True, kw_only=True)
class ChecksPinned:
    """The checks are fixed, and from when on."""

    labels: tuple[str, ...]
    proposed: bool
    kind: Literal["checks_pinned"] = "checks_pinned"


@dataclasses.dataclass(frozen=True, kw_only=True)
class CheckEnded:
    """One check came out."""

    round: int
    result: CheckResult
    kind: Literal["check_ended"] = "check_ended"


@dataclasses.dataclass(frozen=True, kw_only=True)
class FeedbackGiven:
    """What the planner is told; the round is over."""

    round: int
    text: str
    failed: bool
    usage: Usage
    kind: Literal["feedback_given"] = "feedback_given"


@dataclasses.dataclass(frozen=True, kw_only=True)
class OutputSeen:
    """A piece of a running call's output. Live only: never in the trace."""

    serial: int
    stream: str
    text: str
    kind: Literal["output_seen"] = "output_seen"


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReplyProgress:
    """A piece of a reply being written. Live only: never in the trace."""

    conversation: str
    text: str
    kind: Literal["reply_progress"] = "reply_progress"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Warned:
    """Something that people should know: a limit not enforced, a replay that differs."""

    text: str
    kind: Literal["warned"] = "warned"


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunEnded:
    """The last event of a run."""

    status: RunStatus
    reason: str
    output: Value
    checks: tuple[CheckResult, ...]
    verdict_by: str
    changed_files: tuple[str, ...]
    usage: Usage
    kind: Literal["run_ended"] = "run_ended"


Event: TypeAlias = (
    RunStarted
    | ModelAsked
    | ModelReplied
    | ReplyRefused
    | PlanStarted
    | CallStarted
    | CallEnded
    | CallServed
    | StatementEnded
    | PlanEnded
    | PassRestarted
    | SnapshotTaken
    | NoteMade
    | ChecksPinned
    | CheckEnded
    | FeedbackGiven
    | OutputSeen
    | ReplyProgress
    | Warned
    | RunEnded
)

LIVE_ONLY = (OutputSeen, ReplyProgress)
"""Events that no trace holds."""

Emit: TypeAlias = Callable[[Event], None]
"""Where a part of the engine sends what happened."""

_KINDS: dict[str, Hashable] = {
    typing.get_type_hints(kind)["kind"].__args__[0]: kind for kind in typing.get_args(Event)
}


def to_json(event: Event) -> dict[str, Any]:
    """The event as plain JSON; fields at their defaults of None or empty are left out."""
    found: dict[str, Any] = _plain(event)
    return found


def from_json(found: Any) -> Event:
    """The event that `to_json` wrote.

    Raises:
        ValueError: it is no event of this schema version; the text says why.
    """
    kind = found.get("kind") if isinstance(found, dict) else None
    if not isinstance(kind, str) or kind not in _KINDS:
        raise ValueError(f"no such event kind: {kind!r:.80}")
    try:
        event: Event = _reader(_KINDS[kind])(found)
    except RecursionError:
        raise ValueError(f"event `{kind}` is nested too deeply") from None
    except (TypeError, KeyError, AttributeError, UserError) as error:
        raise ValueError(f"event `{kind}` does not fit: {error}") from None
    return event


def _plain(thing: Any) -> Any:
    if thing is None or type(thing) in (str, int, bool, float):
        return encode(thing)
    if isinstance(thing, Enum):
        return thing.value
    if dataclasses.is_dataclass(thing):
        found, shape = {}, typing.cast(Hashable, type(thing))
        for name, is_value, omitted in _fields(shape):
            item = getattr(thing, name)
            if omitted and (item is None or item == ()):
                continue
            found[name] = encode(item) if is_value else _plain(item)
        return found
    if isinstance(thing, list | tuple):
        return [_plain(item) for item in thing]
    return encode(thing)


@cache
def _fields(kind: Hashable) -> tuple[tuple[str, bool, bool], ...]:
    """Name, whether it holds a value, whether an empty one is left out, of each field."""
    found: Any = kind
    hints = typing.get_type_hints(found)
    empty = (dataclasses.MISSING, None, ())
    return tuple(
        (field.name, _is_value(hints[field.name]), field.default in empty)
        for field in dataclasses.fields(found)
    )


def _is_value(hint: Hashable) -> bool:
    return hint is Any or typing.get_origin(hint) is dict


@cache
def _reader(hint: Hashable) -> Callable[[Any], Any]:
    """A function that rebuilds a value of this type from plain JSON, checking as it goes."""
    shape: Any = hint
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return decode
    if origin is dict:
        return _arguments_reader
    if dataclasses.is_dataclass(hint):
        return _dataclass_reader(shape)
    if origin is tuple and inner[-1] is Ellipsis:
        item = _reader(inner[0])
        return lambda found: tuple(item(one) for one in _listed(found))
    if origin is tuple:
        readers = [_reader(one) for one in inner]
        return lambda found: tuple(r(one) for r, one in zip(readers, _listed(found), strict=True))
    if origin in (typing.Union, types.UnionType):
        (some,) = [one for one in inner if one is not type(None)]
        read = _reader(some)
        return lambda found: None if found is None else read(found)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return hint
    if origin is Literal:
        return _literal_reader(inner)
    return _scalar_reader(hint)


def _dataclass_reader(kind: Any) -> Callable[[Any], Any]:
    hints = typing.get_type_hints(kind)
    fields = dataclasses.fields(kind)
    readers = {field.name: _reader(hints[field.name]) for field in fields}
    missing = {
        field.name: () if typing.get_origin(hints[field.name]) is tuple else None
        for field in fields
        if field.default is dataclasses.MISSING
        and field.default_factory is dataclasses.MISSING
        and _may_be_empty(hints[field.name])
    }

    def read(found: Any) -> Any:
        unknown = set(found) - set(readers) - {"seq", "at"}
        if unknown:
            raise ValueError(f"unknown fields {sorted(unknown)}")
        given = {name: readers[name](item) for name, item in found.items() if name in readers}
        return kind(**{**missing, **given})

    return read


def _may_be_empty(hint: Hashable) -> bool:
    return hint is Any or typing.get_origin(hint) is tuple or type(None) in typing.get_args(hint)


def _listed(found: Any) -> list[Any]:
    if not isinstance(found, list):
        raise ValueError(f"expected a list, got {found!r:.80}")  # noqa: TRY004
    return found


def _arguments_reader(found: Any) -> dict[str, Value]:
    value = decode(found)
    if not isinstance(value, dict):
        raise ValueError(f"expected an object, got {found!r:.80}")  # noqa: TRY004
    return value


def _literal_reader(allowed: tuple[Any, ...]) -> Callable[[Any], Any]:
    def read(found: Any) -> Any:
        if found not in allowed:
            raise ValueError(f"{found!r} is none of {allowed}")
        return found

    return read


def _scalar_reader(kind: Any) -> Callable[[Any], Any]:
    def read(found: Any) -> Any:
        number = decode(found) if kind is float else found
        if kind is float and isinstance(number, int) and not isinstance(number, bool):
            return float(number)
        if not isinstance(number, kind) or (kind is int and isinstance(number, bool)):
            raise ValueError(f"expected {kind.__name__}, got {found!r:.80}")
        return number

    return read
