"""What a new plan is to the one before it: the first of its lineage, the rest, or all again."""

from __future__ import annotations

import ast
import builtins
import dataclasses
from collections.abc import Iterator, Mapping, Sequence

from planloop.plan import Flow, Program, Statement
from planloop.state import PlanMode
from planloop.values import Value


@dataclasses.dataclass(frozen=True)
class FinishedStatement:
    """A statement of the lineage that ran to its end."""

    statement: Statement
    has_workspace_effect: bool
    round: int
    """Of the plan that it stands in."""

    @property
    def text(self) -> str:
        """Its canonical source."""
        return self.statement.text


@dataclasses.dataclass(frozen=True, kw_only=True)
class Lineage:
    """A plan and its revisions, until one has run to its end and nothing failed after it."""

    number: int
    names: Mapping[str, Value] = dataclasses.field(default_factory=dict)
    """As they were at its beginning."""
    finished: tuple[FinishedStatement, ...] = ()
    sources: Mapping[int, str] = dataclasses.field(default_factory=dict)
    """Round → text of its plan."""
    made_by: Mapping[str, frozenset[int]] = dataclasses.field(default_factory=dict)
    """Name → serial numbers of every call that its value depends on."""
    looked_at: frozenset[int] = frozenset()
    """Serial numbers that the failed statements depend on."""
    handled: frozenset[int] = frozenset()
    """Serial numbers of failed calls whose failure the program handled."""
    versions: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Of the resources, as the last plan left them."""
    inside: bool = False
    """A plan of it has run in the interpreter of programs."""
    broken: str = ""
    """Why its state is lost and cannot be brought back; empty if it is not."""


def mode_of(plan: Flow | Program, lineage: Lineage) -> PlanMode:
    """Whether a plan is the rest of its lineage's last plan or the whole again (R2).

    Doubt goes to `rest`: taking a rest for a whole destroys silently, the reverse shows up
    as a question.
    """
    if plan.restarts:
        return "whole"
    if plan.keeps or not lineage.finished:
        return "rest"
    new = [text for statement in plan.statements for text in _texts(statement.node)]
    old = [statement.text for statement in lineage.finished]
    if not (_begin_alike(plan.statements, lineage.finished) or _mostly(old, new)):
        return "whole" if _is_renamed(plan, lineage) else "rest"
    there = set(new)
    missing_effect = any(
        statement.has_workspace_effect and statement.text not in there
        for statement in lineage.finished
    )
    return "rest" if missing_effect else "whole"


def _texts(node: ast.stmt) -> Iterator[str]:
    """A statement, and those inside it at any depth."""
    yield ast.unparse(node)
    for inner in ast.walk(node):
        if isinstance(inner, ast.stmt) and inner is not node:
            yield ast.unparse(inner)


def _begin_alike(new: Sequence[Statement], old: Sequence[FinishedStatement]) -> bool:
    """Whether the first statements are equal, imports and definitions aside."""
    first_new = next((one.text for one in new if one.kind not in ("import", "define")), None)
    first_old = next(
        (one.text for one in old if one.statement.kind not in ("import", "define")), None
    )
    return first_new is not None and first_new == first_old


def _mostly(old: list[str], new: list[str]) -> bool:
    return 2 * _common_in_order(old, new) > len(old)


def _is_renamed(plan: Flow | Program, lineage: Lineage) -> bool:
    """Whether it is the whole again with other names, which it binds before it reads them.

    A rest reads what finished statements have bound.
    """
    bound: set[str] = set()
    made = {name for one in lineage.finished for name in one.statement.binds}
    for statement in plan.statements:
        if statement.reads & made - bound:
            return False
        bound.update(statement.binds)
    keep = frozenset(plan.tools)
    old = [_nameless(one.statement.node, keep) for one in lineage.finished]
    return _mostly(old, [_nameless(one.node, keep) for one in plan.statements])


def _nameless(node: ast.stmt, kept: frozenset[str]) -> str:
    """A statement's form, whatever the names are called that a plan may bind."""
    copy = ast.parse(ast.unparse(node))
    for one in ast.walk(copy):
        if isinstance(one, ast.Name) and one.id not in kept and not hasattr(builtins, one.id):
            one.id = "_"
    return ast.unparse(copy)


def _common_in_order(old: list[str], new: list[str]) -> int:
    """Length of the longest common subsequence."""
    row = [0] * (len(new) + 1)
    for text in old:
        before = row
        row = [0]
        for index, candidate in enumerate(new):
            longest = before[index] + 1 if candidate == text else max(before[index + 1], row[index])
            row.append(longest)
    return row[-1]
