"""Values that remember where they stand in a file, and errors that point at them."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from planloop.errors import TaskError
from planloop.text import sanitise

EXCERPT_WIDTH = 92
_INDENT = " " * len("error: ")

# Control characters and line separators, byte order marks, bidirectional controls, tags,
# surrogates: a name or a command that holds one is not what it looks like.
_REFUSED = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff"
    "\ufffe\uffff\U000e0000-\U000e007f]"
)


@dataclasses.dataclass(frozen=True, order=True)
class Mark:
    """A place in a file; line and column count from 1."""

    line: int
    column: int = 1


@dataclasses.dataclass(frozen=True)
class Scalar:
    """A single value."""

    value: bool | int | float | str | None
    mark: Mark


@dataclasses.dataclass(frozen=True)
class Items:
    """A list."""

    nodes: tuple[Node, ...]
    mark: Mark


@dataclasses.dataclass(frozen=True)
class Table:
    """A mapping: each key's own place and what it holds."""

    entries: Mapping[str, tuple[Mark, Node]]
    mark: Mark


Node: TypeAlias = Scalar | Items | Table


@dataclasses.dataclass(frozen=True)
class Source:
    """A file as people know it: the name that errors use, and its lines."""

    name: str
    lines: tuple[str, ...] = ()

    def place(self, mark: Mark) -> str:
        """How errors name a place."""
        return f"{self.name}, line {mark.line}" if self.lines else self.name

    def error(
        self, what: str, mark: Mark, hint: str | None = None, *, secret: bool = False
    ) -> TaskError:
        """An error that points at a place in this file; `secret` keeps the line itself out."""
        excerpt = None if secret else self._excerpt(mark)
        return TaskError(sanitise(what), where=self.place(mark), hint=hint, excerpt=excerpt)

    def _excerpt(self, mark: Mark) -> str | None:
        if not 1 <= mark.line <= len(self.lines):
            return None
        line, column = self.lines[mark.line - 1], mark.column - 1
        start = max(0, column - EXCERPT_WIDTH // 2) if len(line) > EXCERPT_WIDTH else 0
        before = _visible(line[start:column])
        after = _visible(line[column : start + EXCERPT_WIDTH])
        if not (before + after).strip():
            return None
        return f"{_INDENT}{before}{after}".rstrip() + f"\n{_INDENT}{' ' * len(before)}^"


def _visible(text: str) -> str:
    return sanitise(text).replace("\t", " ").replace("\n", " ")


def refused_character(text: str) -> re.Match[str] | None:
    """The first character that no value of a task file may hold."""
    return _REFUSED.search(text)


def character_name(character: str) -> str:
    """A character that cannot be shown, in words."""
    import unicodedata

    name = unicodedata.name(character, "")
    kind = name.lower() if name else "a control character"
    return f"U+{ord(character):04X} ({kind})"


def shown(node: Node) -> str:
    """A node as an error message shows it: short, on one line, harmless."""
    match node:
        case Items():
            return "a list"
        case Table():
            return "a mapping"
        case Scalar(None):
            return "empty"
        case Scalar(value):
            text = sanitise(json.dumps(value, ensure_ascii=False))
            return text if len(text) <= 60 else text[:57] + '…"'


def plain(node: Node) -> Any:
    """The node as a plain JSON value."""
    match node:
        case Scalar(value):
            return value
        case Items(nodes):
            return [plain(item) for item in nodes]
        case Table(entries):
            return {key: plain(item) for key, (_, item) in entries.items()}


def quoted(names: Iterable[str]) -> str:
    """Names in backticks, with commas."""
    return ", ".join(f"`{name}`" for name in names)


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that `name` was probably meant to be."""
    import difflib

    found = difflib.get_close_matches(name[:80].lower(), list(known), n=1, cutoff=0.6)
    return found[0] if found else None
