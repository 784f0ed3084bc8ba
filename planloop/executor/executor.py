"""Carries out one plan: its mode, its passes, and what the lineage remembers of it."""

from __future__ import annotations

import dataclasses

from planloop.errors import InfrastructureError
from planloop.events import NoteMade, PassRestarted, PlanEnded, PlanStarted
from planloop.executor.calls import Calls, Surroundings, WentBack
from planloop.executor.flow import FlowOutcome, run_flow
from planloop.executor.revision import FinishedStatement, Lineage, mode_of
from planloop.ledger import Pass
from planloop.observation import Status
from planloop.plan import Answer, Flow, Plan, Program
from planloop.state import Execution, PlanMode, Rejected, State, StatementResult
from planloop.tool import Effect

_MOST_PASSES = 8
"""A plan is begun again when its files must go back; twice is usual, so many is a loop."""


class Executor:
    """Runs plans of one run, one after the other, over one ledger."""

    def __init__(self, shared: Surroundings) -> None:
        self._shared = shared
        self._lineage = Lineage(number=shared.ledger.last_lineage)
        self._began = False
        """A lineage of this run's own is open; before, the last one is that of the run before."""

    async def execute(self, plan: Plan | Rejected, state: State) -> Execution:
        """Carry out a plan. Failures of calls and statements are part of the result.

        Raises:
            BudgetSpent: a limit was reached; what ran is in the ledger.
            InfrastructureError: the world around the run failed.
        """
        match plan:
            case Rejected(_, why):
                return Execution(mode="first", rejected=why)
            case Answer(text):
                self._announce(plan, state, "first")
                return Execution(mode="first", done=True, output=text)
            case Flow():
                return await self._execute_flow(plan, state)
            case Program():
                raise InfrastructureError("a program reached the executor, which runs flows only")

    async def _execute_flow(self, flow: Flow, state: State) -> Execution:
        mode = self._begin(flow, state)
        self._announce(flow, state, mode)
        went_back: str | None = None
        if flow.restarts:
            went_back = "the plan said restart()"
            await self._go_back(state, went_back)
        for _ in range(_MOST_PASSES):
            calls, current = self._new_pass(state, mode, redo_workspace=went_back is not None)
            try:
                outcome = await run_flow(flow, state.names, calls)
            except WentBack as signal:
                went_back = signal.why
                await self._go_back(state, went_back)
                continue
            versions = await self._undo_half_done(calls)
            self._remember(flow, outcome, calls, mode, versions or current.versions)
            execution = self._execution(outcome, calls, current, mode, state)
            undone = versions is not None
            return dataclasses.replace(execution, undone=undone, went_back=went_back)
        raise InfrastructureError("the plan's files had to go back too many times")

    def _begin(self, flow: Flow, state: State) -> PlanMode:
        """Open a lineage or go on with the present one, and say what the plan is to it."""
        ledger = self._shared.ledger
        if not (state.in_lineage and self._began):
            # Nothing failed since: what the last lineage left open is done (L9).
            self._began = True
            ledger.settle(frozenset(e.serial for e in ledger.of_lineage(self._lineage.number)))
            self._lineage = Lineage(number=self._lineage.number + 1)
            self._shared.files.begin_lineage(self._lineage.number)
            return "first"
        if flow.keeps:
            serials = (entry.serial for entry in ledger.of_lineage(self._lineage.number))
            ledger.settle(frozenset(serials))
        mode = mode_of(flow, self._lineage)
        if mode == "whole":
            ledger.reopen(self._lineage.number)
        return mode

    def _new_pass(self, state: State, mode: PlanMode, redo_workspace: bool) -> tuple[Calls, Pass]:
        self._shared.files.begin_pass()
        current = Pass(
            self._shared.ledger,
            lineage=self._lineage.number,
            whole=mode == "whole",
            redo_workspace=redo_workspace,
            looked_at=self._lineage.looked_at,
            versions=self._lineage.versions if mode == "rest" else None,
        )
        calls = Calls(
            self._shared,
            current,
            lineage=self._lineage.number,
            round=len(state.rounds) + 1,
            names=state.names,
        )
        return calls, current

    async def _go_back(self, state: State, why: str) -> None:
        self._shared.journal.emit(PassRestarted(round=len(state.rounds) + 1, reason=why))
        await self._shared.files.go_back()
        ledger, number = self._shared.ledger, self._lineage.number
        ledger.undo_workspace(frozenset(entry.serial for entry in ledger.of_lineage(number)))
        ledger.reopen(number)

    async def _undo_half_done(self, calls: Calls) -> dict[str, str] | None:
        """Leave nothing behind of a statement that was half executed (R6).

        Returns what the versions of the resources are then; None if nothing was undone.
        """
        if not calls.half_done:
            return None
        first = min(calls.half_done)
        await self._shared.files.undo_statement(first)
        for index in calls.half_done:
            self._shared.ledger.undo_workspace(frozenset(calls.serials[index]))
        return calls.versions_before[first]

    def _remember(
        self,
        flow: Flow,
        outcome: FlowOutcome,
        calls: Calls,
        mode: PlanMode,
        versions: dict[str, str],
    ) -> None:
        """Settle what finished, and note what the failed statements depend on."""
        lineage, made_by = self._lineage, dict(self._lineage.made_by)
        looked_at: set[int] = set()
        finished, settled = [], set[int]()
        for statement, result in zip(flow.statements, outcome.results, strict=True):
            serials = calls.serials[statement.index]
            needs = frozenset().union(*(made_by.get(name, ()) for name in statement.reads), serials)
            if result.status is Status.OK:
                made_by.update(dict.fromkeys(statement.binds, needs))
                settled |= serials
                if statement.kind not in ("keep", "restart"):
                    finished.append(FinishedStatement(result.text, result.has_workspace_effect))
            elif result.status is not Status.SKIPPED:
                looked_at |= needs
        earlier = () if mode == "whole" else lineage.finished
        self._lineage = dataclasses.replace(
            lineage,
            finished=(*earlier, *finished),
            made_by=made_by,
            looked_at=frozenset(looked_at),
            versions=versions,
        )
        self._shared.ledger.settle(frozenset(settled))
        self._shared.journal.emit(
            PlanEnded(round=calls.round, settled=tuple(sorted(settled)), bound=dict(outcome.names))
        )
        for note in outcome.notes:
            self._shared.journal.emit(NoteMade(text=note))

    def _execution(
        self, outcome: FlowOutcome, calls: Calls, current: Pass, mode: PlanMode, state: State
    ) -> Execution:
        results = tuple(sorted(calls.results, key=lambda result: result.place))
        ended_well = all(result.status is Status.OK for result in outcome.results)
        changed = {path for result in results for path in result.observation.changed_files}
        return Execution(
            mode=mode,
            statements=outcome.results,
            calls=results,
            notes=outcome.notes,
            done=outcome.done,
            output=outcome.output,
            gave_up=outcome.gave_up,
            proposed=tuple(p for p in dict.fromkeys(calls.proposed) if p not in state.pinned),
            bound=outcome.names,
            changed_files=tuple(sorted(changed)),
            open_external=self._open_external(outcome.results, calls),
            unmatched=tuple(e.serial for e in current.unmatched_external()) if ended_well else (),
        )

    def _open_external(self, results: tuple[StatementResult, ...], calls: Calls) -> tuple[int, ...]:
        """Finished external calls of statements that did not finish (R7)."""
        ledger = self._shared.ledger
        return tuple(
            serial
            for result in results
            if result.status is Status.FAILED
            for serial in sorted(calls.serials[result.index])
            if ledger[serial].effect is Effect.EXTERNAL and ledger[serial].finished
        )

    def _announce(self, plan: Flow | Answer, state: State, mode: PlanMode) -> None:
        scopes: dict[str, int] = {}
        if isinstance(plan, Flow):
            for statement in plan.statements:
                if statement.scope is not None:
                    scopes.setdefault(statement.scope, statement.line)
        event = PlanStarted(
            round=len(state.rounds) + 1,
            lineage=self._lineage.number,
            mode=mode,
            source=plan.source if isinstance(plan, Flow) else plan.text,
            form=plan.kind,
            scopes=tuple((line, scope) for scope, line in scopes.items()),
        )
        self._shared.journal.emit(event)
