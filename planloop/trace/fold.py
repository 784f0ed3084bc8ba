"""Events folded to what a run looks like: one pure function from a view and an event to a view."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, TypeAlias, TypeVar

from planloop.budget import Budget, Usage
from planloop.events import (
    CallBegunAhead,
    CallDropped,
    CallEnded,
    CallEndedAhead,
    CallServed,
    CallStarted,
    CheckEnded,
    ChecksPinned,
    Event,
    FeedbackGiven,
    GoalDecomposed,
    ModelAsked,
    ModelReplied,
    Nestable,
    NoteMade,
    PassRestarted,
    PlanStarted,
    ReplyRefused,
    RunEnded,
    RunStarted,
    ServicesChanged,
    SetupEnded,
    StatementEnded,
    Warned,
)
from planloop.observation import Observation
from planloop.plan import Place
from planloop.sandbox import ServiceState
from planloop.state import CheckResult, PlanMode, RunStatus, StatementResult
from planloop.values import Value

_T = TypeVar("_T")
_USING = (ModelReplied, PlanStarted, CallStarted, CallBegunAhead)
"""Events that add to what a run has used; settled amounts replace the sums in time."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class CallView:
    """One call of one round."""

    serial: int
    place: Place
    line: int
    scope: str | None
    tool: str
    arguments: dict[str, Value]
    observation: Observation | None = None
    """None while it runs, and for ever if the run ended before it."""
    served: bool = False
    """Its result came from the ledger: nothing ran."""
    ahead: int | None = None
    """Its number among the calls that began while their plan was still being written."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Refusal:
    """A reply that was no valid plan."""

    message: str
    line: int
    column: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class RoundView:
    """One plan, what it did, and what the planner was told."""

    number: int
    mode: PlanMode
    form: Literal["flow", "program", "answer"]
    source: str
    scopes: tuple[tuple[int, str], ...] = ()
    """Line and name of each scope."""
    refused: tuple[Refusal, ...] = ()
    """Replies before this plan that were none."""
    calls: tuple[CallView, ...] = ()
    """In the order in which they started."""
    statements: tuple[StatementResult, ...] = ()
    """In the order in which they ended."""
    restarts: tuple[str, ...] = ()
    """Why the files went back and the plan ran from its top."""
    notes: tuple[str, ...] = ()
    checks: tuple[CheckResult, ...] = ()
    feedback: str = ""
    failed: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class PinnedView:
    """A check as it was fixed."""

    label: str
    proposed: bool


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunView:
    """A run as its events tell it, so far."""

    run_id: str = ""
    task: str = ""
    text: str = ""
    folder: str | None = None
    model: str = ""
    price: str = ""
    sandbox: str = ""
    sandbox_because: str = ""
    unenforced: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    follows: str | None = None
    executor: str | None = None
    """The model of goals, if it is another one."""
    nested: Mapping[int, RunView] = dataclasses.field(default_factory=dict)
    """What went on inside of calls, of any depth, by their serial numbers."""
    parts: tuple[str, ...] = ()
    """Of a nested run: what the call that kept failing was done in."""
    setup: tuple[SetupEnded, ...] = ()
    """What made the sandbox ready."""
    budget: Budget = dataclasses.field(default_factory=Budget)
    checks: tuple[PinnedView, ...] = ()
    rounds: tuple[RoundView, ...] = ()
    refused: tuple[Refusal, ...] = ()
    """Replies since the last plan that were none."""
    ahead: tuple[CallView, ...] = ()
    """Calls that began early, and that no plan has taken over so far."""
    dropped: tuple[CallView, ...] = ()
    """Calls that began early for nothing."""
    asking: bool = False
    """A request is under way."""
    asked: bool = False
    """A model was asked at all."""
    services: tuple[ServiceState, ...] = ()
    """What runs in the background."""
    warnings: tuple[str, ...] = ()
    usage: Usage = dataclasses.field(default_factory=Usage)
    status: RunStatus | None = None
    """None while the run goes on, or if it ended without a last word."""
    reason: str = ""
    output: Value = None
    verdict: tuple[CheckResult, ...] = ()
    verdict_by: str = "none"
    changed_files: tuple[str, ...] = ()


def fold(events: Iterable[Event]) -> RunView:
    """What a run looks like after these events."""
    return functools.reduce(after, events, RunView())


def after(view: RunView, event: Event) -> RunView:
    """The view one event later; events that no view shows change nothing."""
    if isinstance(event, Nestable) and event.within is not None:
        return _inside(view, event, event.within)
    step = _STEPS.get(type(event))
    return view if step is None else step(view, event)


def _inside(view: RunView, event: Any, serial: int) -> RunView:
    """An event of a nested run, which has a view of its own; what it used the run has used."""
    before = view.nested.get(serial) or RunView(model=view.executor or view.model)
    inner = after(before, dataclasses.replace(event, within=None))
    if isinstance(event, CallServed):
        inner = _in_round(inner, lambda found: _with(found, calls=_named(found.calls, view)))
    grown = dataclasses.replace(view, nested={**view.nested, serial: inner}, asked=True)
    if not isinstance(event, _USING):
        return grown
    return dataclasses.replace(grown, usage=_more(view.usage, before.usage, inner.usage))


def _named(calls: tuple[CallView, ...], view: RunView) -> tuple[CallView, ...]:
    """The calls, the last of them with what the entry says that served it."""
    served = calls[-1]
    entry = next((one for one in _all_calls(view) if one.serial == served.serial), served)
    with_entry = dataclasses.replace(
        served, arguments=entry.arguments, observation=entry.observation, scope=entry.scope
    )
    return (*calls[:-1], with_entry)


def _more(used: Usage, before: Usage, now: Usage) -> Usage:
    """What was used, and what came to it inside."""
    unknown = used.cost_usd is None or now.cost_usd is None
    more = (now.cost_usd or 0.0) - (before.cost_usd or 0.0)
    return dataclasses.replace(
        used,
        cost_usd=None if unknown else (used.cost_usd or 0.0) + more,
        input_tokens=used.input_tokens + now.input_tokens - before.input_tokens,
        output_tokens=used.output_tokens + now.output_tokens - before.output_tokens,
        cached_tokens=used.cached_tokens + now.cached_tokens - before.cached_tokens,
        rounds=used.rounds + now.rounds - before.rounds,
        calls=used.calls + now.calls - before.calls,
        model_requests=used.model_requests + now.model_requests - before.model_requests,
    )


Essence: TypeAlias = dict[str, Any]


def essence(view: RunView) -> Essence:
    """What two equal runs have in common: no ids, times, costs or outputs of calls."""
    return {
        "task": view.task,
        "checks": [pinned.label for pinned in view.checks],
        "rounds": [_essence_of_round(found, view) for found in view.rounds],
        "status": view.status,
        "verdict": [(found.label, found.passed) for found in view.verdict],
        "verdict_by": view.verdict_by,
        "changed_files": view.changed_files,
    }


def _essence_of_round(found: RoundView, view: RunView) -> Essence:
    inner = [view.nested[call.serial] for call in _by_place(found) if call.serial in view.nested]
    return {
        "nested": [[_essence_of_round(one, view) for one in each.rounds] for each in inner],
        "plan": found.source,
        "mode": found.mode,
        "form": found.form,
        "calls": sorted(_essence_of_call(call) for call in found.calls),
        "statements": sorted((one.index, one.text, one.status.value) for one in found.statements),
        "checks": [(one.label, one.passed) for one in found.checks],
        "failed": found.failed,
    }


def _by_place(found: RoundView) -> list[CallView]:
    """The calls that ran, as the text has them."""
    return sorted((call for call in found.calls if not call.served), key=lambda one: one.place)


def _essence_of_call(call: CallView) -> tuple[Place, str, str, bool, str, str]:
    seen = call.observation
    status = seen.status.value if seen else "unfinished"
    exit_code = str(seen.exit_code) if seen else ""
    return (call.place, call.tool, repr(call.arguments), call.served, status, exit_code)


def _run_started(view: RunView, event: RunStarted) -> RunView:
    return dataclasses.replace(
        view,
        run_id=event.run_id,
        task=event.task,
        text=event.text,
        folder=event.folder,
        model=event.model,
        price=event.price,
        sandbox=event.sandbox,
        sandbox_because=event.sandbox_because,
        unenforced=event.unenforced,
        left_out=event.left_out,
        follows=event.follows,
        executor=event.executor,
        budget=event.budget,
        checks=tuple(PinnedView(label=label, proposed=False) for label in event.checks),
    )


def _services_changed(view: RunView, event: ServicesChanged) -> RunView:
    return dataclasses.replace(view, services=event.services)


def _setup_ended(view: RunView, event: SetupEnded) -> RunView:
    return dataclasses.replace(view, setup=(*view.setup, event))


def _model_asked(view: RunView, event: ModelAsked) -> RunView:
    return dataclasses.replace(view, asking=True, asked=True)


def _model_replied(view: RunView, event: ModelReplied) -> RunView:
    """Settled amounts replace these sums at the next feedback."""
    used, more = view.usage, event.usage
    unknown = used.cost_usd is None or more.cost_usd is None
    usage = dataclasses.replace(
        used,
        cost_usd=None if unknown else (used.cost_usd or 0.0) + (more.cost_usd or 0.0),
        input_tokens=used.input_tokens + more.input_tokens,
        output_tokens=used.output_tokens + more.output_tokens,
        cached_tokens=used.cached_tokens + more.cached_tokens,
        model_requests=used.model_requests + more.model_requests,
    )
    return dataclasses.replace(view, asking=False, usage=usage)


def _reply_refused(view: RunView, event: ReplyRefused) -> RunView:
    refusal = Refusal(message=event.message, line=event.line, column=event.column)
    return dataclasses.replace(view, refused=(*view.refused, refusal))


def _plan_started(view: RunView, event: PlanStarted) -> RunView:
    started = RoundView(
        number=event.round,
        mode=event.mode,
        form=event.form,
        source=event.source,
        scopes=event.scopes,
        refused=view.refused,
    )
    usage = dataclasses.replace(view.usage, rounds=view.usage.rounds + 1)
    return dataclasses.replace(view, rounds=(*view.rounds, started), refused=(), usage=usage)


def _call_started(view: RunView, event: CallStarted) -> RunView:
    call = CallView(
        serial=event.serial,
        place=event.place,
        line=event.line,
        scope=event.scope,
        tool=event.tool,
        arguments=event.arguments,
        ahead=event.ahead,
    )
    if event.ahead is None:
        view = _one_call_more(view)
    else:
        view, _ = _without_ahead(view, event.ahead)
    return _in_round(view, lambda found: _with(found, calls=(*found.calls, call)))


def _call_begun_ahead(view: RunView, event: CallBegunAhead) -> RunView:
    call = CallView(
        serial=0,
        place=event.place,
        line=event.line,
        scope=event.scope,
        tool=event.tool,
        arguments=event.arguments,
        ahead=event.number,
    )
    return dataclasses.replace(_one_call_more(view), ahead=(*view.ahead, call))


def _call_ended_ahead(view: RunView, event: CallEndedAhead) -> RunView:
    seen = Observation(status=event.status, duration_s=event.duration_s)
    ahead = tuple(
        dataclasses.replace(call, observation=seen) if call.ahead == event.number else call
        for call in view.ahead
    )
    return dataclasses.replace(view, ahead=ahead)


def _call_dropped(view: RunView, event: CallDropped) -> RunView:
    view, dropped = _without_ahead(view, event.number)
    return dataclasses.replace(view, dropped=(*view.dropped, *dropped))


def _without_ahead(view: RunView, number: int) -> tuple[RunView, tuple[CallView, ...]]:
    """The view without a call that began early, and that call."""
    taken = tuple(call for call in view.ahead if call.ahead == number)
    left = tuple(call for call in view.ahead if call.ahead != number)
    return dataclasses.replace(view, ahead=left), taken


def _one_call_more(view: RunView) -> RunView:
    usage = dataclasses.replace(view.usage, calls=view.usage.calls + 1)
    return dataclasses.replace(view, usage=usage)


def _call_ended(view: RunView, event: CallEnded) -> RunView:
    def end(found: RoundView) -> RoundView:
        calls = tuple(
            dataclasses.replace(call, observation=event.observation)
            if call.serial == event.serial and not call.served
            else call
            for call in found.calls
        )
        return _with(found, calls=calls)

    return _in_round(view, end)


def _call_served(view: RunView, event: CallServed) -> RunView:
    """The entry that served it has the arguments and the result."""
    entry = next((call for call in _all_calls(view) if call.serial == event.serial), None)
    call = CallView(
        serial=event.serial,
        place=event.place,
        line=event.line,
        scope=entry.scope if entry else None,
        tool=event.tool,
        arguments=entry.arguments if entry else {},
        observation=entry.observation if entry else None,
        served=True,
    )
    return _in_round(view, lambda found: _with(found, calls=(*found.calls, call)))


def _all_calls(view: RunView) -> Iterable[CallView]:
    views = (view, *view.nested.values())
    rounds = (found for one in views for found in one.rounds)
    return (call for found in rounds for call in found.calls if not call.served)


def _statement_ended(view: RunView, event: StatementEnded) -> RunView:
    return _in_round(view, lambda found: _with(found, statements=(*found.statements, event.result)))


def _pass_restarted(view: RunView, event: PassRestarted) -> RunView:
    """What statements of the pass came to is void; its calls are history."""
    return _in_round(
        view,
        lambda found: _with(found, restarts=(*found.restarts, event.reason), statements=()),
    )


def _goal_decomposed(view: RunView, event: GoalDecomposed) -> RunView:
    return dataclasses.replace(view, parts=event.parts)


def _note_made(view: RunView, event: NoteMade) -> RunView:
    return _in_round(view, lambda found: _with(found, notes=(*found.notes, event.text)))


def _checks_pinned(view: RunView, event: ChecksPinned) -> RunView:
    known = {pinned.label for pinned in view.checks}
    new = (
        PinnedView(label=label, proposed=event.proposed)
        for label in event.labels
        if label not in known
    )
    return dataclasses.replace(view, checks=(*view.checks, *new))


def _check_ended(view: RunView, event: CheckEnded) -> RunView:
    return _in_round(view, lambda found: _with(found, checks=(*found.checks, event.result)))


def _feedback_given(view: RunView, event: FeedbackGiven) -> RunView:
    told = _in_round(view, lambda found: _with(found, feedback=event.text, failed=event.failed))
    return dataclasses.replace(told, usage=event.usage)


def _warned(view: RunView, event: Warned) -> RunView:
    return dataclasses.replace(view, warnings=(*view.warnings, event.text))


def _run_ended(view: RunView, event: RunEnded) -> RunView:
    return dataclasses.replace(
        view,
        asking=False,
        status=event.status,
        reason=event.reason,
        output=event.output,
        verdict=event.checks,
        verdict_by=event.verdict_by,
        changed_files=event.changed_files,
        usage=event.usage,
    )


def _in_round(view: RunView, change: Callable[[RoundView], RoundView]) -> RunView:
    """Change the newest round; events before the first belong to none."""
    if not view.rounds:
        return view
    return dataclasses.replace(view, rounds=(*view.rounds[:-1], change(view.rounds[-1])))


def _with(found: _T, **fields: Any) -> _T:
    changed: _T = dataclasses.replace(found, **fields)  # type: ignore[type-var]
    return changed


_STEPS: dict[type[Any], Callable[[RunView, Any], RunView]] = {
    RunStarted: _run_started,
    SetupEnded: _setup_ended,
    ModelAsked: _model_asked,
    ModelReplied: _model_replied,
    ReplyRefused: _reply_refused,
    PlanStarted: _plan_started,
    CallStarted: _call_started,
    CallEnded: _call_ended,
    CallServed: _call_served,
    CallBegunAhead: _call_begun_ahead,
    CallEndedAhead: _call_ended_ahead,
    CallDropped: _call_dropped,
    StatementEnded: _statement_ended,
    PassRestarted: _pass_restarted,
    GoalDecomposed: _goal_decomposed,
    ServicesChanged: _services_changed,
    NoteMade: _note_made,
    ChecksPinned: _checks_pinned,
    CheckEnded: _check_ended,
    FeedbackGiven: _feedback_given,
    Warned: _warned,
    RunEnded: _run_ended,
}
