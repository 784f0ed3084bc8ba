"""A head start: calls of a flow that begin while its reply is still being written.

Only calls without an effect begin early, and only where the order of the text cannot matter (O2):
no statement above them changes what they look at. The ledger does not know them. The plan, once it
has arrived, runs as it always does, and a call of it at the same place and with the same key takes
over what began there. What no call takes over is ended, and told as dropped.
"""

from __future__ import annotations

import ast
import contextlib
import itertools
import secrets
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from typing import Any

import anyio
from anyio.abc import TaskGroup

from planloop.budget import Reservation
from planloop.errors import CallFailed, InfrastructureError, PlanloopError
from planloop.events import CallBegunAhead, CallDropped, CallEndedAhead, OutputSeen
from planloop.executor.begun import Begun
from planloop.executor.calls import Calls, PreparedCall, Surroundings
from planloop.executor.computing import Progress, Stopped
from planloop.executor.expressions import Walk
from planloop.executor.regions import Region, Summary, summarise
from planloop.executor.revision import Lineage
from planloop.executor.running import Attempt, Names
from planloop.executor.statements import Carrier
from planloop.language.evaluate import Scope
from planloop.ledger import Pass
from planloop.observation import Observation
from planloop.plan import CallSite, Place, Statement
from planloop.state import State, StatementResult
from planloop.tool import Effect, Within
from planloop.values import Value, fresh

_EVALUATED = ("assign", "expression", "expect")
"""Kinds of statements in which something may begin early."""


class HeadStart:
    """Begins with the statements of one reply after the other, as they are completed.

    It is open as long as the block of `opened` lasts; nothing begins outside of one.

    Args:
        shared: what calls share.
        lineage_of: the lineage of the next plan; None where that may depend on what has not come.
        warm: makes ready for a program, which has no effect.
    """

    def __init__(
        self,
        shared: Surroundings,
        lineage_of: Callable[[State], Lineage | None],
        warm: Callable[[], Coroutine[Any, Any, None]],
    ) -> None:
        self._shared = shared
        self._lineage_of = lineage_of
        self._warm = warm
        self._numbers = itertools.count(1)
        self._group: TaskGroup | None = None
        self._reply: _Reply | None = None

    @contextlib.asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """Let calls begin early; at the end of the block none of them runs any more."""
        caught: BaseException | None = None
        async with anyio.create_task_group() as group:
            self._group = group
            try:
                yield
            except anyio.get_cancelled_exc_class():
                raise
            except BaseException as error:  # to be raised as it is, and not in a group
                caught = error
            finally:
                self._group = None
                self.stop()
        if caught is not None:
            raise caught

    def begin(self, state: State) -> None:
        """A reply begins to be written."""
        self.stop()
        lineage = self._lineage_of(state) if self._group is not None else None
        if lineage is not None:
            self._reply = _Reply(self._shared, lineage, state, self._numbers)

    def statement(self, statement: Statement) -> None:
        """The reply's next statement is complete."""
        if self._reply is not None and self._group is not None:
            self._reply.take_in(statement, self._group)

    def program(self) -> None:
        """The reply seems to hold a program."""
        if self._group is not None:
            self._group.start_soon(self._warm)

    def arrived(self) -> None:
        """The plan is there: nothing more begins early."""
        if self._reply is not None:
            self._reply.close()

    def take(self, prepared: PreparedCall) -> Begun | None:
        """What began early for this call of the plan, which the ledger lets run."""
        return self._reply.take(prepared) if self._reply is not None else None

    def stop(self) -> None:
        """Drop what no call has taken over."""
        if self._reply is not None:
            self._reply.stop()

    async def stopped(self) -> None:
        """Drop what no call has taken over, and wait until it has ended."""
        if self._reply is not None:
            self._reply.stop()
            await self._reply.ended()


