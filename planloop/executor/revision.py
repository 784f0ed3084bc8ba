"""What a new plan is to the one before it: the first of its lineage, the rest, or all again."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from planloop.plan import Flow
from planloop.state import PlanMode


@dataclasses.dataclass(frozen=True)
class FinishedStatement:
    """A statement of the lineage that ran to its end."""

    text: str
    has_workspace_effect: bool


@dataclasses.dataclass(frozen=True, kw_only=True)
class Lineage:
    """A plan and its revisions, until one has run to its end and nothing failed after it."""

    number: int
    finished: tuple[FinishedStatement, ...] = ()
    made_by: Mapping[str, frozenset[int]] = dataclasses.field(default_factory=dict)
    """Name → serial numbers of every call that its value depends on."""
    looked_at: frozenset[int] = frozenset()
    """Serial numbers that the failed statements depend on."""
    versions: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Of the resources, as the last plan left them."""


def mode_of(flow: Flow, lineage: Lineage) -> PlanMode:
    """Whether a flow is the rest of its lineage's last plan or the whole again (R2).

    Doubt goes to `rest`: taking a rest for a whole destroys silently, the reverse shows up
    as a question.
    """
    if flow.restarts:
        return "whole"
    if flow.keeps or not lineage.finished:
        return "rest"
    new = [statement.text for statement in flow.statements]
    old = [statement.text for statement in lineage.finished]
    begins_alike = new[:1] == old[:1]
    if not begins_alike and 2 * _common_in_order(old, new) <= len(old):
        return "rest"
    missing_effect = any(
        statement.has_workspace_effect and statement.text not in new
        for statement in lineage.finished
    )
    return "rest" if missing_effect else "whole"


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
