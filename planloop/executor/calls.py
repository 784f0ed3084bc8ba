"""Calls of one pass: each is decided by the ledger, recorded before and after, and counted."""

from __future__ import annotations

import ast
import dataclasses
import secrets
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol, TypeAlias

import anyio

from planloop.budget import Account, Reservation, Usage
from planloop.errors import CallDiverged, CallFailed, SandboxLost
from planloop.events import CallEnded, CallServed, CallStarted, OutputSeen, StatementEnded
from planloop.executor.begun import Begun
from planloop.executor.files import Files, is_one_call
from planloop.executor.outputs import Outputs
from planloop.executor.running import Attempt, Names
from planloop.ledger import Diverge, Entry, GoBack, Ledger, Pass, Run, Serve
from planloop.observation import Failure, Observation, Status
from planloop.plan import CallSite, Place, Statement
from planloop.state import CallResult, PinnedCheck, StatementResult
from planloop.text import bounded_repr
from planloop.tool import ArgumentsInvalid, BoundCall, Effect, Tool, Within
from planloop.trace.journal import Journal
from planloop.values import Value, digest, fresh

Patience: TypeAlias = Callable[[], Awaitable[bool]]


class Ahead(Protocol):
    """Calls that began while the plan was still being written."""

    def take(self, prepared: PreparedCall) -> Begun | None:
        """What began for a call of the plan that the ledger lets run."""
        ...


@dataclasses.dataclass(frozen=True, kw_only=True)
class Failing:
    """A call that has failed, and not for the first time."""

    call: BoundCall
    within: Within | None
    observation: Observation
    times: int


Decompose: TypeAlias = Callable[[Failing], Awaitable[Observation]]
"""How the call came out in the end; never raises `CallFailed`."""

_REPEATING = (ast.comprehension, ast.Lambda)
_FAILURES = 2
"""Of equal calls, after which one may be done in parts."""


