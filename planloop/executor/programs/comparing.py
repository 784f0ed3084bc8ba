"""Whether a whole program again can go on in its live interpreter (R4), or must begin anew (R5)."""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Iterable, Sequence
from typing import TypeAlias

from planloop.plan import Statement
from planloop.text import one_line


@dataclasses.dataclass(frozen=True)
class GoOn:
    """What finished stays; these statements of the new program run, in this order."""

    run: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Again:
    """The program runs from its top, on the files of its lineage's beginning."""

    why: str


Comparison: TypeAlias = GoOn | Again

_PLACELESS = ("import", "define")


def compare(finished: Sequence[Statement], new: Sequence[Statement]) -> Comparison:
    """Compare what finished with a program that comes whole again.

    Args:
        finished: statements of the lineage that ran to their end, in the order of their text.
        new: the statements of the new program.
    """
    return _Comparing(finished).with_program(new)


def reached(statements: Iterable[Statement]) -> frozenset[str]:
    """Names that statements read, through the bodies of the functions that they call."""
    known = list(statements)
    bodies = {name: one.reads for one in known if one.kind == "define" for name in one.binds}
    pending = [name for one in known if one.kind not in _PLACELESS for name in one.reads]
    found: set[str] = set()
    while pending:
        name = pending.pop()
        if name not in found:
            found.add(name)
            pending += bodies.get(name, ())
    return frozenset(found)


class _Comparing:
    def __init__(self, finished: Sequence[Statement]) -> None:
        self._left = list(finished)
        """What the new program has not repeated yet."""
        self._reached = reached(finished)

    def with_program(self, new: Sequence[Statement]) -> Comparison:
        run: list[int] = []
        for statement in new:
            if self._repeats(statement):
                continue
            if self._left and not self._may_come_now(statement):
                return Again(self._why_not(statement))
            run.append(statement.index)
        for statement in self._left:
            if not self._is_optional(statement):
                return Again(f"`{one_line(statement.source, 60)}` was dropped")
        return GoOn(tuple(run))

    def _repeats(self, statement: Statement) -> bool:
        """Whether it is the next finished one; definitions may come earlier than they did."""
        for index, finished in enumerate(self._left):
            if finished.text == statement.text:
                del self._left[index]
                return True
            if not (statement.kind in _PLACELESS or self._is_optional(finished)):
                return False
        return False

    def _may_come_now(self, statement: Statement) -> bool:
        """Whether it may run late, after statements that stand below it."""
        if statement.kind in _PLACELESS:
            return not set(statement.binds) & self._reached
        return _only_speaks(statement)

    def _is_optional(self, statement: Statement) -> bool:
        return statement.kind in _PLACELESS and not set(statement.binds) & self._reached

    def _why_not(self, statement: Statement) -> str:
        if statement.kind in _PLACELESS:
            return f"the definition of `{', '.join(statement.binds)}` changed, and it was used"
        return f"`{one_line(statement.source, 60)}` was changed, inserted or moved"


def _only_speaks(statement: Statement) -> bool:
    """A `print` or `note` in which nothing else is called."""
    node = statement.node
    calls = [one for one in ast.walk(node) if isinstance(one, ast.Call)]
    words = [one.func.id for one in calls if isinstance(one.func, ast.Name)]
    return isinstance(node, ast.Expr) and len(calls) == 1 and words in (["print"], ["note"])
