"""Lines of text with styles: made by pure functions, written by whoever owns a stream."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Literal, TypeAlias

from planloop.text import sanitise

Style: TypeAlias = Literal["", "good", "bad", "warn", "hint", "dim", "bold"]


@dataclasses.dataclass(frozen=True)
class Span:
    """A piece of a line."""

    text: str
    style: Style = ""


@dataclasses.dataclass(frozen=True)
class Line:
    """A line, or a few; harmless to show, whatever went in."""

    spans: tuple[Span, ...]

    @property
    def text(self) -> str:
        """Without styles."""
        return "".join(span.text for span in self.spans)

    def indented(self, by: int) -> Line:
        """The same, moved to the right."""
        return Line((Span(" " * by), *self.spans))


def line(*parts: str | tuple[str, Style]) -> Line:
    """A line of texts and styled texts. Control characters become visible escapes.

    What follows a line break in somebody's text is marked: it cannot pass for a line of our own.
    """
    spans = (Span(part) if isinstance(part, str) else Span(*part) for part in parts)
    return Line(tuple(Span(_marked(sanitise(span.text)), span.style) for span in spans))


def _marked(text: str) -> str:
    return text.replace("\n", "\n  | ")


def rows(text: str) -> list[Line]:
    """A text that is what was asked for, line by line: harmless, and not marked."""
    return [line(row) for row in sanitise(text).split("\n")]


def joined(parts: list[str], separator: str = " · ") -> str:
    """The parts that say something, with a separator between them."""
    return separator.join(part for part in parts if part)


def counted(count: int, thing: str, things: str | None = None) -> str:
    """A number and its noun: `1 call`, `2 calls`."""
    return f"{count} {thing if count == 1 else things or thing + 's'}"


def limits_text(unenforced: Sequence[str]) -> str:
    """Limits that a sandbox does not enforce, in one line."""
    return "; ".join(one.partition(": not enforced by ")[0] for one in unenforced)


def duration(seconds: float) -> str:
    """`3 ms`, `0.3 s`, `12 s`, `2 min 5 s`, `1 h 3 min`."""
    if seconds < 0.0995:
        return f"{round(seconds * 1000)} ms"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s" if whole % 60 else f"{whole // 60} min"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def money(dollars: float | None) -> str:
    """US dollars; small amounts with four digits, so that they do not look free."""
    if dollars is None:
        return "unknown cost"
    return f"${dollars:.4f}" if 0 < dollars < 0.01 else f"${dollars:.2f}"


def quoted(text: str, style: Style = "dim", *, indent: int = 4) -> list[Line]:
    """Somebody's text, line by line, marked so that it cannot pass for our own words."""
    return [line((f"{' ' * indent}| {row}", style)) for row in sanitise(text).splitlines()]


def last_lines(text: str, count: int) -> str:
    """The end of a text."""
    rows = text.rstrip().splitlines()
    return "\n".join(rows[-count:])
