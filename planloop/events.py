"""Everything that happens in a run: one closed, versioned union.

`stream()`, `--json` and the trace all carry these events. `to_json` and `from_json` are the
trace's form: a flat object with `kind`, values tagged as `planloop.values.encode` says.
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Callable, Hashable
from typing import Any, Literal, TypeAlias

from planloop.budget import Budget, Usage
from planloop.codec import reader, to_plain
from planloop.errors import UserError
from planloop.observation import Observation
from planloop.plan import Place
from planloop.state import CheckResult, PlanMode, RunStatus, StatementResult
from planloop.tool import Effect
from planloop.values import Value

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
    found: dict[str, Any] = to_plain(event)
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
        event: Event = reader(_KINDS[kind])(found)
    except RecursionError:
        raise ValueError(f"event `{kind}` is nested too deeply") from None
    except (TypeError, KeyError, AttributeError, UserError) as error:
        raise ValueError(f"event `{kind}` does not fit: {error}") from None
    return event