class WentBack(BaseException):
    """The pass cannot go on: the workspace must be restored and the plan run from its top."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


@dataclasses.dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What every call of a run shares."""

    tools: Mapping[str, Tool]
    """By the name that plans use."""
    ledger: Ledger
    journal: Journal
    account: Account
    files: Files
    outputs: Outputs
    deps: Any
    threads: anyio.CapacityLimiter
    propose: Callable[[dict[str, Value]], Awaitable[PinnedCheck]]
    """Pins a check that the plan proposes; raises `CallFailed`."""
    decompose: Decompose | None = None
    """Does a call that keeps failing in other ways; None where that is not wanted."""
    parent: int | None = None
    """Serial number of the goal whose nested run this is."""
    conversation: str = "main"
    """With the model that plans; nested ones have names that hang on it."""
    network_open: bool = False
    """What runs in the sandbox may have effects outside, which nothing undoes (L10)."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class PreparedCall:
    """A call with its arguments bound, waiting for its turn."""

    call: BoundCall
    site: CallSite
    statement: Statement
    place: Place
    by_place: bool


class Calls:
    """The calls of one pass over one plan; what the flow's scheduler dispatches to."""

    def __init__(
        self,
        shared: Surroundings,
        current: Pass,
        *,
        lineage: int,
        round: int,
        names: Mapping[str, Value],
        quiet: bool = False,
        ahead: Ahead | None = None,
    ) -> None:
        self._shared = shared
        self._ahead = ahead
        self._quiet = quiet
        """What finished is done over: only calls that really run again are told."""
        self._pass = current
        self._lineage = lineage
        self.round = round
        self._names = names
        self._running_external = 0
        self._external_ended = anyio.Event()
        self._ending: BaseException | None = None
        self.results: list[CallResult] = []
        self.serials: dict[int, set[int]] = defaultdict(set)
        """Statement index → serial numbers of its calls, served ones too."""
        self.notes: list[tuple[Place, str]] = []
        self.proposed: list[PinnedCheck] = []
        self.half_done: set[int] = set()
        """Indexes of failed statements whose files must be undone."""
        self.versions_before: dict[int, dict[str, str]] = {}
        """Statement index → versions of the resources before its first file effect."""

    def prepare(
        self,
        site: CallSite,
        statement: Statement,
        place: Place,
        args: list[Value],
        kwargs: dict[str, Value],
        again: bool,
    ) -> PreparedCall:
        """Bind a call's arguments. Raises `ArgumentsInvalid`."""
        try:
            call = self._shared.tools[site.tool].bind(args, kwargs, again=again)
        except ArgumentsInvalid:
            raise
        except Exception as error:  # of the tool's own validators, or its function of resources
            raise ArgumentsInvalid(f"{site.tool}(): {type(error).__name__}: {error}") from error
        if call.tool.effect is Effect.EXTERNAL:
            self._shared.ledger.want(call.key, self.round, place, self._shared.parent)
        return PreparedCall(
            call=call,
            site=site,
            statement=statement,
            place=place,
            by_place=self._pass.takes_turns(call),
        )

    async def run(self, prepared: PreparedCall, patience: Patience | None = None) -> Value:
        """Serve a call from the ledger, or run it.

        Args:
            patience: waits for calls that run at the same time, before one that contradicts what
                is done stops the plan: another may come first by its place. False when none came.

        Raises:
            CallFailed: the call failed; `CallDiverged` if the ledger does not let it run.
            WentBack: the pass must start again.
            BudgetSpent, InfrastructureError: the run must end.
        """
        if self._ending is not None:
            return await self._end(self._ending)
        decision = self._pass.decide(prepared.call, prepared.place)
        while isinstance(decision, Diverge) and patience is not None and await patience():
            decision = self._pass.decide(prepared.call, prepared.place)
        match decision:
            case Serve(entry):
                return self._serve(prepared, entry)
            case Diverge(entry, why):
                raise self._diverged(prepared, entry, why)
            case GoBack(why):
                return await self._end(WentBack(why))
            case Run(idempotency_key):
                begun = self._ahead.take(prepared) if self._ahead else None
                if begun is not None:
                    return await self._go_on_with(begun, prepared)
                return await self._run(prepared, idempotency_key or secrets.token_hex(8))

    def skipped(self, prepared: PreparedCall, why: str) -> None:
        """A call that may not start any more: told to the planner, never run."""
        self._tell(prepared, 0, Observation(status=Status.SKIPPED, notes=(why,)))

    def note(self, text: Value, place: Place) -> None:
        """Something that the plan says to its planner."""
        self.notes.append((place, text if isinstance(text, str) else bounded_repr(text, 4_000)))

    async def propose(self, arguments: dict[str, Value], statement: Statement) -> None:
        """Pin a check that the plan proposes."""
        self.proposed.append(await self._shared.propose(arguments))

    def statement_ended(self, statement: Statement, result: StatementResult, place: Place) -> None:
        """Record a statement's end; a half-executed one with file effects is to be undone (R6)."""
        if not self._quiet:
            self._shared.journal.emit(StatementEnded(round=self.round, result=result))
        failed = result.status in (Status.FAILED, Status.DIVERGED)
        if failed and self._shared.files.has_mark(statement.index):
            self.half_done.add(statement.index)

    def _serve(self, prepared: PreparedCall, entry: Entry) -> Value:
        call, observation = prepared.call, entry.observation
        assert observation is not None  # only ended entries are served
        if call.tool.effect.is_effect and observation.ok:
            self._pass.effected(call)
        self._shared.ledger.served(call.key, self.round, prepared.place, self._shared.parent)
        self.serials[prepared.statement.index].add(entry.serial)
        event = CallServed(
            serial=entry.serial,
            round=self.round,
            place=prepared.place,
            line=prepared.site.line,
            tool=call.tool.name,
        )
        if not self._quiet:
            self._shared.journal.emit(event)
        served = dataclasses.replace(observation, served=True, changed_files=(), duration_s=0.0)
        self._tell(prepared, entry.serial, served)
        if not observation.ok:
            raise _failed(observation)
        return fresh(observation.value)

    def _diverged(self, prepared: PreparedCall, entry: Entry, why: str) -> CallDiverged:
        asked = bounded_repr(dict(prepared.call.arguments), 300)
        done = "" if entry.key == prepared.call.key else f" ({entry.key[:300]})"
        text = (
            f"call {entry.serial} of `{entry.tool}`{done}: {why}; "
            f"`{prepared.call.tool.name}` with {asked} was not run. Begin with `keep()` if what is "
            "done stays done and you go on from here, or repeat the calls as they were; "
            "`again=True` on a call means: do it once more"
        )
        failure = Failure(type="Diverged", message=text)
        self._tell(prepared, entry.serial, Observation(status=Status.DIVERGED, error=failure))
        return CallDiverged(failure.type, text)

    async def _run(self, prepared: PreparedCall, idempotency_key: str) -> Value:
        shared, call = self._shared, prepared.call
        try:
            reservation = await self._reserve(prepared)
        except Exception as error:
            return await self._end(error)
        entry = self._enter(prepared, idempotency_key)
        external = call.tool.effect is Effect.EXTERNAL
        self._running_external += external
        attempt = self._attempt(prepared, entry)
        try:
            observation = await self._observe(attempt, entry)
        finally:
            self._running_external -= external
            self._external_ended.set()
            self._external_ended = anyio.Event()
            shared.account.settle(reservation, Usage(calls=1, sandbox_s=attempt.sandbox_s))
        if observation.status is not Status.FAILED or not external:
            self._effected(call)
        self._tell(prepared, entry.serial, observation)
        if not observation.ok:
            raise _failed(observation)
        shared.ledger.granted(call.key)
        return fresh(observation.value)

    async def _go_on_with(self, begun: Begun, prepared: PreparedCall) -> Value:
        """A call without an effect that began early is this one; its cost is settled there."""
        entry = self._enter(prepared, begun.idempotency_key, ahead=begun.number)
        begun.serial = entry.serial
        observation = await self._observe(begun, entry)
        self._tell(prepared, entry.serial, observation)
        if not observation.ok:
            raise _failed(observation)
        return fresh(observation.value)

    async def _reserve(self, prepared: PreparedCall) -> Reservation:
        """Hold one call of the budget, and see to it that what it does can be undone."""
        reservation = self._shared.account.reserve(calls=1)
        if prepared.call.tool.effect is Effect.WORKSPACE:
            index = prepared.statement.index
            self.versions_before.setdefault(index, self._pass.versions)
            try:
                await self._shared.files.before_effect(prepared.statement)
            except BaseException:
                self._shared.account.release(reservation)
                raise
        return reservation

    def _effected(self, call: BoundCall) -> None:
        if call.tool.effect.is_effect:
            self._pass.effected(call)

    def _enter(
        self, prepared: PreparedCall, idempotency_key: str, ahead: int | None = None
    ) -> Entry:
        call = prepared.call
        entry = Entry(
            serial=self._shared.ledger.next_serial,
            lineage=self._lineage,
            round=self.round,
            place=prepared.place,
            tool=call.tool.name,
            key=call.key,
            effect=call.tool.effect,
            resources=call.resources,
            version=self._pass.version(call),
            again=call.again,
            idempotent=call.tool.idempotent,
            idempotency_key=idempotency_key,
            parent=self._shared.parent,
        )
        event = CallStarted(
            serial=entry.serial,
            lineage=entry.lineage,
            round=entry.round,
            place=entry.place,
            line=prepared.site.line,
            scope=prepared.statement.scope,
            tool=entry.tool,
            schema_hash=call.tool.schema_hash,
            arguments=call.arguments,
            key=entry.key,
            effect=entry.effect,
            resources=tuple(sorted(entry.resources)),
            version=entry.version,
            again=entry.again,
            idempotency_key=idempotency_key,
            ahead=ahead,
        )
        self._shared.journal.emit(event, sync=entry.effect is Effect.EXTERNAL)
        self._shared.ledger.add(entry)
        self.serials[prepared.statement.index].add(entry.serial)
        return entry

    def _attempt(self, prepared: PreparedCall, entry: Entry) -> Attempt:
        def on_output(stream: str, text: str) -> None:
            event = OutputSeen(serial=entry.serial, stream=stream, text=text)
            self._shared.journal.emit(event)

        return Attempt(
            call=prepared.call,
            deps=self._shared.deps,
            sandbox=self._shared.files.sandbox,
            idempotency_key=entry.idempotency_key,
            names=Names(self._names),
            within=Within(entry.serial, self.nested_name(prepared)),
            on_output=on_output,
            keep=self._shared.outputs.keep,
            sandbox_left=lambda: self._shared.account.sandbox_left_s,
        )

    def nested_name(self, prepared: PreparedCall) -> str:
        """Of the conversation that a call may have: the same in every equal run."""
        index, *path = prepared.place
        path = [] if _is_alone(prepared.statement) else path
        return f"{self._shared.conversation}/" + ".".join(map(str, (self.round, index + 1, *path)))

    async def _observe(self, attempt: Attempt | Begun, entry: Entry) -> Observation:
        """Run an attempt and record its end, whatever ends it."""
        try:
            observation = await attempt.run(self._shared.threads)
            observation = await self._otherwise(attempt, entry, observation)
            changed = self._changed_within(entry.serial)
            if entry.effect is Effect.WORKSPACE:
                changed = await self._shared.files.changed()
            observation = dataclasses.replace(observation, changed_files=changed)
        except SandboxLost as error:
            observation = await self._recovered(entry, error)
        except BaseException:
            unsure = entry.effect is Effect.EXTERNAL and not attempt.call.tool.nests
            ended = Status.UNKNOWN if unsure else Status.KILLED
            self._record(entry, Observation(status=ended, notes=("cancelled",)))
            raise
        self._record(entry, observation)
        return observation

    async def _otherwise(
        self, attempt: Attempt | Begun, entry: Entry, observation: Observation
    ) -> Observation:
        """A goal or an external call that failed, and had failed before, may be done in parts."""
        decompose, call = self._shared.decompose, attempt.call
        failed = observation.status is Status.FAILED and call.tool.effect is Effect.EXTERNAL
        if decompose is None or not (failed or (call.tool.nests and not observation.ok)):
            return observation
        times = 1 + self._shared.ledger.failures(entry.key)
        if times < _FAILURES:
            return observation
        failing = Failing(call=call, within=attempt.within, observation=observation, times=times)
        return await decompose(failing)

    def _changed_within(self, serial: int) -> tuple[str, ...]:
        """What the calls of a nested run changed."""
        seen = (one.observation for one in self._shared.ledger.within(serial))
        return tuple(sorted({path for one in seen if one for path in one.changed_files}))

    async def _recovered(self, entry: Entry, error: SandboxLost) -> Observation:
        """How a call ended that lost the sandbox; earlier file changes may be lost with it."""
        observation, lost_more = await self._shared.files.recover(entry.key, error)
        if entry.effect is Effect.EXTERNAL:
            observation = dataclasses.replace(observation, status=Status.UNKNOWN)
        ledger = self._shared.ledger
        lost = [
            one.serial
            for one in ledger.of_lineage(self._lineage)
            if lost_more and one.effect is Effect.WORKSPACE and one.finished
        ]
        if lost:
            ledger.undo_workspace(frozenset(lost))
            note = f"what calls {', '.join(map(str, lost))} changed is lost: do it again"
            observation = dataclasses.replace(observation, notes=(*observation.notes, note))
        return observation

    def _record(self, entry: Entry, observation: Observation) -> None:
        self._shared.ledger.end(entry.serial, observation)
        self._shared.journal.emit(CallEnded(serial=entry.serial, observation=observation))

    def _tell(self, prepared: PreparedCall, serial: int, observation: Observation) -> None:
        error = observation.error
        self.results.append(
            CallResult(
                serial=serial,
                place=prepared.place,
                line=prepared.site.line,
                tool=prepared.call.tool.name,
                arguments=prepared.call.arguments,
                effect=prepared.call.tool.effect,
                poll=prepared.call.tool.poll,
                observation=observation,
                result_hash=digest(
                    [observation.status.value, observation.value, error.message if error else ""]
                ),
            )
        )

    async def _end(self, why: BaseException) -> Any:
        """End the pass, but let external calls that run already come to their result."""
        self._ending = self._ending or why
        while self._running_external:
            await self._external_ended.wait()
        raise self._ending


def _is_alone(statement: Statement) -> bool:
    """Whether there can be one call only in a run of a statement."""
    repeats = any(isinstance(node, _REPEATING) for node in ast.walk(statement.node))
    return (len(statement.calls) == 1 and not repeats) or is_one_call(statement)


def _failed(observation: Observation) -> CallFailed:
    failure = observation.error
    return CallFailed(failure.type if failure else "Failed", failure.message if failure else "")
