"""The lines of a text that are most like what was looked for, in bounded time."""

from __future__ import annotations

import re

_MOST_LINES = 20_000
_WIDTH = 300
_SHOWN = 3
_LEAST_ALIKE = 0.4


def nearest_lines(text: str, wanted: str) -> str:
    """Up to three lines with their numbers; lines that differ in white space only come first."""
    first = next((line for line in wanted.splitlines() if line.strip()), "")[:_WIDTH]
    lines = [line[:_WIDTH] for line in text.split("\n", _MOST_LINES)[:_MOST_LINES]]
    target, words = _squeezed(first), _words(first)
    scored = [
        (score, number, line.rstrip("\r"))
        for number, line in enumerate(lines, start=1)
        if (score := _likeness(line, target, words)) >= _LEAST_ALIKE
    ]
    best = sorted(scored, key=lambda one: (-one[0], one[1]))[:_SHOWN]
    return "\n".join(f"{number}: {line}" for _, number, line in best)


def _likeness(line: str, target: str, words: frozenset[str]) -> float:
    """2 where only white space differs, else the share of words in common."""
    if target and _squeezed(line) == target:
        return 2.0
    own = _words(line)
    return len(own & words) / len(own | words) if own and words else 0.0


def _squeezed(line: str) -> str:
    return "".join(line.split())


def _words(line: str) -> frozenset[str]:
    return frozenset(re.findall(r"\w+", line))
