"""TOML files as nodes that know their lines, so that errors can point at them."""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Mapping
from typing import Any

from planloop.taskfile.frontmatter import MAX_DEPTH, MAX_INTEGER, decode_text
from planloop.taskfile.nodes import (
    Items,
    Mark,
    Node,
    Scalar,
    Source,
    Table,
    character_name,
    refused_character,
)

FILE_LIMIT = 64 << 10

_HEADER = re.compile(r"\s*\[\[?([^\[\]]+)\]\]?\s*(#.*)?")
_ASSIGNMENT = re.compile(r"\s*((?:[\w-]+|\"[^\"]*\"|'[^']*')(?:\s*\.\s*[\w\"'-]+)*)\s*=\s*")
_KEY = re.compile(r"[\w-]+|\"[^\"]*\"|'[^']*'")
_AT = re.compile(r"\s*\(at (?:line (\d+), column (\d+)|end of document)\)")

Path = tuple[str, ...]


def parse_toml(name: str, data: bytes) -> tuple[Source, Table]:
    """A TOML file's fields. `name` is how errors call it.

    Raises:
        TaskError: it is no UTF-8 text, too large, no TOML, or holds what we do not take.
    """
    text = decode_text(name, data, FILE_LIMIT)
    source = Source(name, tuple(text.split("\n")))
    reader = _Reader(source, _marks(source))
    table = reader.node(_load(source, text), (), Mark(1), 0)
    assert isinstance(table, Table)
    return source, table


def _load(source: Source, text: str) -> dict[str, Any]:
    import tomllib

    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = _AT.search(str(error))
        place = Mark(int(found[1]), int(found[2])) if found and found[1] else _last(source)
        problem = _AT.sub("", str(error)).splitlines()[0][:200]
        raise source.error(
            f"not valid TOML: {problem}", place, 'text stands in quotes: `model = "name"`'
        ) from None
    except RecursionError:
        raise source.error("not valid TOML: nested too deeply", Mark(1), "flatten it") from None
    except ValueError:
        what = "not valid TOML: a number or date means nothing"
        raise source.error(what, Mark(1), "put it in quotes if it is text") from None


def _last(source: Source) -> Mark:
    index = max((i for i, line in enumerate(source.lines) if line.strip()), default=0)
    return Mark(index + 1, len(source.lines[index]) + 1)


def _marks(source: Source) -> dict[Path, tuple[Mark, Mark]]:
    """Where names and their values stand, by a look at each line; close enough to point at."""
    found: dict[Path, tuple[Mark, Mark]] = {}
    table: Path = ()
    for number, line in enumerate(source.lines, 1):
        if header := _HEADER.fullmatch(line):
            table = _path(header[1])
            mark = Mark(number, header.start(1) + 1)
            found.setdefault(table, (mark, mark))
        elif assignment := _ASSIGNMENT.match(line):
            marks = Mark(number, assignment.start(1) + 1), Mark(number, assignment.end() + 1)
            found.setdefault(table + _path(assignment[1]), marks)
    return found


def _path(dotted: str) -> Path:
    return tuple(key.strip("\"'") for key in _KEY.findall(dotted))


class _Reader:
    def __init__(self, source: Source, marks: Mapping[Path, tuple[Mark, Mark]]) -> None:
        self._source = source
        self._marks = marks

    def node(self, value: Any, path: Path, above: Mark, depth: int) -> Node:
        """The node of a TOML value; its place is its own, or that of what holds it."""
        mark = self._marks.get(path, (above, above))[1]
        if depth > MAX_DEPTH:
            raise self._source.error(f"nested deeper than {MAX_DEPTH} levels", mark, "flatten it")
        if isinstance(value, dict):
            entries = {
                key: (
                    self._key_mark(key, path, mark),
                    self.node(item, (*path, key), mark, depth + 1),
                )
                for key, item in value.items()
            }
            return Table(entries, mark)
        if isinstance(value, list):
            return Items(tuple(self.node(item, path, mark, depth + 1) for item in value), mark)
        return Scalar(self._scalar(value, mark), mark)

    def _key_mark(self, key: str, path: Path, above: Mark) -> Mark:
        self._refuse_characters(key, above)
        return self._marks.get((*path, key), (above, above))[0]

    def _scalar(self, value: Any, mark: Mark) -> bool | int | float | str:
        if isinstance(value, dt.date | dt.time):
            return value.isoformat()
        if isinstance(value, float) and not math.isfinite(value):
            raise self._source.error(f"`{value}` is no finite number", mark, "write a number")
        if isinstance(value, int) and abs(value) >= MAX_INTEGER:
            raise self._source.error("a number is too large", mark, "write a smaller number")
        if isinstance(value, str):
            self._refuse_characters(value, mark)
        found: bool | int | float | str = value
        return found

    def _refuse_characters(self, text: str, mark: Mark) -> None:
        found = refused_character(text)
        if found:
            name = character_name(found.group())
            raise self._source.error(f"the value holds {name}", mark, "remove the character")
