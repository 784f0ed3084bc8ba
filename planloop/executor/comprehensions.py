"""Comprehensions whose iterations hold calls: all iterations at once, as far as order lets them."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from planloop.executor.computing import Stopped, first_of, together
from planloop.executor.regions import Region, Summary, end_of
from planloop.language.evaluate import Evaluator, Scope
from planloop.language.limits import Paused
from planloop.language.order import Comprehension, by_turns, iterable_parts, results_of
from planloop.values import Value

if TYPE_CHECKING:
    from planloop.executor.dispatch import P
    from planloop.executor.expressions import Walk


async def comprehension(walk: Walk[P], node: Comprehension, region: Region, scope: Scope) -> Value:
    """The value of a comprehension that holds a call; a generator comes as a list.

    Raises:
        Stopped: it came to none.
    """
    if any(inner in walk.summaries for inner in by_turns(node)):
        found = await _Loop(walk, node).level(0, region, scope)
        return await walk.compute(partial(_collected, node, found), end_of(region), scope)
    source = list(iterable_parts(node.generators[0].iter, walk.summaries))
    known = await walk.values(source, region, scope)
    return await walk.compute(lambda ev: ev.value(node, known), end_of(region), known)


class _Loop:
    """One comprehension, level by level: a level is one `for` with its conditions."""

    def __init__(self, walk: Walk[P], node: Comprehension) -> None:
        self._walk = walk
        self._node = node
        self._rests = [self._rest(level) for level in range(len(node.generators))]

    async def level(self, level: int, region: Region, scope: Scope) -> list[Value]:
        """The items that one `for`, and all below it, give."""
        walk, generator = self._walk, self._node.generators[level]
        source = list(iterable_parts(generator.iter, walk.summaries))
        first = Region((*region.place, 0), self._union(source))
        body_summary = Summary.union((self._union(generator.ifs), self._rests[level]))
        body = Region((*region.place, 1), body_summary, bare=region.bare)
        region.expand([first, body])
        try:
            known = await walk.values(source, first, scope)
        except Stopped:
            first.finish(False)
            raise
        first.finish(True)
        step = partial(self._iterations, level, known)
        scopes, error = await walk.compute(step, end_of(first), known)
        return await self._iterate(level, body, scopes, error)

    def _iterations(
        self, level: int, known: Scope, evaluator: Evaluator
    ) -> tuple[list[Scope], Exception | None]:
        """A scope for each iteration, as far as Python would get."""
        generator, scopes = self._node.generators[level], list[Scope]()
        plain = not any(test in self._walk.summaries for test in generator.ifs)
        inner = known
        try:
            for item in evaluator.iterable(generator, known):
                evaluator.meter.spend()
                inner = dict(known)
                evaluator.assign(generator.target, item, inner)
                if not plain or evaluator.passes(generator.ifs, inner):
                    scopes.append(inner)
        except Paused:
            raise
        except Exception as error:  # the iterations before it still happen
            self._walk.failed_scope = inner
            return scopes, error
        return scopes, None

    async def _iterate(
        self, level: int, body: Region, scopes: list[Scope], error: Exception | None
    ) -> list[Value]:
        regions = [
            Region((*body.place, index), body.summary, bare=body.bare)
            for index in range(len(scopes))
        ]
        body.expand(regions)
        results: list[list[Value]] = [[]] * len(scopes)
        stops: list[Stopped] = []
        if error is not None:
            stops.append(self._walk.stopped(error, (*body.place, len(scopes))))

        async def iteration(index: int) -> None:
            region = regions[index]
            try:
                results[index] = await self._iteration(level, region, scopes[index])
            except Stopped as stop:
                stops.append(stop)
                region.finish(False)
            region.finish(True)

        await together([partial(iteration, index) for index in range(len(scopes))])
        if stops:
            raise first_of(stops)
        return [item for result in results for item in result]

    async def _iteration(self, level: int, region: Region, scope: Scope) -> list[Value]:
        walk, node = self._walk, self._node
        tests = node.generators[level].ifs
        if any(test in walk.summaries for test in tests):
            inner = Region((*region.place, len(tests)), self._rests[level])
            children = walk.regions(tests, region.place)
            region.expand([*children.values(), inner])
            if not await self._passes(tests, children, region, scope):
                return []
            region = inner
        if level + 1 < len(node.generators):
            return await self.level(level + 1, region, scope)
        return [await self._item(region, scope)]

    async def _passes(
        self,
        tests: Sequence[ast.expr],
        children: Mapping[ast.AST, Region],
        region: Region,
        scope: Scope,
    ) -> bool:
        for position, test in enumerate(tests):
            if not await self._walk.child(test, children, scope, (*region.place, position)):
                return False
        return True

    async def _item(self, region: Region, scope: Scope) -> Value:
        node, walk = self._node, self._walk
        if not isinstance(node, ast.DictComp):
            return await walk.value(node.elt, region, scope)
        known = await walk.values((node.key, node.value), region, scope)
        return await walk.compute(partial(_pair, node, known), end_of(region), known)

    def _rest(self, level: int) -> Summary:
        """What comes after the conditions of a level."""
        return self._union((*self._node.generators[level + 1 :], *results_of(self._node)))

    def _union(self, nodes: Sequence[ast.AST]) -> Summary:
        found = self._walk.summaries
        return Summary.union([found[node] for node in nodes if node in found])


def _pair(node: ast.DictComp, known: Scope, evaluator: Evaluator) -> tuple[Value, Value]:
    return evaluator.value(node.key, known), evaluator.value(node.value, known)


def _collected(node: Comprehension, found: list[Value], evaluator: Evaluator) -> Value:
    match node:
        case ast.SetComp():
            return evaluator.operations.make_set(found)
        case ast.DictComp():
            return evaluator.operations.make_dict(found)
    return found
