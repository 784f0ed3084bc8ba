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
from planloop.observation import Observation, Status
from planloop.plan import Place
from planloop.sandbox import ServiceState
from planloop.state import CheckResult, PlanMode, RunStatus, StatementResult
from planloop.tool import Effect
from planloop.values import Value

SCHEMA_VERSION = 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class Nestable:
    """What may happen inside a call of the run too: in the nested run of a goal, say."""

    within: int | None = None
    """Serial number of that call; None for the run itself."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunStarted:
    """The first event of a run, but for what is live only."""

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
    sandbox_because: str = ""
    """Why `auto` did not take the first kind."""
    unenforced: tuple[str, ...] = ()
    """Limits that the sandbox cannot enforce here."""
    left_out: tuple[str, ...] = ()
    """What the copy of the workspace leaves out."""
    follows: str | None = None
    """The run that this one follows up."""
    executor: str | None = None
    """The model of goals and `llm` calls, if it is another one."""
    schema: int = SCHEMA_VERSION
    kind: Literal["run_started"] = "run_started"


@dataclasses.dataclass(frozen=True, kw_only=True)
class SetupStarted:
    """A setup command begins, before the run does. Live only: never in the trace."""

    what: str
    """`packages` or `setup`."""
    command: str
    kind: Literal["setup_started"] = "setup_started"


@dataclasses.dataclass(frozen=True, kw_only=True)
class SetupOutput:
    """A piece of a setup command's output. Live only: never in the trace."""

    text: str
    kind: Literal["setup_output"] = "setup_output"


@dataclasses.dataclass(frozen=True, kw_only=True)
class SetupEnded:
    """What made the sandbox ready before the run, with the network open."""

    what: str
    """`apt`, `packages` or `setup`."""
    commands: tuple[str, ...]
    network: str
    layer: str
    """The hash of everything that it could see."""
    cached: bool = False
    """Nothing ran: an earlier run of the same had made it."""
    exit_code: int = 0
    """Of the last command; any other than 0 would have ended the run."""
    duration_s: float = 0.0
    notes: tuple[str, ...] = ()
    """What could not be kept, one sentence each."""
    kind: Literal["setup_ended"] = "setup_ended"


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelAsked(Nestable):
    """A request is about to be sent."""

    conversation: str
    messages: int
    kind: Literal["model_asked"] = "model_asked"


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelReplied(Nestable):
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
class ReplyRefused(Nestable):
    """A reply is no valid plan; the planner is told and asked again, on the budget."""

    message: str
    line: int
    column: int
    kind: Literal["reply_refused"] = "reply_refused"


@dataclasses.dataclass(frozen=True, kw_only=True)
class PlanStarted(Nestable):
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
class CallStarted(Nestable):
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
    ahead: int | None = None
    """The number of the `call_begun_ahead` that it goes on with: it runs since then."""
    kind: Literal["call_started"] = "call_started"


@dataclasses.dataclass(frozen=True, kw_only=True)
class CallEnded(Nestable):
    """The call is over."""

    serial: int
    observation: Observation
    kind: Literal["call_ended"] = "call_ended"


@dataclasses.dataclass(frozen=True, kw_only=True)
class CallServed(Nestable):
    """A call of a revision took its result from the ledger: nothing ran."""

    serial: int
    """The entry that served it."""
    round: int
    place: Place
    line: int
    tool: str
    kind: Literal["call_served"] = "call_served"


@dataclasses.dataclass(frozen=True, kw_only=True)
class CallBegunAhead(Nestable):
    """A call without an effect begins while its plan is still being written."""

    number: int
    """Among the calls of the run that began early, from 1."""
    round: int
    place: Place
    line: int
    scope: str | None
    tool: str
    arguments: dict[str, Value]
    effect: Effect
    kind: Literal["call_begun_ahead"] = "call_begun_ahead"


@dataclasses.dataclass(frozen=True, kw_only=True)
class CallEndedAhead(Nestable):
    """A call that began early has its result, which waits for the plan."""

    number: int
    status: Status
    duration_s: float
    kind: Literal["call_ended_ahead"] = "call_ended_ahead"


@dataclasses.dataclass(frozen=True, kw_only=True)
class CallDropped(Nestable):
    """A call that began early was for nothing: no plan took it over."""

    number: int
    kind: Literal["call_dropped"] = "call_dropped"


@dataclasses.dataclass(frozen=True, kw_only=True)
class GoalDecomposed(Nestable):
    """A call that keeps failing is done in parts, each a goal."""

    parts: tuple[str, ...]
    kind: Literal["goal_decomposed"] = "goal_decomposed"


@dataclasses.dataclass(frozen=True, kw_only=True)
class StatementEnded(Nestable):
    """A statement of the plan is over."""

    round: int
    result: StatementResult
    kind: Literal["statement_ended"] = "statement_ended"


@dataclasses.dataclass(frozen=True, kw_only=True)
class PlanEnded(Nestable):
    """The plan is over; `settled` are the entries whose statements finished."""

    round: int
    settled: tuple[int, ...]
    bound: dict[str, Value]
    """Names that it bound."""
    kind: Literal["plan_ended"] = "plan_ended"


@dataclasses.dataclass(frozen=True, kw_only=True)
class PassRestarted(Nestable):
    """The workspace went back to the lineage's snapshot and the plan runs from its top."""

    round: int
    reason: str
    kind: Literal["pass_restarted"] = "pass_restarted"


@dataclasses.dataclass(frozen=True, kw_only=True)
class SnapshotTaken(Nestable):
    """The workspace was remembered."""

    id: str
    lineage: int
    kind: Literal["snapshot_taken"] = "snapshot_taken"


@dataclasses.dataclass(frozen=True, kw_only=True)
class ServicesChanged:
    """What runs in the background of the sandbox is not what it was."""

    services: tuple[ServiceState, ...]
    kind: Literal["services_changed"] = "services_changed"


@dataclasses.dataclass(frozen=True, kw_only=True)
class NoteMade(Nestable):
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
class FeedbackGiven(Nestable):
    """What the planner is told; the round is over."""

    round: int
    text: str
    failed: bool
    usage: Usage
    kind: Literal["feedback_given"] = "feedback_given"


@dataclasses.dataclass(frozen=True, kw_only=True)
class OutputSeen(Nestable):
    """A piece of a running call's output. Live only: never in the trace."""

    serial: int
    stream: str
    text: str
    kind: Literal["output_seen"] = "output_seen"


@dataclasses.dataclass(frozen=True, kw_only=True)
class StatementOutput(Nestable):
    """A piece of what a running program prints. Live only: never in the trace."""

    index: int
    stream: str
    text: str
    kind: Literal["statement_output"] = "statement_output"


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReplyProgress(Nestable):
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
    | SetupStarted
    | SetupOutput
    | SetupEnded
    | ModelAsked
    | ModelReplied
    | ReplyRefused
    | PlanStarted
    | CallStarted
    | CallEnded
    | CallServed
    | CallBegunAhead
    | CallEndedAhead
    | CallDropped
    | GoalDecomposed
    | StatementEnded
    | PlanEnded
    | PassRestarted
    | SnapshotTaken
    | ServicesChanged
    | NoteMade
    | ChecksPinned
    | CheckEnded
    | FeedbackGiven
    | OutputSeen
    | StatementOutput
    | ReplyProgress
    | Warned
    | RunEnded
)

LIVE_ONLY = (OutputSeen, ReplyProgress, SetupOutput, SetupStarted, StatementOutput)
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
