"""Carries out one statement of a flow: an assignment, an expression or a word."""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from planloop.errors import CallFailed
from planloop.executor.dispatch import Dispatcher, P
from planloop.executor.expressions import Walk
from planloop.executor.failures import ExpectationFailed
from planloop.executor.regions import Region, Summary, end_of
from planloop.language.evaluate import Evaluator, Scope
from planloop.language.words import arguments_of, has_words, is_word, word_of
from planloop.plan import Statement
from planloop.values import Value

_TAKEN: Final = (ast.Name, ast.Attribute, ast.Constant)
"""Expressions that build nothing: their value is part of one that was there before."""
_IN_ORDER: Final = frozenset({"note", "done", "give_up", "check"})


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ended:
    """What a statement that went well came to."""

    bound: Mapping[str, Value] = dataclasses.field(default_factory=dict)
    """As later statements of this flow read it."""
    kept: Mapping[str, Value] = dataclasses.field(default_factory=dict)
    """As the run keeps it."""
    note: str | None = None
    done: bool = False
    output: Value = None
    gave_up: str | None = None


class Carrier:
    """Carries out one statement.

    Raises, from `run`:
        Stopped: it failed, or may not go on.
    """

    def __init__(
        self, statement: Statement, walk: Walk[P], dispatcher: Dispatcher[P], region: Region
    ) -> None:
        self._statement = statement
        self._walk: Walk[Any] = walk
        self._dispatcher: Dispatcher[Any] = dispatcher
        self._region = region

    async def run(self, scope: Scope) -> Ended:
        """Evaluate it, and do what it says."""
        node = self._statement.node
        if isinstance(node, ast.Assign):
            return await self._assign(node, scope)
        assert isinstance(node, ast.Expr)
        return await self._expression(node.value, self._region, scope)

    async def _assign(self, node: ast.Assign, scope: Scope) -> Ended:
        found = await self._walk.value(node.value, self._region, scope)
        made_here = not isinstance(node.value, _TAKEN) and not self._is_call(node.value)
        step = partial(_bind, node.targets, found, made_here)
        bound, kept = await self._walk.compute(step, end_of(self._region), scope)
        return Ended(bound=bound, kept=kept)

    def _is_call(self, node: ast.expr) -> bool:
        return any(site.node is node for site in self._statement.calls)

    async def _expression(self, node: ast.expr, region: Region, scope: Scope) -> Ended:
        if is_word(node):
            return await self._word(node, region, scope)
        if isinstance(node, ast.IfExp) and has_words(node):
            taken, children = await self._walk.choose(node, region, scope)
            branch = children.get(taken) or Region((*region.place, 1), Summary())
            return await self._expression(taken, branch, scope)
        await self._walk.value(node, region, scope)
        return Ended()

    async def _word(self, node: ast.Call, region: Region, scope: Scope) -> Ended:
        nodes, word = arguments_of(node), word_of(node)
        known = await self._walk.values(list(nodes.values()), region, scope)
        step = partial(_arguments, word, nodes, known)
        given = await self._walk.compute(step, end_of(self._region), known)
        if word in _IN_ORDER:
            await self._walk.wait_all_earlier(self._region)
        match word:
            case "note":
                self._dispatcher.note(given["text"], end_of(self._region))
                return Ended(note=given["said"])
            case "done":
                return Ended(done=True, output=given.get("answer"))
            case "give_up":
                return Ended(gave_up=given["why"])
            case "check":
                await self._propose(given)
        return Ended()

    async def _propose(self, given: dict[str, Value]) -> None:
        try:
            await self._dispatcher.propose(given, self._statement)
        except CallFailed as error:
            raise self._walk.stopped(error, end_of(self._region)) from None


def _bind(
    targets: list[ast.expr], found: Value, made_here: bool, evaluator: Evaluator
) -> tuple[Scope, Scope]:
    bound: Scope = {}
    for target in targets:
        evaluator.assign(target, found, bound)
    if not made_here:
        return bound, bound
    return bound, {name: evaluator.kept(value) for name, value in bound.items()}


def _arguments(
    word: str, nodes: dict[str, ast.expr], known: Scope, evaluator: Evaluator
) -> dict[str, Value]:
    given = {name: evaluator.value(node, known) for name, node in nodes.items()}
    text = evaluator.operations.text
    match word:
        case "expect" if not given["cond"]:
            why = given.get("why") or f"expected {ast.unparse(nodes['cond'])}"
            raise ExpectationFailed(text(why))
        case "note":
            settled = evaluator.settled(given["text"])
            return {"text": settled, "said": text(settled)}
        case "give_up":
            return {"why": text(given["why"])}
        case "done" | "check":
            return {name: evaluator.settled(value) for name, value in given.items()}
    return given
