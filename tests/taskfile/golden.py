"""Reads golden files: cases of an input and the whole error that it must give.

A case is `# name`, the input, a line `=>`, the expected text, an empty line.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple


class Case(NamedTuple):
    name: str
    given: str
    expected: str


def cases(path: Path) -> list[Case]:
    found = []
    for block in path.read_text("utf-8").split("\n# ")[1:]:
        head, _, expected = block.partition("\n=>\n")
        name, _, given = head.partition("\n")
        found.append(Case(name, given, expected.rstrip("\n")))
    return found
