"""A plan while it is being written: its complete statements, as the whole plan will have them."""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Mapping

from planloop.errors import PlanInvalid
from planloop.language.findings import Findings
from planloop.language.limits import MAX_SOURCE_BYTES, MAX_STATEMENTS
from planloop.language.names import Names
from planloop.language.parse import Reader
from planloop.language.source import read_source
from planloop.language.words import may_end, says_nothing
from planloop.plan import Statement
from planloop.tool import Tool

_MARK = re.compile(r"""#|'''|\"\"\"|'|"|[(\[{]|[)\]}]""")
_COMPOUND = re.compile(r"\s*(?:async|class|def|for|if|match|try|while|with)\b|\s*@")
"""What begins a statement that only more lines complete: the sign of a program."""
_CLOSING = {quote: re.compile(rf"\\.|{quote}") for quote in ("'''", '"""', "'", '"')}


class Arriving:
    """Reads a plan line by line, as long as what has come can be the beginning of a flow.

    Args:
        tools: by the names that plans use.
        names: what the run has bound already.
    """

    def __init__(self, tools: Mapping[str, Tool], names: Collection[str]) -> None:
        self._tools = tools
        self._names = Names(names, tools, {})
        self._lexer = _LogicalLines()
        self._lines: list[str] = []
        self._read_lines = 0
        self._size = 0
        self._nodes: list[ast.stmt] = []
        self._over = False
        self.is_program = False
        """What has come seems to be the beginning of a program."""

    def line(self, text: str) -> tuple[Statement, ...]:
        """Take the next line, without its end; the statements that it completes."""
        self._size += len(text.encode("utf-8", "surrogatepass")) + 1
        if self._over or self._size > MAX_SOURCE_BYTES:
            return ()
        self._lines.append(text)
        if not self._lexer.end_with(text):
            return ()
        piece = "\n".join(self._lines[self._read_lines :]) + "\n"
        try:
            return self._statements(piece)
        except PlanInvalid:
            self._over = True
            self.is_program = _COMPOUND.match(piece) is not None
            return ()

    def _statements(self, piece: str) -> tuple[Statement, ...]:
        new = self._new_nodes(piece)
        source = "\n".join(self._lines) + "\n"
        findings = Findings(source)
        reader = Reader(source, findings, self._tools, self._names)
        found = reader.read(new, after=self._nodes)
        self._nodes += new
        if findings.first_outside() is not None or len(self._nodes) > MAX_STATEMENTS:
            self._over = self.is_program = True
            return ()
        findings.raise_mistakes()
        # Whether anything happens after a `done(…)` hangs on its condition.
        self._over = any(isinstance(one, ast.Expr) and may_end(one.value) for one in new)
        return found

    def _new_nodes(self, piece: str) -> list[ast.stmt]:
        tree = read_source(piece)
        ast.increment_lineno(tree, self._read_lines)
        self._read_lines = len(self._lines)
        return [node for node in tree.body if not says_nothing(node)]


class _LogicalLines:
    """Tells where lines of Python end, looking at each character once."""

    def __init__(self) -> None:
        self._quote = ""
        """Of the string that is open."""
        self._depth = 0

    def end_with(self, line: str) -> bool:
        """Whether this line ends a logical one: nothing that comes can belong to it any more."""
        at, comment = 0, False
        while not comment:
            if self._quote and (at := self._past_string(line, at)) < 0:
                return False
            mark = _MARK.search(line, at)
            if mark is None:
                break
            at, comment = mark.end(), mark[0] == "#"
            if mark[0] in "([{":
                self._depth += 1
            elif mark[0] in ")]}":
                self._depth -= 1
            elif not comment:
                self._quote = mark[0]
        return self._depth <= 0 and (comment or not line.endswith("\\"))

    def _past_string(self, line: str, at: int) -> int:
        """Where the open string ends; -1 if it goes on in the next line."""
        while (found := _CLOSING[self._quote].search(line, at)) is not None:
            at = found.end()
            if found[0] == self._quote:
                self._quote = ""
                return at
        if len(self._quote) == 1 and not line.endswith("\\"):
            self._quote = ""  # it was never closed, which the parser will say
            return len(line)
        return -1
