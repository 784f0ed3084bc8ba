"""Carries out one plan: what it is, and where it runs."""

from __future__ import annotations

import dataclasses

from planloop.errors import InfrastructureError
from planloop.executor.calls import Surroundings, WentBack
from planloop.executor.flow import run_flow
from planloop.executor.lineages import Lineages
from planloop.executor.programs.carrying import ProgramExecutor
from planloop.executor.programs.living import Programs
from planloop.executor.revision import mode_of
from planloop.plan import Answer, Flow, Plan, Program
from planloop.state import Execution, Rejected, State

_MOST_PASSES = 8
"""A plan is begun again when its files must go back; twice is usual, so many is a loop."""


class Executor:
    """Runs plans of one run, one after the other, over one ledger.

    Args:
        programs: the interpreter, if it is not one of its own.
        lineage: the last one before the first plan; what a nested run took over is in it.
    """

    def __init__(
        self,
        shared: Surroundings,
        programs: Programs | None = None,
        lineage: int | None = None,
    ) -> None:
        self._shared = shared
        self._programs = programs or Programs(shared.files.sandbox)
        last = shared.ledger.last_lineage if lineage is None else lineage
        self._lineages = Lineages(shared, self._programs, last)
        self._program_executor = ProgramExecutor(shared, self._programs, self._lineages)
        self.head_start = self._lineages.head_start
        """Begins with plans while they are being written."""

    async def close(self) -> None:
        """End the last lineage, and the interpreter of programs. Safe to call twice."""
        finished = self._lineages.present.finished
        self._programs.keep_definitions(one.statement for one in finished)
        await self._programs.end()

    async def execute(self, plan: Plan | Rejected, state: State) -> Execution:
        """Carry out a plan. Failures of calls and statements are part of the result.

        Raises:
            BudgetSpent: a limit was reached; what ran is in the ledger.
            InfrastructureError: the world around the run failed.
        """
        self.head_start.arrived()
        try:
            return await self._execute(plan, state)
        finally:
            self.head_start.stop()

    async def _execute(self, plan: Plan | Rejected, state: State) -> Execution:
        match plan:
            case Rejected(_, why):
                return Execution(mode="first", rejected=why)
            case Answer(text):
                self._lineages.announce(plan, state, "first")
                return Execution(mode="first", done=True, output=text)
            case Flow():
                if self._runs_inside(plan, state):
                    return await self._program_executor.execute(plan, state)
                return await self._execute_flow(plan, state)
            case Program():
                return await self._program_executor.execute(plan, state)

    async def _execute_flow(self, flow: Flow, state: State) -> Execution:
        mode = self._lineages.begin(flow, state)
        if mode == "whole":
            self._shared.ledger.reopen(self._lineages.present.number)
        self._lineages.announce(flow, state, mode)
        went_back: str | None = None
        if flow.restarts:
            went_back = "the plan said restart()"
            await self._lineages.go_back(state, went_back, keep_running=self._programs.alive)
        for _ in range(_MOST_PASSES):
            whole, redo = mode == "whole", went_back is not None
            calls, current = self._lineages.new_pass(state, whole=whole, redo_workspace=redo)
            try:
                outcome = await run_flow(flow, state.names, calls)
            except WentBack as signal:
                went_back = signal.why
                await self._lineages.go_back(state, went_back, keep_running=self._programs.alive)
                continue
            versions = await self._lineages.undo_half_done(calls)
            self._lineages.remember(flow, outcome, calls, whole, versions or current.versions)
            self._lineages.announce_end(outcome, calls)
            self._programs.take_back(outcome.names)
            execution = self._lineages.execution(outcome, calls, current, mode, state)
            undone = versions is not None
            living = self._programs.living
            return dataclasses.replace(execution, undone=undone, went_back=went_back, living=living)
        raise InfrastructureError("the plan's files had to go back too many times")

    def _runs_inside(self, flow: Flow, state: State) -> bool:
        """Whether a flow is the whole again of what ran in the interpreter."""
        lineage = self._lineages.present
        goes_on = self._lineages.goes_on(state) and lineage.inside
        return goes_on and mode_of(flow, lineage) == "whole"
