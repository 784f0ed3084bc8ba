"""The front matter of a task file: strict YAML, read event by event.

A stranger wrote it. There are no aliases, tags, merge keys or duplicate keys, one document,
plain values only, and bounds on size and depth; everything else is an error with its line.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from planloop.errors import TaskError
from planloop.taskfile.nodes import (
    Items,
    Mark,
    Node,
    Scalar,
    Source,
    Table,
    character_name,
    refused_character,
    shown,
)
from planloop.text import one_line

if TYPE_CHECKING:
    import yaml

FILE_LIMIT = 1 << 20
"""Bytes of a whole task file."""
FRONT_MATTER_LIMIT = 64 << 10
"""Bytes of its front matter."""
MAX_DEPTH = 20
MAX_INTEGER = 2**63

_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?((\.[0-9]+|[0-9]+\.[0-9]*)([eE][-+]?[0-9]+)?|[0-9]+[eE][-+]?[0-9]+)")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|nan)", re.IGNORECASE)
_WORDS = {"": None, "~": None, "null": None, "true": True, "false": False}


@dataclasses.dataclass(frozen=True)
class Document:
    """A task file taken apart."""

    source: Source
    fields: Table
    body: str
    """The description, without front matter."""
    body_line: int


def parse_document(name: str, data: bytes) -> Document:
    """Take a task file apart. `name` is how errors call it.

    Raises:
        TaskError: it is no UTF-8 text, too large, or its front matter is not what we take.
    """
    text = decode_text(name, data, FILE_LIMIT)
    lines = text.split("\n")
    source = Source(name, tuple(lines))
    first = next((index for index, line in enumerate(lines) if line.strip()), 0)
    if lines[first].rstrip() != "---":
        return Document(source, Table({}, Mark(1)), text, 1)
    last = _closing_line(source, first)
    fields = _parse_front_matter(source, first + 1, last)
    return Document(source, fields, "\n".join(lines[last + 1 :]), last + 2)


def decode_text(name: str, data: bytes, limit: int) -> str:
    """Text with plain line ends from UTF-8 bytes, a byte order mark dropped.

    Raises:
        TaskError: too large, binary, or not UTF-8.
    """
    if len(data) > limit:
        raise TaskError(f"larger than {limit >> 10} KiB", where=name, hint="make it shorter")
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise TaskError("UTF-16, not UTF-8", where=name, hint="save it as UTF-8")
    position = data.find(b"\0")
    if position >= 0:
        raise TaskError(
            "not a text file: it holds a NUL byte",
            where=_line_of(name, data, position),
            hint="expected Markdown in UTF-8",
        )
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise TaskError(
            f"not UTF-8: byte 0x{data[error.start]:02x} has no meaning there",
            where=_line_of(name, data, error.start),
            hint="save it as UTF-8",
        ) from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _line_of(name: str, data: bytes, position: int) -> str:
    line_number = data.count(b"\n", 0, position) + 1
    return f"{name}, line {line_number}"


def _closing_line(source: Source, first: int) -> int:
    for index in range(first + 1, len(source.lines)):
        if source.lines[index].rstrip() in ("---", "..."):
            return index
    raise source.error(
        "the front matter is not closed",
        Mark(first + 1),
        "end it with a line `---`; a rule at the top of a description is written `***`",
    )


def _parse_front_matter(source: Source, first: int, last: int) -> Table:
    text = "\n".join(source.lines[first:last]) + "\n"
    if len(text.encode("utf-8", "surrogatepass")) > FRONT_MATTER_LIMIT:
        raise source.error(
            f"the front matter is larger than {FRONT_MATTER_LIMIT >> 10} KiB",
            Mark(first + 1),
            "move long text into the description or into files",
        )
    _refuse_lines(source, first, last)
    node = _Reader(source, first, _events(source, text, first)).document()
    if node is None or node == Scalar(None, node.mark):
        return Table({}, Mark(first + 1))
    if not isinstance(node, Table):
        raise source.error(
            f"the front matter is {shown(node)}; expected fields",
            node.mark,
            "write one `name: value` a line",
        )
    return node


def _refuse_lines(source: Source, first: int, last: int) -> None:
    for index in range(first, last):
        if source.lines[index].startswith("%"):
            raise source.error(
                "YAML directives are not allowed", Mark(index + 1), "remove the line"
            )
        found = refused_character(source.lines[index])
        if found:
            raise source.error(
                f"the front matter holds {character_name(found.group())}",
                Mark(index + 1, found.start() + 1),
                "remove the character",
            )


def _events(source: Source, text: str, offset: int) -> Iterator[yaml.Event]:
    import yaml

    try:
        yield from yaml.parse(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        raise _yaml_error(source, error, offset) from None
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError):
        what = "not valid YAML: it holds what is no character"
        raise source.error(what, Mark(offset + 1), "look for escapes such as `\\U`") from None


def _yaml_error(source: Source, error: yaml.MarkedYAMLError, offset: int) -> TaskError:
    problem = error.problem or error.context or "it cannot be read"
    place = error.problem_mark or error.context_mark
    hint = "one `name: value` a line; lists as `- item` or `[item, item]`"
    if "stream end" in problem or "end of stream" in problem:
        place = error.context_mark or place
        problem, hint = "what begins here does not end", "close the quote or bracket"
    elif "mapping values are not allowed" in problem:
        hint = "put a value that contains `: ` in quotes"
    elif r"'\t'" in problem:
        hint = "indent with spaces"
    elif "start any token" in problem:
        hint = "put a value that begins with this character in quotes"
    mark = Mark(offset + 1) if place is None else _mark(place, offset)
    return source.error(f"not valid YAML: {one_line(problem, 120)}", mark, hint)


def _mark(mark: Any, offset: int) -> Mark:
    return Mark(mark.line + offset + 1, mark.column + 1)


class _Reader:
    """Builds nodes from YAML events, refusing what a task file may not hold."""

    def __init__(self, source: Source, offset: int, events: Iterator[yaml.Event]) -> None:
        self._source = source
        self._offset = offset
        self._events = events

    def document(self) -> Node | None:
        """The one document of the stream; None if there is none."""
        import yaml

        next(self._events)
        event = next(self._events)
        if isinstance(event, yaml.StreamEndEvent):
            return None
        node = self._node(next(self._events), 1)
        next(self._events)
        event = next(self._events)
        if not isinstance(event, yaml.StreamEndEvent):
            raise self._refused(
                event, "a second document begins here", "the front matter is one document"
            )
        return node

    def _node(self, event: Any, depth: int) -> Node:
        import yaml

        if isinstance(event, yaml.AliasEvent):
            raise self._refused(
                event, f"alias `*{one_line(str(event.anchor))}` is not allowed", _WRITE_OUT
            )
        if event.anchor is not None:
            raise self._refused(
                event, f"anchor `&{one_line(event.anchor)}` is not allowed", _WRITE_OUT
            )
        if event.tag is not None:
            raise self._refused(
                event, f"tag `{one_line(event.tag)}` is not allowed", "remove the tag"
            )
        if isinstance(event, yaml.ScalarEvent):
            return self._scalar(event)
        if depth > MAX_DEPTH:
            raise self._refused(event, f"nested deeper than {MAX_DEPTH} levels", "flatten it")
        if isinstance(event, yaml.SequenceStartEvent):
            return self._items(event, depth)
        return self._table(event, depth)

    def _items(self, start: Any, depth: int) -> Items:
        import yaml

        nodes = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            nodes.append(self._node(event, depth + 1))
        return Items(tuple(nodes), self._mark(start))

    def _table(self, start: Any, depth: int) -> Table:
        import yaml

        entries: dict[str, tuple[Mark, Node]] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            key, mark = self._key(event, depth), self._mark(event)
            if key in entries:
                raise self._refused(
                    event,
                    f"`{one_line(key)}` stands here twice, first in line {entries[key][0].line}",
                    "keep one of them",
                )
            entries[key] = (mark, self._node(next(self._events), depth + 1))
        return Table(entries, self._mark(start))

    def _key(self, event: Any, depth: int) -> str:
        node = self._node(event, depth + 1)
        if getattr(event, "style", None) is None and node == Scalar("<<", node.mark):
            raise self._refused(event, "merge key `<<` is not allowed", _WRITE_OUT)
        if not isinstance(node, Scalar) or not isinstance(node.value, str):
            raise self._refused(
                event, f"a name is {shown(node)}; expected text", "put the name in quotes"
            )
        return node.value

    def _scalar(self, event: yaml.ScalarEvent) -> Scalar:
        text = str(event.value)
        found = refused_character(text)
        if found:
            name = character_name(found.group())
            raise self._refused(event, f"the value holds {name}", "remove the character")
        if event.style is not None:
            return Scalar(text, self._mark(event))
        return Scalar(self._plain_value(event, text), self._mark(event))

    def _plain_value(self, event: Any, text: str) -> bool | int | float | str | None:
        if text.lower() in _WORDS:
            return _WORDS[text.lower()]
        if _INTEGER.fullmatch(text):
            if len(text) > 20 or abs(int(text)) >= MAX_INTEGER:
                raise self._refused(
                    event, f"a number has {len(text)} digits", "put it in quotes if it is text"
                )
            return int(text)
        if _NOT_FINITE.fullmatch(text):
            raise self._refused(event, f"`{text}` is no finite number", "write a number")
        if _FLOAT.fullmatch(text):
            number = float(text)
            if not math.isfinite(number):
                raise self._refused(event, f"`{text:.40}` is too large", "write a smaller number")
            return number
        return text

    def _refused(self, event: Any, what: str, hint: str) -> TaskError:
        return self._source.error(what, self._mark(event), hint)

    def _mark(self, event: Any) -> Mark:
        return _mark(event.start_mark, self._offset)


_WRITE_OUT = "write the value out where it is used"
