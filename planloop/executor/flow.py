"""Runs a flow as a graph by its data flow (semantics O1-O6).

A statement begins when the names that it reads are bound. Its calls wait for earlier ones only
where plain Python could tell the difference; see `regions`. What can only come one after the
other runs without a task of its own.
"""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Mapping
from typing import Generic

import anyio
from anyio.abc import TaskGroup

from planloop.errors import CallDiverged
from planloop.executor.computing import Progress, Stopped
from planloop.executor.dispatch import Dispatcher, P, Prepared
from planloop.executor.expressions import Walk, is_bare
from planloop.executor.failures import failure_of
from planloop.executor.graph import Graph
from planloop.executor.regions import Region, Summary, summarise
from planloop.executor.statements import Carrier, Ended
from planloop.language.evaluate import Scope
from planloop.observation import Failure, Status
from planloop.plan import Flow, Statement
from planloop.state import StatementResult
from planloop.tool import Effect
from planloop.values import Value

__all__ = ["Dispatcher", "FlowOutcome", "Prepared", "run_flow"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class FlowOutcome:
    """What running a flow came to."""

    results: tuple[StatementResult, ...]
    """In text order, one a statement."""
    names: dict[str, Value]
    """Bound by statements that finished."""
    notes: tuple[str, ...] = ()
    """In text order; none from after the first failure in the text."""
    done: bool = False
    output: Value = None
    gave_up: str | None = None


async def run_flow(
    flow: Flow, names: Mapping[str, Value], dispatcher: Dispatcher[P]
) -> FlowOutcome:
    """Run a flow to its end. Failures of calls and statements are part of the outcome.

    Args:
        flow: what to run.
        names: the run's names, which the flow may read.
        dispatcher: carries out the calls, and is told what happens.

    Raises:
        BaseException: whatever the dispatcher raised to end the plan from outside.
    """
    run = _FlowRun(flow, names, dispatcher)
    try:
        await run.run()
    except BaseExceptionGroup as group:
        error = _leaf(group)
        raise error from error.__cause__
    return run.outcome()


class _FlowRun(Generic[P]):
    """One flow while it runs: which statements are ready, and what the others wait for."""

    def __init__(self, flow: Flow, names: Mapping[str, Value], dispatcher: Dispatcher[P]) -> None:
        self._flow = flow
        self._names = names
        self._dispatcher = dispatcher
        self._progress = Progress()
        self._summaries: dict[ast.AST, Summary] = {}
        self._regions = [self._region(statement) for statement in flow.statements]
        Region((), Summary()).expand(self._regions)
        self._graph = Graph(flow.statements, flow.tools)
        self._ended: dict[int, Ended] = {}
        self._results: list[StatementResult | None] = [None] * len(flow.statements)
        self._over = False

    def _region(self, statement: Statement) -> Region:
        tools, node = self._flow.tools, statement.node
        summary = summarise(node, tools, self._summaries) if statement.calls else None
        names_only = isinstance(node, ast.Expr) or (
            isinstance(node, ast.Assign)
            and all(isinstance(target, ast.Name) for target in node.targets)
        )
        bare = (
            summary is not None
            and names_only
            and isinstance(node, ast.Assign | ast.Expr)
            and is_bare(node.value, tools, self._summaries)
        )
        return Region((statement.index,), summary or Summary(), bare=bare)

    async def run(self) -> None:
        """Run all statements: one after the other as long as no two could run at once."""
        starting = await self._begin()
        while len(starting) == 1:
            await self._run(starting[0])
            starting = await self._begin()
        if starting:
            async with anyio.create_task_group() as group:
                for index in starting:
                    group.start_soon(self._run_on, group, index)

    async def _run_on(self, group: TaskGroup, index: int) -> None:
        """Run a statement, then what it made ready."""
        while True:
            await self._run(index)
            starting = await self._begin()
            if not starting:
                return
            index, *others = starting
            for other in others:
                group.start_soon(self._run_on, group, other)

    async def _begin(self) -> list[int]:
        """Do all that is ready and calls nothing; the ready statements with calls."""
        starting: list[int] = []
        while (index := self._graph.next_ready()) is not None:
            if self._flow.statements[index].calls:
                starting.append(index)
            else:
                await self._run(index)
        return starting

    async def _run(self, index: int) -> None:
        statement, region = self._flow.statements[index], self._regions[index]
        sources = set(self._graph.sources[index].values())
        if self._over or not sources <= self._ended.keys():
            self._finish(index, Status.SKIPPED)
            return
        walk = Walk(statement, self._dispatcher, self._progress, self._flow.tools, self._summaries)
        try:
            ended = await Carrier(statement, walk, self._dispatcher, region).run(self._scope(index))
        except Stopped as stop:
            self._stop(index, stop, walk)
            return
        self._ended[index] = ended
        self._over = ended.done or ended.gave_up is not None
        self._finish(index, Status.OK)

    def _scope(self, index: int) -> Scope:
        sources = self._graph.sources[index]
        return {
            name: self._ended[sources[name]].bound[name] if name in sources else self._names[name]
            for name in self._flow.statements[index].reads
        }

    def _stop(self, index: int, stop: Stopped, walk: Walk[P]) -> None:
        if stop.error is None:
            self._finish(index, Status.SKIPPED)
            return
        failure = failure_of(self._flow.statements[index], stop.error, stop, walk.failed_scope)
        diverged = isinstance(stop.error, CallDiverged)
        self._finish(index, Status.DIVERGED if diverged else Status.FAILED, failure)

    def _finish(self, index: int, status: Status, error: Failure | None = None) -> None:
        statement, tools = self._flow.statements[index], self._flow.tools
        effects = {tools[site.tool].effect for site in statement.calls}
        result = StatementResult(
            index=index,
            text=statement.text,
            line=statement.line,
            status=status,
            error=error,
            has_workspace_effect=Effect.WORKSPACE in effects,
        )
        self._results[index] = result
        self._dispatcher.statement_ended(statement, result, (index,))
        self._regions[index].finish(status is Status.OK)
        self._graph.finish(index)

    def outcome(self) -> FlowOutcome:
        """What it all came to."""
        ended = [self._ended[index] for index in sorted(self._ended)]
        end = next((one for one in ended if one.done or one.gave_up is not None), Ended())
        return FlowOutcome(
            results=tuple(result for result in self._results if result is not None),
            names={name: value for one in ended for name, value in one.kept.items()},
            notes=tuple(one.note for one in ended if one.note is not None),
            done=end.done,
            output=end.output,
            gave_up=end.gave_up,
        )


def _leaf(group: BaseExceptionGroup[BaseException]) -> BaseException:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