class _Reply:
    """What began early of one reply."""

    def __init__(
        self, shared: Surroundings, lineage: Lineage, state: State, numbers: Iterator[int]
    ) -> None:
        self._shared = shared
        self._names = state.names
        self._living = state.living
        self._numbers = numbers
        self._round = len(state.rounds) + 1
        ledger, number = shared.ledger, lineage.number
        current = Pass(ledger, lineage=number, whole=False, versions=lineage.versions)
        self.calls = Calls(shared, current, lineage=number, round=self._round, names=state.names)
        self._recorded = {entry.key for entry in ledger.of_lineage(number)}
        """Calls that the ledger may serve."""
        self._progress = Progress()
        self._summaries: dict[ast.AST, Summary] = {}
        self._above = Summary()
        """What the statements so far may do."""
        self._makers: dict[str, _Made] = {}
        self._begun: dict[Place, Begun] = {}
        """What no call of the plan has taken over."""
        self._scopes: set[anyio.CancelScope] = set()
        self._changed = anyio.Event()
        self._open = True
        self._dropped = False

    def take_in(self, statement: Statement, group: TaskGroup) -> None:
        """Begin with a statement, if that is harmless."""
        if statement.kind == "restart" or statement.reads & self._living:
            self.stop()  # it sees other files, or other names, than are here
        if not self._open:
            return
        tools, above = self._shared.tools, self._above
        summary = summarise(statement.node, tools, self._summaries) or Summary()
        self._above = Summary.union((above, summary))
        made = _Made({name: self._makers.get(name) for name in statement.reads})
        self._makers.update(dict.fromkeys(statement.binds, made))
        called = [tools[site.tool] for site in statement.calls]
        has_effect = any(one.effect.is_effect or one.nests for one in called)
        if statement.kind not in _EVALUATED or has_effect:
            made.end()
            return
        region = Region((statement.index,), summary)
        group.start_soon(self._evaluate, statement, region, _Early(self, above), made)

    async def _evaluate(
        self, statement: Statement, region: Region, early: _Early, made: _Made
    ) -> None:
        tools = self._shared.tools
        walk = Walk(statement, early, self._progress, tools, self._summaries)
        carrier = Carrier(statement, walk, early, region)
        with self._cancellable(), contextlib.suppress(Stopped):
            scope = await made.scope(self._names)
            if scope is not None:
                made.end((await carrier.run(scope)).bound)
        made.end()

    async def begin(self, prepared: PreparedCall) -> Value:
        """Begin a call and wait for its value, unless only the plan can decide on it.

        Raises:
            CallFailed: it may not begin, or failed; the plan will find out itself.
        """
        call = prepared.call
        if not self._open or call.key in self._recorded or call.tool.nests or call.tool.asks_models:
            raise _NotYet
        try:
            observation = await self._run(*self._enter(prepared))
        except PlanloopError as error:  # a limit, the disk, the sandbox: for the plan to meet
            raise _NotYet from error
        if not observation.ok:
            raise _NotYet
        return fresh(observation.value)

    def take(self, prepared: PreparedCall) -> Begun | None:
        """What began for a call of the plan. It saw what the call would see now.

        Effects above it would have kept it from beginning, and those below wait for it.
        """
        begun = self._begun.get(prepared.place)
        if begun is None or begun.lost or self._dropped:
            return None
        return self._begun.pop(prepared.place) if begun.call.key == prepared.call.key else None

    def close(self) -> None:
        """Begin nothing more."""
        self._open = False

    def stop(self) -> None:
        """End what no call has taken over."""
        self._open = False
        if self._dropped:
            return
        self._dropped = True
        for begun in self._begun.values():
            if begun.over:
                self._tell_dropped(begun)
        for scope in self._scopes:
            scope.cancel()

    async def ended(self) -> None:
        """Wait until nothing of it runs."""
        while self._scopes:
            await self._changed.wait()

    def _enter(self, prepared: PreparedCall) -> tuple[Begun, Reservation]:
        shared = self._shared
        reservation = shared.account.reserve(calls=1)
        begun = self._new(prepared)
        try:
            shared.journal.emit(self._event(begun.number, prepared))
        except BaseException:
            shared.account.release(reservation)
            raise
        self._begun[prepared.place] = begun
        return begun, reservation

    async def _run(self, begun: Begun, reservation: Reservation) -> Observation:
        shared = self._shared
        try:
            observation = await begun.carry_out(shared.threads, shared.account, reservation)
            shared.journal.emit(_ended(begun.number, observation))
            return observation
        finally:
            if self._dropped:
                self._tell_dropped(begun)

    def _new(self, prepared: PreparedCall) -> Begun:
        shared = self._shared

        def on_output(stream: str, text: str) -> None:
            if begun.serial is not None:
                event = OutputSeen(serial=begun.serial, stream=stream, text=text)
                shared.journal.emit(event)

        attempt = Attempt(
            call=prepared.call,
            deps=shared.deps,
            sandbox=shared.files.sandbox,
            idempotency_key=secrets.token_hex(8),
            names=Names(self._names),
            within=Within(0, self.calls.nested_name(prepared)),  # it has no entry yet
            on_output=on_output,
            keep=shared.outputs.keep,
            sandbox_left=lambda: shared.account.sandbox_left_s,
        )
        begun = Begun(next(self._numbers), attempt)
        return begun

    def _event(self, number: int, prepared: PreparedCall) -> CallBegunAhead:
        return CallBegunAhead(
            number=number,
            round=self._round,
            place=prepared.place,
            line=prepared.site.line,
            scope=prepared.statement.scope,
            tool=prepared.call.tool.name,
            arguments=prepared.call.arguments,
            effect=prepared.call.tool.effect,
        )

    def _tell_dropped(self, begun: Begun) -> None:
        if begun.serial is None:
            with contextlib.suppress(InfrastructureError):  # the run meets it at its next event
                self._shared.journal.emit(CallDropped(number=begun.number))

    @contextlib.contextmanager
    def _cancellable(self) -> Iterator[None]:
        with anyio.CancelScope() as scope:
            self._scopes.add(scope)
            try:
                yield
            finally:
                self._scopes.discard(scope)
                self._changed.set()
                self._changed = anyio.Event()


