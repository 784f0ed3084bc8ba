"""Numbered lists of goals, read into a plan of one `goal(…)` call each."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Sequence
from typing import Final

from planloop.errors import PlanInvalid
from planloop.text import one_line

GOAL: Final = "goal"
"""The tool that carries one out."""
_ITEM: Final = re.compile(r" {0,3}(?P<number>\d{1,3})[.)]\s+(?P<text>\S.*)")
_HEADING: Final = re.compile(r"\s*#+\s*(?P<text>\S.*)")
_FENCE: Final = re.compile(r"^[ \t]*(`{3,}|~{3,})", re.MULTILINE)
_MOST: Final = 50
_SCOPE_WIDTH: Final = 70


@dataclasses.dataclass(frozen=True)
class Goal:
    """One item of a list."""

    text: str
    heading: str
    """The heading above it, or its own first words."""


def read_goals(block: str) -> tuple[Goal, ...]:
    """The goals of a ```goals block.

    Raises:
        PlanInvalid: it is no numbered list; `line` counts within the block.
    """
    goals: list[Goal] = []
    heading = ""
    for number, line in enumerate(block.splitlines(), 1):
        if match := _HEADING.fullmatch(line):
            heading = match["text"]
        elif match := _ITEM.fullmatch(line):
            goals.append(Goal(match["text"].strip(), heading))
        elif line.strip() and not goals:
            raise PlanInvalid("a goals block is a numbered list: `1. …`", line=number, column=1)
        elif line.strip():
            last = goals[-1]
            goals[-1] = dataclasses.replace(last, text=f"{last.text}\n{line.strip()}")
    if not goals:
        raise PlanInvalid("the goals block is empty; write a numbered list: `1. …`")
    if len(goals) > _MOST:
        raise PlanInvalid(f"the list has {len(goals)} goals; {_MOST} are allowed")
    return tuple(goals)


def bare_list(text: str) -> str | None:
    """The numbered list that a reply without any block is, its last part at least; else None."""
    if _FENCE.search(text):
        return None
    lines = text.strip().splitlines()
    first = next((n for n, line in enumerate(lines) if _ITEM.fullmatch(line)), len(lines))
    items = [line for line in lines[first:] if _ITEM.fullmatch(line)]
    rest = [line for line in lines[first:] if line.strip() and not line.startswith((" ", "\t"))]
    return "\n".join(lines[first:]) if len(items) > 1 and len(items) == len(rest) else None


def goals_source(goals: Sequence[Goal]) -> str:
    """The plan that a list is: a statement for each goal, under a comment that names it.

    Each is given the results of those before it, in words and as values.
    """
    lines: list[str] = []
    for number, goal in enumerate(goals, 1):
        scope = goal.heading or f"{number}. {goal.text}"
        lines.append(f"# {one_line(scope, _SCOPE_WIDTH)}")
        text = "\n".join((goal.text, *_told(goals[: number - 1])))
        given = [f"result_{before}" for before in range(1, number)]
        inputs = ", ".join(f"{name!r}: {name}" for name in given)
        passed = f", inputs={{{inputs}}}" if given else ""
        lines.append(f"result_{number} = {GOAL}({text!r}{passed})")
    return "\n".join(lines) + "\n"


def _told(before: Sequence[Goal]) -> Iterator[str]:
    if before:
        yield "\nDone before, with its result under the name that stands in front:"
    for number, goal in enumerate(before, 1):
        yield f"- result_{number}: {one_line(goal.text, 200)}"
