r"""Path patterns as .gitignore files write them, matched in bounded time.

The rules are git's own: bytes, `*` and `?` within a name, `**` over folders, `[…]` sets, `\` to
quote. A pattern with a slash before its end is anchored at the folder of its file; one without
matches a name at any depth.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import TypeAlias

_SPECIAL = b"*?[\\"
_CLASSES = {
    b"alnum": rb"0-9A-Za-z",
    b"alpha": rb"A-Za-z",
    b"blank": rb" \t",
    b"cntrl": rb"\x00-\x1f\x7f",
    b"digit": rb"0-9",
    b"graph": rb"!-~",
    b"lower": rb"a-z",
    b"print": rb" -~",
    b"punct": rb"!-/:-@\[-`{-~",
    b"space": rb" \t-\r",
    b"upper": rb"A-Z",
    b"xdigit": rb"0-9A-Fa-f",
}

Segment: TypeAlias = "re.Pattern[bytes] | None"
"""One name of a pattern; None stands for `**`, any number of names."""


class _NeverMatches(ValueError):
    """An unterminated set or a lone backslash: git matches nothing with it."""


@dataclasses.dataclass(frozen=True)
class Glob:
    """One compiled pattern. `matches` takes a path relative to where the pattern stands."""

    pattern: str
    folders_only: bool
    anchored: bool
    literal: bytes
    """What the path must begin with (anchored) before the segments are looked at."""
    segments: tuple[Segment, ...] | None
    """None for a pattern that matches nothing."""

    def matches(self, path: str, is_folder: bool) -> bool:
        """Whether the pattern matches this very path (not one of its parents)."""
        if self.segments is None or (self.folders_only and not is_folder):
            return False
        raw = os.fsencode(path)
        if not self.anchored:
            raw = raw.rpartition(b"/")[2]
        if not raw.startswith(self.literal):
            return False
        return _match_segments(self.segments, raw[len(self.literal) :].split(b"/"))

    def may_match_below(self, folder: str) -> bool:
        """Whether the pattern names this folder on its way down to what it matches.

        `a/b/*.txt` leads into `a` and `a/b`; `*.txt` and `**/x` lead nowhere by name.
        """
        if not self.anchored:
            return False
        own = self.pattern.strip("/").split("/")
        steps = folder.split("/")
        for mine, step in zip(own, steps, strict=False):
            if mine == "**":
                return True
            if not compile_glob(mine).matches(step, True):
                return False
        return len(own) > len(steps) and own[0] != "**"


class GlobSet:
    """Many patterns, refused by one expression where none of them can match."""

    def __init__(self, globs: Sequence[Glob]) -> None:
        possible = [glob for glob in globs if glob.segments]
        self._prefixes = tuple({glob.literal for glob in possible if glob.literal})
        names = [glob.segments[-1] for glob in possible if glob.segments and not glob.literal]
        self._always = None in names
        patterns = {b"(?:" + name.pattern + b")" for name in names if name is not None}
        self._names = re.compile(b"|".join(sorted(patterns)), re.DOTALL) if patterns else None

    def may_match(self, path: str) -> bool:
        """Whether it is worth asking each pattern."""
        raw = os.fsencode(path)
        if self._always or raw.startswith(self._prefixes):
            return True
        return self._names is not None and bool(self._names.fullmatch(raw.rpartition(b"/")[2]))


def _match_segments(segments: Sequence[Segment], names: Sequence[bytes]) -> bool:
    """Follow all ways to read `**` at once: a set of positions instead of backtracking."""
    states = _skipped(segments, {0})
    for name in names:
        following: set[int] = set()
        for state in states:
            if state == len(segments):
                continue
            segment = segments[state]
            if segment is None:
                following.add(state)
                if state == len(segments) - 1:
                    following.add(state + 1)
            elif segment.fullmatch(name):
                following.add(state + 1)
        states = _skipped(segments, following)
        if not states:
            return False
    return len(segments) in states


def _skipped(segments: Sequence[Segment], states: set[int]) -> set[int]:
    """The states and those behind each `**` that stands for no name; a last one stands for one."""
    reached = set(states)
    for state in sorted(states):
        while state < len(segments) - 1 and segments[state] is None:
            state += 1
            reached.add(state)
    return reached


@lru_cache(maxsize=4096)
def compile_glob(pattern: str) -> Glob:
    """Compile a pattern (without a leading `!`)."""
    raw = os.fsencode(pattern)
    folders_only = raw.endswith(b"/")
    raw = raw[:-1] if folders_only else raw
    anchored = b"/" in raw
    raw = raw[1:] if raw.startswith(b"/") else raw
    plain = next((i for i, byte in enumerate(raw) if byte in _SPECIAL), len(raw))
    # Within a name, the text before the first wildcard is part of the name's own expression.
    literal = raw[:plain] if anchored else b""
    try:
        segments = _segments(raw[len(literal) :]) if raw else None
    except _NeverMatches:
        segments = None
    return Glob(pattern, folders_only, anchored, literal, segments)


def _segments(raw: bytes) -> tuple[Segment, ...]:
    segments: list[Segment] = []
    for tokens in _split(_tokens(raw)):
        whole = len(tokens) == 1 and tokens[0] == b"**"
        segments.append(None if whole else _expression(tokens))
    return tuple(segments)


def _tokens(raw: bytes) -> list[bytes]:
    """Pieces of regular expression, and the marks `*`, `**` and `/`."""
    tokens: list[bytes] = []
    at = 0
    while at < len(raw):
        byte = raw[at : at + 1]
        if byte == b"*":
            end = at
            while raw[end : end + 1] == b"*":
                end += 1
            tokens.append(b"**" if end - at > 1 else b"*")
            at = end
        elif byte == b"[":
            expression, at = _set(raw, at + 1)
            tokens.append(expression)
        elif byte == b"\\":
            if at + 1 == len(raw):
                raise _NeverMatches
            tokens.append(_literal(raw[at + 1 : at + 2]))
            at += 2
        else:
            tokens.append(b"[^/]" if byte == b"?" else _literal(byte))
            at += 1
    return tokens


def _literal(byte: bytes) -> bytes:
    return b"/" if byte == b"/" else re.escape(byte)


def _split(tokens: list[bytes]) -> list[list[bytes]]:
    parts: list[list[bytes]] = [[]]
    for token in tokens:
        if token == b"/":
            parts.append([])
        else:
            parts[-1].append(token)
    return parts


def _expression(tokens: Sequence[bytes]) -> re.Pattern[bytes]:
    """One name as a regular expression that never goes back behind a `*` it has passed.

    What follows a `*` has a fixed length, so its first place is as good as any later one.
    """
    chunks: list[bytes] = [b""]
    for token in tokens:
        if token in (b"*", b"**"):
            chunks.append(b"")
        else:
            chunks[-1] += token
    first, *rest = chunks
    if not rest:
        return re.compile(first, re.DOTALL)
    *middle, last = rest
    body = b"".join(b"(?>.*?" + chunk + b")" for chunk in middle if chunk)
    return re.compile(first + body + b".*" + last, re.DOTALL)


def _set(raw: bytes, at: int) -> tuple[bytes, int]:
    """Read a set from behind its `[`; give the expression and the place behind its `]`."""
    negated = raw[at : at + 1] in (b"!", b"^")
    at += negated
    members: list[bytes] = []
    previous: int | None = None
    first = True
    while first or raw[at : at + 1] != b"]":
        first = False
        if at >= len(raw):
            raise _NeverMatches
        if raw[at : at + 2] == b"[:":
            named, behind = _named_class(raw, at)
            if named is not None:
                members.append(named)
                previous, at = None, behind
                continue
        elif _opens_range(raw, at, previous):
            assert previous is not None
            end, at = _quoted(raw, at + 1)
            if previous <= end:
                members.append(_byte(previous) + b"-" + _byte(end))
            previous = None
            continue
        previous, at = _quoted(raw, at)
        members.append(_byte(previous))
    inside = b"".join(members)
    if negated:
        return b"[^/" + inside + b"]", at + 1
    return (b"(?!/)[" + inside + b"]" if inside else b"(?!)"), at + 1


def _opens_range(raw: bytes, at: int, previous: int | None) -> bool:
    return raw[at : at + 1] == b"-" and bool(previous) and raw[at + 1 : at + 2] not in (b"", b"]")


def _named_class(raw: bytes, at: int) -> tuple[bytes | None, int]:
    end = raw.find(b"]", at + 2)
    if end < 0:
        raise _NeverMatches
    if end == at + 2 or raw[end - 1 : end] != b":":
        return None, at
    name = raw[at + 2 : end - 1]
    if name not in _CLASSES:
        raise _NeverMatches
    return _CLASSES[name], end + 1


def _quoted(raw: bytes, at: int) -> tuple[int, int]:
    """The byte at a place, a backslash before it read as a quote, and the place behind it."""
    if raw[at : at + 1] == b"\\":
        at += 1
    if at >= len(raw):
        raise _NeverMatches
    return raw[at], at + 1


def _byte(value: int) -> bytes:
    return b"\\x%02x" % value
