"""The plan: what a planner's reply turned into. The parser is `planloop.language`."""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Mapping
from typing import Literal, TypeAlias

from planloop.tool import Tool

Place: TypeAlias = tuple[int, ...]
"""Where in a plan something happens: the statement's index, then positions in evaluation order.

Places sort as plain Python would evaluate them.
"""


@dataclasses.dataclass(frozen=True, eq=False)
class CallSite:
    """A place in a flow's text where a tool is called."""

    tool: str
    """The tool's name as the plan spells it."""
    node: ast.Call
    line: int
    column: int


StatementKind: TypeAlias = Literal[
    "assign", "expression", "expect", "note", "done", "give_up", "check", "keep", "restart",
    "import", "define", "code",
]  # fmt: skip
"""The last three stand in programs only."""

Undo: TypeAlias = Literal["none", "names", "state"]
"""What leaves nothing behind of a statement that failed half-way: nothing need be done, names are
bound again as they were, or the whole state of the interpreter goes back."""


@dataclasses.dataclass(frozen=True, eq=False)
class Statement:
    """One top-level statement of a flow or program."""

    index: int
    kind: StatementKind
    text: str
    """Canonical source: equal for equal statements, whatever their quotes, spaces, comments."""
    source: str
    line: int
    scope: str | None
    """The comment above it, which names a scope in every view."""
    node: ast.stmt
    reads: frozenset[str]
    """Names of earlier statements or of the run that it needs."""
    binds: tuple[str, ...]
    calls: tuple[CallSite, ...]
    """Of a flow; a program's calls are seen when they happen."""
    undo: Undo = "none"
    settled: tuple[str, ...] = ()
    """Names of which undoing `names` is enough only while they hold values that cannot change."""
    touches_files: bool = False
    """It may change files by other means than tools."""
    grants: frozenset[str] = frozenset()
    """Tools that a program's statement names, itself or by a helper that it reaches."""


@dataclasses.dataclass(frozen=True, eq=False)
class Flow:
    """Straight-line Python over tool calls; validated whole, run as a graph by its data flow."""

    statements: tuple[Statement, ...]
    source: str
    native_ids: tuple[str, ...] = ()
    """Ids of the API's tool calls, one a statement, if the reply used them."""
    tools: Mapping[str, Tool] = dataclasses.field(default_factory=dict, repr=False)
    """The tools that it was validated against, by the names that plans use."""
    kind: Literal["flow"] = "flow"

    @property
    def keeps(self) -> bool:
        """Whether it begins with `keep()`: what is done stays done."""
        return bool(self.statements) and self.statements[0].kind == "keep"

    @property
    def restarts(self) -> bool:
        """Whether it begins with `restart()`."""
        return bool(self.statements) and self.statements[0].kind == "restart"


@dataclasses.dataclass(frozen=True, eq=False)
class Program:
    """Any other Python. `reason` says at which line and column it left the flow language."""

    source: str
    reason: str
    line: int
    column: int
    statements: tuple[Statement, ...] = ()
    tools: Mapping[str, Tool] = dataclasses.field(default_factory=dict, repr=False)
    kind: Literal["program"] = "program"

    @property
    def keeps(self) -> bool:
        """Whether it begins with `keep()`: what is done stays done."""
        return bool(self.statements) and self.statements[0].kind == "keep"

    @property
    def restarts(self) -> bool:
        """Whether it begins with `restart()`."""
        return bool(self.statements) and self.statements[0].kind == "restart"


@dataclasses.dataclass(frozen=True)
class Answer:
    """Prose: `done(text)`. Never executed."""

    text: str
    kind: Literal["answer"] = "answer"


Plan: TypeAlias = Flow | Program | Answer
