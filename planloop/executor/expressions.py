"""Evaluates one statement's expressions that hold calls; what is independent runs at once."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Generic, TypeVar

from planloop.errors import CallFailed
from planloop.executor.comprehensions import comprehension
from planloop.executor.computing import Computer, Progress, Stopped, first_of, together
from planloop.executor.dispatch import Dispatcher, P
from planloop.executor.regions import (
    Barred,
    Region,
    Summary,
    blocks_effect,
    blocks_look,
    end_of,
    not_begun,
    wait_for_earlier,
)
from planloop.language.calls import AGAIN, says_again
from planloop.language.evaluate import Evaluator, Scope
from planloop.language.order import mappings_of, method_of, parts
from planloop.plan import Place, Statement
from planloop.tool import ArgumentsInvalid, Effect, Tool
from planloop.values import Value

T = TypeVar("T")


class Walk(Generic[P]):
    """Evaluates the expressions of one statement."""

    def __init__(
        self,
        statement: Statement,
        dispatcher: Dispatcher[P],
        progress: Progress,
        tools: Mapping[str, Tool],
        summaries: Mapping[ast.AST, Summary],
    ) -> None:
        self._statement = statement
        self._dispatcher = dispatcher
        self._progress = progress
        self._tools = tools
        self.summaries = summaries
        self._sites = {site.node: site for site in statement.calls}
        self._computer = Computer(progress)
        self.failed_scope: Scope = {}
        """What the latest failing expression saw."""

    async def value(self, node: ast.expr, region: Region, scope: Scope) -> Value:
        """The value of an expression; `region` is the one that stands for it.

        Raises:
            Stopped: it came to none.
        """
        if node not in self.summaries:
            return await self.compute(lambda ev: ev.value(node, scope), region.place, scope)
        match node:
            case ast.Call() if node in self._sites:
                return await self._tool_call(node, region, scope)
            case ast.BoolOp():
                return await self._boolean(node, region, scope)
            case ast.IfExp():
                return await self._conditional(node, region, scope)
            case ast.Compare() if len(node.ops) > 1:
                return await self._compare(node, region, scope)
            case ast.ListComp() | ast.SetComp() | ast.DictComp() | ast.GeneratorExp():
                return await comprehension(self, node, region, scope)
        known = await self.values(self._parts(node), region, scope, node)
        return await self.compute(lambda ev: ev.value(node, known), end_of(region), known)

    async def values(
        self,
        nodes: Sequence[ast.expr],
        region: Region,
        scope: Scope,
        whole: ast.AST | None = None,
    ) -> Scope:
        """The scope with the values of expressions that Python evaluates one after the other.

        `whole` is the expression whose parts they are, if it does something with one of them
        before it goes on to the next: looks up a method, unpacks a mapping.
        """
        children = self._expand(region, nodes)
        known, stops = dict(scope), list[Stopped]()

        async def child(node: ast.expr) -> None:
            try:
                known[node] = await self._part(node, children[node], scope, whole)
            except Stopped as stop:
                stops.append(stop)
            children[node].finish(node in known)

        jobs = []
        for position, node in enumerate(nodes):
            if node in children:
                jobs.append(partial(child, node))
            elif not isinstance(node, ast.Constant):
                try:
                    step = partial(_plain, node, whole, scope)
                    known[node] = await self.compute(step, (*region.place, position), scope)
                except Stopped as stop:
                    stops.append(stop)
                    break  # Python would not begin what comes after it
        await together(jobs)
        if stops:
            raise first_of(stops)
        return known

    async def _part(
        self, node: ast.expr, region: Region, scope: Scope, whole: ast.AST | None
    ) -> Value:
        method = method_of(whole)
        if method is not None and node is method:
            known = await self.values([method.value], region, scope)
            return await self.compute(lambda ev: ev.method(method, known), end_of(region), known)
        found = await self.value(node, region, scope)
        if node in mappings_of(whole):
            await self.compute(lambda ev: ev.mapping(found), end_of(region), scope)
        return found

    def _parts(self, node: ast.AST) -> list[ast.expr]:
        return list(parts(node, self.summaries))

    def _expand(self, region: Region, nodes: Sequence[ast.AST]) -> dict[ast.AST, Region]:
        children = self.regions(nodes, region.place)
        region.expand(list(children.values()))
        return children

    def regions(self, nodes: Sequence[ast.AST], place: Place) -> dict[ast.AST, Region]:
        """New regions for those of the nodes, evaluated in this order, that hold a call."""
        summaries = self.summaries
        return {
            node: Region(
                (*place, position), summaries[node], bare=is_bare(node, self._tools, summaries)
            )
            for position, node in enumerate(nodes)
            if node in summaries
        }

    async def compute(self, step: Callable[[Evaluator], T], place: Place, scope: Scope) -> T:
        """Do a call-free piece of work that sees a scope. Raises `Stopped` if it raised."""
        try:
            return await self._computer.compute(step, place)
        except Stopped:
            self.failed_scope = scope
            raise

    def stopped(self, error: Exception, place: Place, line: int = 0) -> Stopped:
        """An error at a place; from there on nothing with an effect starts."""
        return self._progress.stopped(error, place, line)

    # Calls

    async def _tool_call(self, node: ast.Call, region: Region, scope: Scope) -> Value:
        site, nodes = self._sites[node], self._parts(node)
        place = (*region.place, len(nodes))
        region.own = Summary.of_tool(site.tool, self._tools[site.tool])
        known = await self.values(nodes, region, scope, node)
        args, kwargs = await self.compute(partial(_arguments, node, known), place, known)
        try:
            prepared = self._dispatcher.prepare(
                site, self._statement, place, args, kwargs, says_again(node)
            )
            region.prepare(prepared)
            await self._wait_turn(region, prepared, site.tool, place)
            region.begin()
            return await self._dispatcher.run(prepared)
        except (ArgumentsInvalid, CallFailed) as error:
            self.failed_scope = scope
            raise self.stopped(error, place, site.line) from None

    async def _wait_turn(self, region: Region, prepared: P, tool: str, place: Place) -> None:
        call = prepared.call
        try:
            if prepared.by_place:
                await wait_for_earlier(region, lambda found: not_begun(found, tool))
            if call.tool.effect is Effect.READS:
                await wait_for_earlier(region, lambda found: blocks_look(found, call.resources))
            elif call.tool.effect.is_effect:
                one_call = region.bare and len(region.place) == 1
                await wait_for_earlier(
                    region, lambda found: blocks_effect(found, call, one_call=one_call)
                )
            self._refuse_late(place, is_effect=call.tool.effect.is_effect)
        except Barred:
            self._dispatcher.skipped(prepared, "something before it went wrong")
            raise Stopped(None, place) from None

    def _refuse_late(self, place: Place, *, is_effect: bool) -> None:
        stopped_at = self._progress.stopped_at
        if stopped_at is None or place < stopped_at:
            return
        if is_effect or stopped_at[0] == place[0]:
            raise Barred

    async def wait_all_earlier(self, region: Region) -> None:
        """Wait until everything before has gone well. Raises `Stopped` if it has not."""
        try:
            await wait_for_earlier(region, lambda found: blocks_effect(found, None))
            self._refuse_late(end_of(region), is_effect=True)
        except Barred:
            raise Stopped(None, end_of(region)) from None

    # What Python evaluates by turns

    async def child(
        self, node: ast.expr, children: Mapping[ast.AST, Region], scope: Scope, place: Place
    ) -> Value:
        """The value of one of several expressions of which Python may not need all."""
        if node not in children:
            return await self.compute(lambda ev: ev.value(node, scope), place, scope)
        found, ok = None, False
        try:
            found = await self.value(node, children[node], scope)
            ok = True
        finally:
            children[node].finish(ok)
        return found

    async def _boolean(self, node: ast.BoolOp, region: Region, scope: Scope) -> Value:
        children = self._expand(region, node.values)
        stop_at, found = isinstance(node.op, ast.Or), None
        for position, part in enumerate(node.values):
            found = await self.child(part, children, scope, (*region.place, position))
            if bool(found) is stop_at:
                break
        return found

    async def _conditional(self, node: ast.IfExp, region: Region, scope: Scope) -> Value:
        taken, children = await self.choose(node, region, scope)
        return await self.child(taken, children, scope, (*region.place, 1))

    async def choose(
        self, node: ast.IfExp, region: Region, scope: Scope
    ) -> tuple[ast.expr, Mapping[ast.AST, Region]]:
        """The branch that a conditional takes; the other one holds nobody up any more."""
        children = self._expand(region, (node.test, node.body, node.orelse))
        test = await self.child(node.test, children, scope, (*region.place, 0))
        taken, other = (node.body, node.orelse) if test else (node.orelse, node.body)
        if other in children:
            children[other].finish(True)
        return taken, children

    async def _compare(self, node: ast.Compare, region: Region, scope: Scope) -> Value:
        sides = [node.left, *node.comparators]
        children, found = self._expand(region, sides), None
        left = await self.child(node.left, children, scope, (*region.place, 0))
        for position, (operator, side) in enumerate(zip(node.ops, sides[1:], strict=True), 1):
            right = await self.child(side, children, scope, (*region.place, position))
            step = partial(_compared, type(operator), left, right)
            found = await self.compute(step, (*region.place, position, 0), scope)
            if not found:
                break
            left = right
        return found


def is_bare(node: ast.AST, tools: Mapping[str, Tool], summaries: Mapping[ast.AST, Summary]) -> bool:
    """Whether nothing of an expression but its calls' outcomes can fail once they are prepared."""
    if isinstance(node, ast.ListComp):
        tests = (test for generator in node.generators for test in generator.ifs)
        return is_bare(node.elt, tools, summaries) and not any(test in summaries for test in tests)
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in tools


def _plain(node: ast.expr, whole: ast.AST | None, scope: Scope, evaluator: Evaluator) -> Value:
    if isinstance(node, ast.Attribute) and node is method_of(whole):
        return evaluator.method(node, scope)
    found = evaluator.value(node, scope)
    return evaluator.mapping(found) if node in mappings_of(whole) else found


def _compared(kind: type[ast.cmpop], left: Value, right: Value, evaluator: Evaluator) -> Value:
    return evaluator.operations.compare(kind, left, right)


def _arguments(
    node: ast.Call, known: Scope, evaluator: Evaluator
) -> tuple[list[Value], dict[str, Value]]:
    args, kwargs = evaluator.arguments(node, known)
    kwargs.pop(AGAIN, None)
    return [evaluator.settled(found) for found in args], {
        name: evaluator.settled(found) for name, found in kwargs.items()
    }
