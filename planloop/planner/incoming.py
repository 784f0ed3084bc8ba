"""A reply while it is being written: the complete statements of its python block."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from planloop.language.arriving import Arriving
from planloop.planner.reply import FENCE, PYTHON
from planloop.roles import HeadStartRole
from planloop.tool import Tool


class Incoming:
    """Hears a reply piece by piece.

    Only a block that says that it is python is read early: what one without a language is shows
    when the reply is whole.

    Args:
        tools: by the names that plans use.
        names: what the run has bound already.
        head_start: told of each statement that is complete, and that the plan is a program.
    """

    def __init__(
        self,
        tools: Mapping[str, Tool],
        names: Collection[str],
        head_start: HeadStartRole,
    ) -> None:
        self._plan = Arriving(tools, names)
        self._head_start = head_start
        self._heard: list[str] = []
        self._line: list[str] = []
        self._fence = ""
        self._indent = ""
        self._in_plan = False
        self._over = False

    def hear(self, piece: str) -> None:
        """Take the next piece of the text."""
        self._heard.append(piece)
        *lines, rest = piece.split("\n")
        for end in lines:
            self._take("".join((*self._line, end)))
            self._line.clear()
        self._line.append(rest)

    def began(self, text: str) -> bool:
        """Whether what was heard is the beginning of this text, or all of it."""
        return text.startswith("".join(self._heard))

    def _take(self, line: str) -> None:
        if self._over:
            return
        line = line.removesuffix("\r")
        match = FENCE.match(line)
        if not self._fence:
            if match:
                words = match["info"].strip().lower().split()
                self._fence, self._indent = match["fence"], match["indent"]
                self._in_plan = bool(words) and words[0] in PYTHON
        elif match and match["fence"].startswith(self._fence) and not match["info"].strip():
            self._over, self._fence = self._in_plan, ""
        elif self._in_plan:
            was_program = self._plan.is_program
            for statement in self._plan.line(line.removeprefix(self._indent)):
                self._head_start.statement(statement)
            if self._plan.is_program and not was_program:
                self._head_start.program()
