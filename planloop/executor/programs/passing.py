"""One pass over a program: its statements run in the interpreter, its calls through `Calls`."""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Iterable, Sequence
from typing import Final

import anyio

from planloop.budget import Usage
from planloop.errors import CallDiverged, CallFailed, SandboxLost
from planloop.events import StatementOutput
from planloop.executor.calls import Calls, Surroundings
from planloop.executor.flow import FlowOutcome
from planloop.executor.programs.ending import (
    Answer,
    Ended,
    PlanOver,
    ProgramCall,
    Raised,
    Returned,
)
from planloop.executor.programs.living import Programs
from planloop.ledger import Pass
from planloop.observation import Failure, Observation, Status
from planloop.plan import CallSite, Place, Statement
from planloop.sandbox import Stream
from planloop.state import StatementResult
from planloop.tool import ArgumentsInvalid, Effect
from planloop.values import Record, Value

_SETTLING_S: Final = 0.3
"""How long a call of a parallel branch that contradicts what is done waits for the others."""
_NOWHERE: Final = ast.Call(ast.Name("call", ast.Load()), [], [])
_MOST_TEXT: Final = 4_000


class ProgramPass:
    """Runs statements one after the other, until one fails or ends the plan.

    Args:
        number: the round in which each statement's plan came, by the statement's index.
    """

    def __init__(
        self,
        shared: Surroundings,
        programs: Programs,
        calls: Calls,
        current: Pass,
        rounds: Sequence[int],
    ) -> None:
        self._shared = shared
        self._programs = programs
        self._calls = calls
        self._pass = current
        self._rounds = rounds
        self._over: PlanOver | None = None
        self._diverged: CallDiverged | None = None
        self._ending: BaseException | None = None
        self._decided = anyio.Event()
        self._serials: dict[int, int] = {}
        """Number of a call of the present statement → serial of its failed entry."""
        self.handled: set[int] = set()
        """Serial numbers of failed calls whose failure the program handled (L6)."""
        self.intact = True
        """Nothing of a failed statement is left in the interpreter."""
        self.bound: set[str] = set()
        """Names that the statements bound, in functions that they called too."""

    async def run(self, statements: Sequence[Statement], chosen: Iterable[int]) -> FlowOutcome:
        """Run the chosen statements; the others are kept as they finished before.

        Raises:
            BaseException: whatever ended the plan from outside.
        """
        run = frozenset(chosen)
        results: list[StatementResult] = []
        said: list[tuple[str, Value]] = []
        stopped = False
        for statement in statements:
            if statement.index not in run:
                results.append(_result(statement, Status.OK, kept=True))
            elif stopped:
                results.append(self._tell(statement, _result(statement, Status.SKIPPED)))
            else:
                ended, result = await self._statement(statement)
                results.append(self._tell(statement, result))
                if self._ending is not None:
                    raise self._ending
                said += ended.said if ended.ok else ()
                stopped = not ended.ok or ended.finished
        end = {word: value for word, value in said if word != "note"}
        return FlowOutcome(
            results=tuple(results),
            names={},
            notes=tuple(str(value) for word, value in said if word == "note"),
            done="done" in end,
            output=end.get("done"),
            gave_up=end.get("give_up"),
        )

    def _tell(self, statement: Statement, result: StatementResult) -> StatementResult:
        self._calls.statement_ended(statement, result, (statement.index,))
        return result

    # ------------------------------------------------------------ one statement

    async def _statement(self, statement: Statement) -> tuple[Ended, StatementResult]:
        self._serials = {}
        changed: tuple[str, ...] = ()
        try:
            if statement.touches_files:
                self._calls.versions_before.setdefault(statement.index, self._pass.versions)
                await self._shared.files.before_effect(statement)
            ended = await self._run(statement)
            if statement.touches_files:
                changed = await self._shared.files.changed()
        except SandboxLost as lost:
            ended = await self._sandbox_lost(statement, lost)
        if changed:
            self._pass.changed("workspace", statement.text)
        self._remember_handled(ended)
        self.bound |= set(ended.bound)
        self.intact = self.intact and (ended.ok or (ended.undone and ended.alive))
        return ended, self._result(statement, ended, changed)

    async def _run(self, statement: Statement) -> Ended:
        def on_output(stream: Stream, text: str) -> None:
            event = StatementOutput(index=statement.index, stream=stream, text=text)
            self._shared.journal.emit(event)

        async def serve(call: ProgramCall) -> Answer:
            return await self._answer(call, statement)

        ended = await self._programs.run(statement, self._rounds[statement.index], serve, on_output)
        account = self._shared.account
        spent = max(0.0, ended.duration_s - ended.calls_s)
        account.settle(account.reserve(), Usage(sandbox_s=spent))
        return ended

    async def _sandbox_lost(self, statement: Statement, lost: SandboxLost) -> Ended:
        await self._programs.end()
        seen, _ = await self._shared.files.recover(statement.text, lost)
        return Ended(how="died", error=seen.error, undone=False, alive=False)

    def _remember_handled(self, ended: Ended) -> None:
        unhandled = {self._serials[number] for number in ended.unhandled if number in self._serials}
        self.handled |= set(self._serials.values()) - unhandled

    def _result(
        self, statement: Statement, ended: Ended, changed: tuple[str, ...]
    ) -> StatementResult:
        status, error = Status.OK if ended.ok else Status.FAILED, ended.error
        if self._diverged is not None:
            status = Status.DIVERGED
            error = Failure(type=self._diverged.error, message=self._diverged.message)
        ledger = self._shared.ledger
        entries = [ledger[serial] for serial in self._calls.serials[statement.index]]
        by_tools = any(one.effect is Effect.WORKSPACE and one.finished for one in entries)
        return dataclasses.replace(
            _result(statement, status),
            error=error,
            has_workspace_effect=by_tools or bool(changed),
            value=ended.value,
            stdout=ended.stdout if ended.stdout.total_bytes else None,
            stderr=ended.stderr if ended.stderr.total_bytes else None,
            changed_files=changed if ended.ok else (),
            duration_s=ended.duration_s,
        )

    # ------------------------------------------------------------ its calls

    async def _answer(self, call: ProgramCall, statement: Statement) -> Answer:
        if self._over is not None:
            return self._over
        try:
            if call.tool == "check":
                await self._calls.propose(call.kwargs, statement)
                return Returned(None)
            return Returned(await self._carry_out(call, statement))
        except ArgumentsInvalid as error:
            return Raised("ArgumentsInvalid", str(error)[:_MOST_TEXT])
        except CallDiverged as diverged:
            self._diverged = self._diverged or diverged
            return self._stop(diverged.message)
        except CallFailed as failed:
            return self._failure(call, failed, (statement.index, *call.path))
        except anyio.get_cancelled_exc_class():
            raise
        except BaseException as error:
            self._ending = self._ending or error
            return self._stop(f"{type(error).__name__}: the plan was ended")

    def _stop(self, why: str) -> PlanOver:
        """L7: from here on no call of this pass is served."""
        self._over = self._over or PlanOver(why[:_MOST_TEXT])
        return self._over

    async def _carry_out(self, call: ProgramCall, statement: Statement) -> Value:
        kwargs = dict(call.kwargs)
        again = kwargs.pop("again", False)
        if not isinstance(again, bool):
            raise ArgumentsInvalid(f"{call.tool}(): `again` is True or False")
        place: Place = (statement.index, *call.path)
        site = CallSite(tool=call.tool, node=_NOWHERE, line=call.line, column=1)
        prepared = self._calls.prepare(site, statement, place, call.args, kwargs, again)
        try:
            return await self._calls.run(prepared, self._others if call.beside_others else None)
        finally:
            self._decided.set()
            self._decided = anyio.Event()

    async def _others(self) -> bool:
        """Wait for a call that runs at the same time; whether one came to its end."""
        decided = self._decided
        with anyio.move_on_after(_SETTLING_S):
            await decided.wait()
        return decided.is_set()

    def _failure(self, call: ProgramCall, failed: CallFailed, place: Place) -> Raised:
        told = [one for one in self._calls.results if one.place == place]
        if told:
            self._serials[call.number] = told[-1].serial
        value = _attached(told[-1].observation) if told else None
        return Raised(failed.error, failed.message[:_MOST_TEXT], value)


def _attached(seen: Observation) -> Value:
    """What a failed command wrote, as the value of its exception (O4)."""
    if seen.stdout is None and seen.stderr is None:
        return None
    return Record(
        exit_code=seen.exit_code,
        stdout=seen.stdout.text if seen.stdout else "",
        stderr=seen.stderr.text if seen.stderr else "",
    )


def _result(statement: Statement, status: Status, *, kept: bool = False) -> StatementResult:
    return StatementResult(
        index=statement.index,
        text=statement.text,
        line=statement.line,
        status=status,
        kept=kept,
        scope=statement.scope,
    )
