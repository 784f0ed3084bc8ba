"""Carries out programs: what of one runs, and how its state comes back when it was lost."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from planloop.executor.calls import Surroundings
from planloop.executor.flow import FlowOutcome
from planloop.executor.lineages import Lineages
from planloop.executor.programs.comparing import Again, GoOn, compare
from planloop.executor.programs.interpreter import NoPython
from planloop.executor.programs.living import NO_PYTHON, Programs
from planloop.executor.programs.passing import ProgramPass
from planloop.executor.revision import Lineage
from planloop.language import as_program
from planloop.observation import Failure, Status
from planloop.plan import Flow, Program, Statement
from planloop.state import Execution, PlanMode, State, StatementResult
from planloop.text import one_line
from planloop.values import Value


class ProgramExecutor:
    """Runs programs of one run in its interpreter."""

    def __init__(self, shared: Surroundings, programs: Programs, lineages: Lineages) -> None:
        self._shared = shared
        self._programs = programs
        self._lineages = lineages

    async def execute(self, plan: Flow | Program, state: State) -> Execution:
        """Carry out a program, or a flow that repeats what ran in the interpreter.

        Raises:
            BaseException: whatever ended the plan from outside.
        """
        await self._lineages.head_start.stopped()
        program = plan if isinstance(plan, Program) else as_program(plan, state.known)
        mode = self._lineages.begin(program, state)
        self._lineages.announce(plan, state, mode)
        replayed, lost = await self._bring_back(state)
        ran, again = self._what_runs(program, mode)
        refusal = self._refusal(mode, again)
        if refusal is not None:
            return _refused(program, mode, refusal)
        if again is not None:
            await self._lineages.go_back(state, again)
            lost.update(await self._programs.end(self._lineages.present.names))
        try:
            done = await self._run(program, ran, mode, state, anew=again is not None)
        except NoPython:
            return _refused(program, mode, NO_PYTHON)
        living = self._programs.living
        lost = {name: what for name, what in {**lost, **done.lost}.items() if name not in living}
        replayed = done.replayed or replayed
        return dataclasses.replace(
            done, went_back=again, living=living, lost=lost, replayed=replayed
        )

    async def _run(
        self, program: Program, ran: Sequence[int], mode: PlanMode, state: State, *, anew: bool
    ) -> Execution:
        """Run what is to run, and leave nothing behind of a statement that failed."""
        number, lineages = len(state.rounds) + 1, self._lineages
        sources = {**lineages.present.sources, number: program.source}
        lineages.change(sources=sources, inside=True, broken="")
        calls, current = lineages.new_pass(state, whole=anew, redo_workspace=anew)
        rounds = [number] * len(program.statements)
        passing = ProgramPass(self._shared, self._programs, calls, current, rounds)
        try:
            names = lineages.present.names if anew else state.names
            await self._prepare(program.statements, names)
            outcome = await passing.run(program.statements, ran)
        except BaseException:
            await self._programs.end()
            raise
        versions = await lineages.undo_half_done(calls) if passing.intact else None
        lineages.remember(program, outcome, calls, mode == "whole", versions or current.versions)
        self._remember_handled(passing)
        replayed, lost = ("", {}) if passing.intact else await self._replay(state)
        outcome = await self._with_values(program, outcome, passing)
        lineages.announce_end(outcome, calls)
        return dataclasses.replace(
            lineages.execution(outcome, calls, current, mode, state),
            undone=versions is not None or not passing.intact,
            replayed=replayed,
            lost=lost,
        )

    async def _bring_back(self, state: State) -> tuple[str, dict[str, str]]:
        """If the interpreter has ended since the last plan, bring back what lived in it."""
        if not self._programs.died:
            return "", {}
        if self._lineages.present.inside:
            return await self._replay(state)
        return "", await self._programs.end(state.names)

    def _what_runs(self, program: Program, mode: PlanMode) -> tuple[Sequence[int], str | None]:
        """Which statements run, and why they all run anew from the lineage's start, if so."""
        everything = range(len(program.statements))
        if program.restarts:
            return everything, "the plan said restart()"
        if mode != "whole":
            return everything, None
        if self._lineages.present.broken:
            return everything, self._lineages.present.broken
        finished = [one.statement for one in self._lineages.present.finished]
        match compare(finished, program.statements):
            case GoOn(run):
                return run, None
            case Again(why):
                return everything, why

    def _refusal(self, mode: PlanMode, again: str | None) -> Failure | None:
        """Why a plan may not run as it is."""
        if self._lineages.present.broken and mode == "rest":
            hint = "send the whole plan again, or begin it with `restart()`"
            return Failure(type="StateLost", message=f"{self._lineages.present.broken}; {hint}")
        done = _touching(self._lineages.present)
        if again is not None and self._shared.network_open and done:
            text = (
                f"{again}: that would repeat `{one_line(done[0].source, 60)}`, and the "
                "network is open, so that what it did outside cannot be undone: send the rest only"
            )
            return Failure(type="NotRepeated", message=text)
        return None

    async def _prepare(self, statements: Sequence[Statement], names: Mapping[str, Value]) -> None:
        earlier = [one.statement for one in self._lineages.present.finished]
        await self._programs.begin(
            [*earlier, *statements],
            self._lineages.present.sources,
            names,
            self._shared.tools,
            self._lineages.present.number,
        )

    async def _with_values(
        self, program: Program, outcome: FlowOutcome, passing: ProgramPass
    ) -> FlowOutcome:
        """The outcome with the values of what the statements that ran have read or bound (R8)."""
        touched = passing.bound | {
            name
            for statement, result in zip(program.statements, outcome.results, strict=True)
            if result.status is not Status.SKIPPED and not result.kept
            for name in (*statement.binds, *statement.reads)
        }
        return dataclasses.replace(outcome, names=await self._programs.fetch(touched))

    def _remember_handled(self, passing: ProgramPass) -> None:
        handled = self._lineages.present.handled | passing.handled
        self._lineages.change(handled=handled)

    async def _replay(self, state: State) -> tuple[str, dict[str, str]]:
        """The interpreter is lost, or holds half of a statement: bring back what had finished.

        Returns what to say of it, and the names that are lost.
        """
        lineage = self._lineages.present
        lost = await self._programs.end({**lineage.names, **state.names})
        if self._shared.network_open and _touching(lineage):
            return "the interpreter was lost; names have the values that were kept", lost
        ledger = self._shared.ledger
        settled = frozenset(one.serial for one in ledger.of_lineage(lineage.number) if one.settled)
        await self._lineages.go_back(state, None)
        said = await self._run_finished(state)
        ledger.settle(settled)
        return said, lost

    async def _run_finished(self, state: State) -> str:
        """Run the finished statements of the lineage again, from its beginning."""
        lineage = self._lineages.present
        calls, current = self._lineages.new_pass(state, whole=True, redo_workspace=True, quiet=True)
        statements = [
            dataclasses.replace(one.statement, index=index)
            for index, one in enumerate(lineage.finished)
        ]
        rounds = [one.round for one in lineage.finished]
        passing = ProgramPass(self._shared, self._programs, calls, current, rounds)
        await self._prepare(statements, lineage.names)
        outcome = await passing.run(statements, range(len(statements)))
        self._remember_handled(passing)
        failed = next((one for one in outcome.results if one.status is not Status.OK), None)
        if failed is not None:
            broken = _broken(failed)
            await self._programs.end(lineage.names)
            self._lineages.change(broken=broken)
            return broken
        made_by, _ = self._lineages.dependencies(statements, outcome.results, calls, {})
        self._shared.ledger.settle(frozenset().union(*calls.serials.values()))
        self._lineages.change(made_by=made_by, versions=current.versions)
        served = sum(one.observation.served for one in calls.results)
        return (
            f"the interpreter was lost; {len(statements)} finished statements ran again, "
            f"{served} of their calls were served"
        )


def _touching(lineage: Lineage) -> list[Statement]:
    """Finished statements that may have done something outside, where the network is open."""
    return [one.statement for one in lineage.finished if one.statement.touches_files]


def _broken(failed: StatementResult) -> str:
    why = one_line(failed.error.message, 200) if failed.error else ""
    return (
        f"the interpreter was lost, and `{one_line(failed.text, 60)}` failed when what had "
        f"finished ran again: {why}"
    )


def _refused(program: Program, mode: PlanMode, why: Failure) -> Execution:
    """Nothing ran: the first statement says why."""
    first, *others = (
        StatementResult(index=one.index, text=one.text, line=one.line, status=Status.SKIPPED)
        for one in program.statements
    )
    failed = dataclasses.replace(first, status=Status.FAILED, error=why)
    return Execution(mode=mode, statements=(failed, *others))
