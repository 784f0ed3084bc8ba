"""The lineage that a run's plans belong to: its passes, what finished in it, what is undone."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from planloop.events import NoteMade, PassRestarted, PlanEnded, PlanStarted
from planloop.executor.ahead import HeadStart
from planloop.executor.calls import Calls, Surroundings
from planloop.executor.flow import FlowOutcome
from planloop.executor.programs.living import Programs
from planloop.executor.revision import FinishedStatement, Lineage, mode_of
from planloop.ledger import Pass
from planloop.observation import Status
from planloop.plan import Answer, Flow, Plan, Program, Statement
from planloop.state import Execution, PlanMode, State, StatementResult
from planloop.tool import Effect


class Lineages:
    """The present lineage of a run, which each plan begins, goes on with, or ends.

    Args:
        last: the number of the last one before the first plan.
    """

    def __init__(self, shared: Surroundings, programs: Programs, last: int) -> None:
        self._shared = shared
        self._programs = programs
        self.present = Lineage(number=last)
        self._began = False
        """A lineage of this run's own is open; before, the last one is that of the run before."""
        self.head_start = HeadStart(shared, self.next_lineage, programs.warm)
        """Begins with plans while they are being written."""

    def begin(self, plan: Flow | Program, state: State) -> PlanMode:
        """Open a lineage or go on with the present one, and say what the plan is to it."""
        ledger = self._shared.ledger
        if not (state.in_lineage and self._began):
            # Nothing failed since: what the last lineage left open is done (L9).
            self._began = True
            adopted = ledger.adopted(self.present.number)
            ledger.settle(frozenset(e.serial for e in ledger.of_lineage(self.present.number)))
            self._programs.keep_definitions(one.statement for one in self.present.finished)
            self.present = Lineage(number=ledger.open_lineage(), names=dict(state.names))
            ledger.adopt(adopted, self.present.number)
            self._shared.files.begin_lineage(self.present.number)
            return "first"
        if plan.keeps:
            serials = (entry.serial for entry in ledger.of_lineage(self.present.number))
            ledger.settle(frozenset(serials))
        return mode_of(plan, self.present)

    def next_lineage(self, state: State) -> Lineage | None:
        """That of a plan which is being written; None if it may run in the interpreter."""
        if not (state.in_lineage and self._began):
            return Lineage(number=self.present.number + 1)
        return None if self.present.inside or self.present.broken else self.present

    def goes_on(self, state: State) -> bool:
        """Whether the next plan belongs to the present lineage."""
        return state.in_lineage and self._began

    def change(self, **fields: object) -> None:
        """Note something about the present lineage."""
        self.present = dataclasses.replace(self.present, **fields)  # type: ignore[arg-type]

    def new_pass(
        self, state: State, *, whole: bool, redo_workspace: bool, quiet: bool = False
    ) -> tuple[Calls, Pass]:
        """A pass over a plan of the present lineage, and the calls of it."""
        self._shared.files.begin_pass()
        current = Pass(
            self._shared.ledger,
            lineage=self.present.number,
            whole=whole,
            redo_workspace=redo_workspace,
            looked_at=self.present.looked_at,
            versions=None if whole else self.present.versions,
            handled=self.present.handled,
        )
        calls = Calls(
            self._shared,
            current,
            lineage=self.present.number,
            round=len(state.rounds) + 1,
            names=state.names,
            quiet=quiet,
            ahead=self.head_start,
        )
        return calls, current

    async def go_back(self, state: State, why: str | None, *, keep_running: bool = False) -> None:
        """Put the files back to where the lineage began; what it did outside stays done."""
        await self.head_start.stopped()
        if why is not None:
            self._shared.journal.emit(PassRestarted(round=len(state.rounds) + 1, reason=why))
        await self._shared.files.go_back(keep_running=keep_running)
        ledger, number = self._shared.ledger, self.present.number
        ledger.undo_workspace(frozenset(entry.serial for entry in ledger.of_lineage(number)))
        ledger.reopen(number)

    async def undo_half_done(self, calls: Calls) -> dict[str, str] | None:
        """Leave nothing behind of a statement that was half executed (R6).

        Returns what the versions of the resources are then; None if nothing was undone.
        """
        if not calls.half_done:
            return None
        first, keep_running = min(calls.half_done), self._programs.alive
        await self._shared.files.undo_statement(first, keep_running=keep_running)
        for index in calls.half_done:
            self._shared.ledger.undo_workspace(frozenset(calls.serials[index]))
        return calls.versions_before[first]

    def remember(
        self,
        plan: Flow | Program,
        outcome: FlowOutcome,
        calls: Calls,
        whole: bool,
        versions: dict[str, str],
    ) -> None:
        """Settle what finished, and note what the failed statements depend on."""
        lineage, finished = self.present, []
        before = {one.text: one for one in lineage.finished}
        for statement, result in zip(plan.statements, outcome.results, strict=True):
            if result.status is not Status.OK or statement.kind in ("keep", "restart"):
                continue
            kept = before.get(statement.text) if result.kept else None
            effect = kept.has_workspace_effect if kept else result.has_workspace_effect
            finished.append(FinishedStatement(statement, effect, calls.round))
        made_by, looked_at = self.dependencies(
            plan.statements, outcome.results, calls, lineage.made_by
        )
        self.present = dataclasses.replace(
            lineage,
            finished=(*(() if whole else lineage.finished), *finished),
            made_by=made_by,
            looked_at=looked_at,
            versions=versions,
        )
        self._shared.ledger.settle(self.settled(outcome, calls))

    def settled(self, outcome: FlowOutcome, calls: Calls) -> frozenset[int]:
        """Serial numbers of the calls whose statements finished."""
        done = (one.index for one in outcome.results if one.status is Status.OK)
        return frozenset().union(*(calls.serials[index] for index in done))

    def dependencies(
        self,
        statements: Sequence[Statement],
        results: Sequence[StatementResult],
        calls: Calls,
        made_by: Mapping[str, frozenset[int]],
    ) -> tuple[dict[str, frozenset[int]], frozenset[int]]:
        """Which calls each name depends on now, and which ones the failed statements do."""
        found, looked_at = dict(made_by), set[int]()
        for statement, result in zip(statements, results, strict=True):
            if result.kept:
                continue
            serials = calls.serials[statement.index]
            needs = frozenset().union(*(found.get(name, ()) for name in statement.reads), serials)
            if result.status is Status.OK:
                found.update(dict.fromkeys(statement.binds, needs))
            elif result.status is not Status.SKIPPED:
                looked_at |= needs
        return found, frozenset(looked_at)

    def announce_end(self, outcome: FlowOutcome, calls: Calls) -> None:
        """Tell that a plan is over, and what it said."""
        settled = tuple(sorted(self.settled(outcome, calls)))
        self._shared.journal.emit(
            PlanEnded(round=calls.round, settled=settled, bound=dict(outcome.names))
        )
        for note in outcome.notes:
            self._shared.journal.emit(NoteMade(text=note))

    def execution(
        self, outcome: FlowOutcome, calls: Calls, current: Pass, mode: PlanMode, state: State
    ) -> Execution:
        """What carrying out a plan came to."""
        results = tuple(sorted(calls.results, key=lambda result: result.place))
        ended_well = all(result.status is Status.OK for result in outcome.results)
        changed = {path for result in results for path in result.observation.changed_files}
        changed |= {path for result in outcome.results for path in result.changed_files}
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

    def announce(self, plan: Plan, state: State, mode: PlanMode) -> None:
        """Tell that a plan begins."""
        scopes: dict[str, int] = {}
        if not isinstance(plan, Answer):
            for statement in plan.statements:
                if statement.scope is not None:
                    scopes.setdefault(statement.scope, statement.line)
        event = PlanStarted(
            round=len(state.rounds) + 1,
            lineage=self.present.number,
            mode=mode,
            source=plan.text if isinstance(plan, Answer) else plan.source,
            form=plan.kind,
            scopes=tuple((line, scope) for scope, line in scopes.items()),
        )
        self._shared.journal.emit(event)
