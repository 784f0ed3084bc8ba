"""A diff as lines: additions green, removals red, on a terminal only."""

from __future__ import annotations

from planloop.cli.lines import Line, Style, line
from planloop.text import sanitise


def diff_lines(diff: str) -> list[Line]:
    """The lines of a unified diff, each in its style."""
    # Only a line feed begins a line: a form feed in a file must not begin one without its sign.
    shown = sanitise(diff).rstrip("\n")
    return [line((row, _style(row))) for row in shown.split("\n")] if shown else []


def _style(row: str) -> Style:
    if row.startswith(("+++", "---", "diff ")):
        return "bold"
    if row.startswith("@@"):
        return "hint"
    if row.startswith("+"):
        return "good"
    return "bad" if row.startswith("-") else ""
