"""Which statements of a flow may begin: its data flow, and what must keep the order of the text."""

from __future__ import annotations

import ast
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Final

from planloop.language.words import may_end
from planloop.plan import Statement
from planloop.tool import Tool

_IN_ORDER: Final = frozenset({"note", "done", "give_up", "check"})


class Graph:
    """The statements of one running flow that have not begun, and what each waits for.

    A statement waits for those that bind what it reads, and for a conditional `done` above it:
    whether it happens at all hangs on that. One whose every part must keep the order of the text
    waits for all above it.
    """

    def __init__(self, statements: Sequence[Statement], tools: Mapping[str, Tool]) -> None:
        count = len(statements)
        self.sources = sources_of(statements)
        """For each statement: the names that it reads, and the statement above that binds each."""
        self._in_order = [keeps_order(found, tools) for found in statements]
        self._missing = [0] * count
        self._readers: list[list[int]] = [[] for _ in range(count)]
        self._finished = [False] * count
        self._prefix = 0
        self._link(statements)
        self._ready = deque(index for index in range(count) if self._may_begin(index))

    def next_ready(self) -> int | None:
        """A statement that may begin; None if none may now."""
        return self._ready.popleft() if self._ready else None

    def finish(self, index: int) -> None:
        """A statement has ended, well or not."""
        self._finished[index] = True
        for reader in self._readers[index]:
            self._missing[reader] -= 1
            if not self._missing[reader] and not self._in_order[reader]:
                self._ready.append(reader)
        before = self._prefix
        while self._prefix < len(self._finished) and self._finished[self._prefix]:
            self._prefix += 1
        if before < self._prefix < len(self._finished) and self._in_order[self._prefix]:
            self._ready.append(self._prefix)

    def _link(self, statements: Sequence[Statement]) -> None:
        end: int | None = None
        for index, statement in enumerate(statements):
            needed = set(self.sources[index].values()) | ({end} if end is not None else set())
            self._missing[index] = len(needed)
            for source in needed:
                self._readers[source].append(index)
            if isinstance(statement.node, ast.Expr) and may_end(statement.node.value):
                end = index

    def _may_begin(self, index: int) -> bool:
        return index == 0 if self._in_order[index] else not self._missing[index]


def sources_of(statements: Sequence[Statement]) -> list[dict[str, int]]:
    """For each statement: the names that it reads, and the statement above it that binds them."""
    latest: dict[str, int] = {}
    found = []
    for statement in statements:
        found.append({name: latest[name] for name in statement.reads if name in latest})
        latest.update(dict.fromkeys(statement.binds, statement.index))
    return found


def keeps_order(statement: Statement, tools: Mapping[str, Tool]) -> bool:
    """Whether nothing of a statement can begin before all earlier ones have ended."""
    if not statement.calls:
        return statement.kind in _IN_ORDER
    node = statement.node
    assert isinstance(node, ast.Assign | ast.Expr)
    if len(statement.calls) > 1 or statement.calls[0].node is not node.value:
        return False
    tool = tools[statement.calls[0].tool]
    return tool.effect.is_effect and tool.resources is None