def _ended(number: int, observation: Observation) -> CallEndedAhead:
    return CallEndedAhead(
        number=number, status=observation.status, duration_s=observation.duration_s
    )


class _Made:
    """What a statement binds, for those that read it."""

    def __init__(self, needs: Mapping[str, _Made | None]) -> None:
        self._needs = needs
        """Each name that it reads, and the statement above that binds it, if one does."""
        self._bound: Mapping[str, Value] | None = None
        self._over = anyio.Event()

    def end(self, bound: Mapping[str, Value] | None = None) -> None:
        """Say what it has bound, or that it binds nothing early. The first time counts."""
        if not self._over.is_set():
            self._bound = bound
            self._over.set()

    async def scope(self, names: Mapping[str, Value]) -> Scope | None:
        """What it reads, once that is there; None if some of it will not be there early."""
        found: Scope = {}
        for name, maker in self._needs.items():
            if maker is None:
                found[name] = names[name]
                continue
            await maker._over.wait()
            if maker._bound is None:
                return None
            found[name] = maker._bound[name]
        return found


class _Early:
    """The calls of one statement, as the evaluation of its expressions dispatches them."""

    def __init__(self, reply: _Reply, above: Summary) -> None:
        self._reply = reply
        self._above = above

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
        return self._reply.calls.prepare(site, statement, place, args, kwargs, again)

    async def run(self, prepared: PreparedCall) -> Value:
        """Begin a call, unless something above may change what it looks at."""
        call = prepared.call
        if call.tool.effect is Effect.READS and self._above.may_touch(call.resources):
            raise _NotYet
        return await self._reply.begin(prepared)

    def skipped(self, prepared: PreparedCall, why: str) -> None:
        """Nothing is told before the plan runs; so it is with the rest."""

    def note(self, text: Value, place: Place) -> None: ...

    async def propose(self, arguments: dict[str, Value], statement: Statement) -> None: ...

    def statement_ended(
        self, statement: Statement, result: StatementResult, place: Place
    ) -> None: ...


class _NotYet(CallFailed):
    """What only the whole plan can decide on."""

    def __init__(self) -> None:
        super().__init__("NotYet", "the plan is still being written")
