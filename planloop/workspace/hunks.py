"""Unified hunks of two texts, in bounded time whatever the texts are.

Myers' greedy search finds the shortest edit; it stops at a budget of steps, and what is left is
then one hunk that replaces everything between the common beginning and end.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

CONTEXT = 3
MAX_STEPS = 400_000
"""For one pair of texts: some tenths of a second."""
MAX_STEPS_IN_ALL = 4_000_000


class Steps:
    """What is left of the steps that all texts of one diff share."""

    def __init__(self, left: int = MAX_STEPS_IN_ALL) -> None:
        self.left = left

    def share(self) -> int:
        """How many steps the next pair of texts may take."""
        return min(MAX_STEPS, self.left)


class Edit(NamedTuple):
    """Lines `old_start` to `old_end` become lines `new_start` to `new_end` (ends exclusive)."""

    old_start: int
    old_end: int
    new_start: int
    new_end: int


def unified(old: bytes, new: bytes, steps: Steps) -> Iterator[bytes]:
    """The hunks of a unified diff, line by line, each with its line end."""
    before, after = lines_of(old), lines_of(new)
    for group in _grouped(edits(before, after, steps)):
        yield from _hunk(before, after, group)


def lines_of(text: bytes) -> list[bytes]:
    """Lines with their ends; only a line feed ends one."""
    lines = [line + b"\n" for line in text.split(b"\n")]
    last = lines.pop()[:-1]
    return [*lines, last] if last else lines


def edits(before: Sequence[bytes], after: Sequence[bytes], steps: Steps) -> list[Edit]:
    """What turns one list of lines into the other, in order."""
    start = 0
    shorter = min(len(before), len(after))
    while start < shorter and before[start] == after[start]:
        start += 1
    end = 0
    while end < shorter - start and before[-1 - end] == after[-1 - end]:
        end += 1
    old = before[start : len(before) - end]
    new = after[start : len(after) - end]
    if not old and not new:
        return []
    middle = _shortest(old, new, steps) or [Edit(0, len(old), 0, len(new))]
    return [Edit(*(place + start for place in edit)) for edit in middle]


def _shortest(old: Sequence[bytes], new: Sequence[bytes], steps: Steps) -> list[Edit] | None:
    """The shortest edit by Myers' search; None if it takes more steps than there are."""
    if not old or not new:
        return None
    numbers: dict[bytes, int] = {}
    a = [numbers.setdefault(line, len(numbers)) for line in old]
    b = [numbers.setdefault(line, len(numbers)) for line in new]
    trace = _search(a, b, steps)
    return None if trace is None else _edits_of(_path(trace, len(a), len(b)), len(a), len(b))


def _search(a: Sequence[int], b: Sequence[int], steps: Steps) -> list[dict[int, int]] | None:
    """For each number of edits, how far along `a` each diagonal is reached."""
    furthest = {1: 0}
    trace: list[dict[int, int]] = []
    allowed = steps.share()
    taken = 0
    for distance in range(len(a) + len(b) + 1):
        reached: dict[int, int] = {}
        for diagonal in range(-distance, distance + 1, 2):
            if diagonal < -len(b) or diagonal > len(a):
                continue
            down = furthest.get(diagonal + 1, -1)
            right = furthest.get(diagonal - 1, -2) + 1
            x = first = max(down, right)
            y = x - diagonal
            while x < len(a) and y < len(b) and a[x] == b[y]:
                x += 1
                y += 1
            reached[diagonal] = x
            taken += 1 + x - first
            if x >= len(a) and y >= len(b):
                steps.left -= taken
                return [*trace, reached]
        if taken > allowed:
            steps.left -= taken
            return None
        trace.append(reached)
        furthest = reached
    return None


def _path(trace: list[dict[int, int]], x: int, y: int) -> list[tuple[int, int]]:
    """Single edits from the last to the first: the place where each begins and ends."""
    places: list[tuple[int, int]] = []
    for distance in range(len(trace) - 1, 0, -1):
        before = trace[distance - 1]
        diagonal = x - y
        down = before.get(diagonal + 1, -1) >= before.get(diagonal - 1, -2) + 1
        previous = diagonal + 1 if down else diagonal - 1
        x = before[previous]
        y = x - previous
        places.append((x, y))
        places.append((x, y + 1) if down else (x + 1, y))
    return places


def _edits_of(places: list[tuple[int, int]], old: int, new: int) -> list[Edit]:
    """Join single edits that touch; everything between two edits is equal."""
    found: list[Edit] = []
    pairs = [(places[i], places[i + 1]) for i in range(len(places) - 2, -1, -2)]
    for (x, y), (x_end, y_end) in pairs:
        if found and (found[-1].old_end, found[-1].new_end) == (x, y):
            found[-1] = Edit(found[-1].old_start, x_end, found[-1].new_start, y_end)
        else:
            found.append(Edit(x, x_end, y, y_end))
    return found


def _grouped(changes: Sequence[Edit]) -> list[list[Edit]]:
    """Edits so near that their contexts touch share a hunk."""
    groups: list[list[Edit]] = []
    for edit in changes:
        if groups and edit.old_start - groups[-1][-1].old_end <= 2 * CONTEXT:
            groups[-1].append(edit)
        else:
            groups.append([edit])
    return groups


def _hunk(before: Sequence[bytes], after: Sequence[bytes], group: list[Edit]) -> Iterator[bytes]:
    first, last = group[0], group[-1]
    lead = min(CONTEXT, first.old_start)
    trail = min(CONTEXT, len(before) - last.old_end)
    old = _range(first.old_start - lead, last.old_end + trail)
    new = _range(first.new_start - lead, last.new_end + trail)
    yield f"@@ -{old} +{new} @@\n".encode()
    at = first.old_start - lead
    for edit in group:
        yield from _marked(b" ", before[at : edit.old_start])
        yield from _marked(b"-", before[edit.old_start : edit.old_end])
        yield from _marked(b"+", after[edit.new_start : edit.new_end])
        at = edit.old_end
    yield from _marked(b" ", before[at : at + trail])


def _range(start: int, end: int) -> str:
    """Lines as a hunk's head counts them: from 1, and from 0 where there are none."""
    length = end - start
    first = start + 1 if length else start
    return str(first) if length == 1 else f"{first},{length}"


def _marked(mark: bytes, lines: Sequence[bytes]) -> Iterator[bytes]:
    for line in lines:
        yield mark + line
        if not line.endswith(b"\n"):
            yield b"\n\\ No newline at end of file\n"
