"""What validation found: reasons for a program, and mistakes."""

from __future__ import annotations

import ast
import difflib
from collections.abc import Iterable
from typing import Final, NamedTuple

from planloop.errors import PlanInvalid
from planloop.language.source import column_of, source_lines

_MOST_TOLD: Final = 3


class Finding(NamedTuple):
    """Something at a place of the source."""

    line: int
    column: int
    message: str


class Findings:
    """All findings of one source. Python outside the language wins over mistakes (O6)."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._lines = source_lines(source)
        self._outside: list[Finding] = []
        self._mistakes: list[Finding] = []

    def outside(self, node: ast.AST, reason: str) -> None:
        """`node` is Python that flows do not have."""
        self._outside.append(self._at(node, reason))

    def mistake(self, node: ast.AST, message: str) -> None:
        """`node` is wrong; the message says what to do."""
        self._mistakes.append(self._at(node, message))

    def first_outside(self) -> Finding | None:
        """Where the source left the language of flows, and by what."""
        return min(self._outside, default=None)

    def raise_mistakes(self) -> None:
        """Raise `PlanInvalid` for the first mistake, naming the next ones."""
        if not self._mistakes:
            return
        first, *others = sorted(set(self._mistakes))
        more = [f"line {one.line}, column {one.column}: {one.message}" for one in others]
        told = "".join(f"\n{text}" for text in more[: _MOST_TOLD - 1])
        rest = len(more) - (_MOST_TOLD - 1)
        if rest > 0:
            told += f"\nand {rest} more"
        raise PlanInvalid(first.message + told, line=first.line, column=first.column)

    def column(self, node: ast.AST) -> int:
        """The column of a node, counted in characters from 1."""
        line = getattr(node, "lineno", 1)
        text = self._lines[line - 1] if line <= len(self._lines) else ""
        return column_of(text, getattr(node, "col_offset", 0))

    def _at(self, node: ast.AST, message: str) -> Finding:
        return Finding(getattr(node, "lineno", 1), self.column(node), message)


def nearest(name: str, known: Iterable[str]) -> str:
    """`; did you mean …?`, or nothing."""
    near = difflib.get_close_matches(name, list(known), n=3)
    return f"; did you mean {' or '.join(f'`{one}`' for one in near)}?" if near else ""
