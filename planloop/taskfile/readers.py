"""Readers of single values: each takes a field and returns what it means, or says what is wrong."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Sequence
from typing import TypeAlias, TypeVar

from planloop.errors import TaskError, UserError
from planloop.taskfile.nodes import (
    Items,
    Mark,
    Node,
    Scalar,
    Source,
    Table,
    nearest,
    quoted,
    shown,
)
from planloop.text import one_line

T = TypeVar("T")

Reader: TypeAlias = Callable[["Field"], T]

MAX_SECONDS = 366 * 86_400.0
MAX_COUNT = 10**12

_SIZE = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,9})?)\s*([A-Za-z]*)")
_SIZE_UNITS = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_SIZE_UNITS |= {"KIB": 1 << 10, "MIB": 1 << 20, "GIB": 1 << 30, "TIB": 1 << 40}
_DURATION_PART = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,9})?)\s*(ms|s|min|m|h|d)\s*")
_DURATION_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_SECRET_NAME = re.compile(r"(^|[_-])(api_?key|key|token|secret|password)$", re.IGNORECASE)
_DRIVE = re.compile(r"[A-Za-z]:")


@dataclasses.dataclass(frozen=True)
class Field:
    """A value, the dotted name that errors call it by, and the file that it stands in."""

    source: Source
    name: str
    node: Node

    @property
    def mark(self) -> Mark:
        """Where the value stands."""
        return self.node.mark

    @property
    def place(self) -> str:
        """Where the value stands, as errors say it."""
        return self.source.place(self.mark)

    def error(self, what: str, hint: str) -> TaskError:
        """An error that points at the value."""
        return self.source.error(what, self.mark, hint)

    def secret_error(self, what: str, hint: str) -> TaskError:
        """An error that does not show the value."""
        return self.source.error(what, self.mark, hint, secret=True)

    def wrong(self, expected: str, hint: str) -> TaskError:
        """The usual error: what the value is, and what was expected."""
        return self.error(f"`{self.name}` is {shown(self.node)}; expected {expected}", hint)


def table(field: Field, known: Sequence[str]) -> dict[str, Field]:
    """The fields of a mapping by name, all of them known ones."""
    if not isinstance(field.node, Table):
        raise field.wrong(
            "a mapping",
            f"write `{_last(field)}: {{{known[0]}: …}}`, with fields of " + quoted(known),
        )
    for name, (mark, _) in field.node.entries.items():
        if name not in known:
            what = f"`{field.name}` has no field `{one_line(name, 60)}`"
            hint = unknown_name_hint(name, known)
            raise unknown_error(field.source, what, name, mark, hint)
    return entries(field)


def entries(field: Field) -> dict[str, Field]:
    """The fields of a mapping by name, whatever their names."""
    if not isinstance(field.node, Table):
        raise field.wrong("a mapping", "write one table for each name")
    return {
        name: Field(field.source, f"{field.name}.{one_line(name, 60)}", node)
        for name, (_, node) in field.node.entries.items()
    }


def unknown_error(source: Source, what: str, name: str, mark: Mark, hint: str) -> TaskError:
    """The error about a name that means nothing; one that looks like a key is not repeated."""
    if _SECRET_NAME.search(name):
        hint = "a key never stands in a file: the environment holds it"
        return source.error(what, mark, hint, secret=True)
    return source.error(what, mark, hint)


def unknown_name_hint(name: str, known: Sequence[str]) -> str:
    """The nearest known name, and all of them."""
    near = nearest(name, known)
    listing = f"known fields: {quoted(known)}"
    return f"did you mean `{near}`? {listing}" if near else listing


def items(field: Field, expected: str = "a list") -> list[Field]:
    """The entries of a list."""
    if not isinstance(field.node, Items):
        raise field.wrong(expected, f"write `{_last(field)}: [one, two]`, or one `- item` a line")
    return [
        Field(field.source, f"{field.name}[{index}]", node)
        for index, node in enumerate(field.node.nodes, 1)
    ]


def _last(field: Field) -> str:
    return field.name.rpartition(".")[2]


def text(field: Field, expected: str = "text") -> str:
    """A text that is not empty."""
    value = scalar(field)
    if isinstance(value, str) and value.strip():
        return value
    if value is None or isinstance(value, str):
        spelled = "a text" if field.name.endswith("]") else f"`{_last(field)}: …`"
        raise field.wrong(expected, f"write {spelled}, or remove it")
    raise field.wrong(expected, f'put it in quotes: `"{str(value).lower()[:60]}"`')


def scalar(field: Field) -> bool | int | float | str | None:
    """The value of a field that is no list or mapping; None for those."""
    return field.node.value if isinstance(field.node, Scalar) else None


def flag(field: Field) -> bool:
    """`true` or `false`."""
    value = scalar(field)
    if not isinstance(value, bool):
        word = "false" if str(value).lower() in ("no", "off", "0") else "true"
        raise field.wrong("`true` or `false`", f"write `{_last(field)}: {word}`")
    return value


def count(field: Field, unit: str) -> int:
    """A whole number above 0."""
    value = scalar(field)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= MAX_COUNT:
        raise field.wrong(f"a whole number of {unit} above 0", f"write `{_last(field)}: 40`")
    return value


def dollars(field: Field) -> float:
    """An amount of money above 0."""
    value = scalar(field)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 1e9:
        number = re.search(r"[0-9]+(\.[0-9]+)?", str(value)) if isinstance(value, str) else None
        amount = float(number.group()) if number and len(number.group()) < 12 else 0.0
        raise field.wrong(
            "a number of US dollars above 0", f"write `{_last(field)}: {amount or 2.0}`"
        )
    return float(value)


def seconds(field: Field) -> float:
    """A duration: seconds, or `30s`, `2m`, `1h30m`."""
    value = scalar(field)
    amount: float | None = None
    if isinstance(value, int | float) and not isinstance(value, bool):
        amount = float(value)
    elif isinstance(value, str):
        amount = duration_of(value)
    if amount is None or not 0 < amount <= MAX_SECONDS:
        raise field.wrong(
            "a duration above 0, at most a year",
            f"write `{_last(field)}: 30s`, `2m`, `1h30m`, or a number of seconds",
        )
    return amount


def duration_of(value: str) -> float | None:
    """Seconds of `90`, `30s`, `2m`, `1h30m`; None if it is no duration."""
    value = value.strip()
    if re.fullmatch(r"[0-9]{1,12}(\.[0-9]{1,9})?", value):
        return float(value)
    total, position = 0.0, 0
    while position < len(value):
        part = _DURATION_PART.match(value, position)
        if part is None:
            return None
        total += float(part.group(1)) * _DURATION_UNITS[part.group(2)]
        position = part.end()
    return total if value else None


def size(field: Field) -> int:
    """A size: bytes, or `64kB`, `512MB`, `2GiB`."""
    value = scalar(field)
    amount: float | None = None
    if isinstance(value, int) and not isinstance(value, bool):
        amount = value
    elif isinstance(value, str) and (found := _SIZE.fullmatch(value.strip())):
        factor = _SIZE_UNITS.get(found.group(2).upper() or "B")
        amount = None if factor is None else float(found.group(1)) * factor
    if amount is None or not 1 <= amount <= 10**15:
        raise field.wrong(
            "a size above 0", f"write `{_last(field)}: 512MB`, `2GiB`, or a number of bytes"
        )
    return int(amount)


def spelled_size(size: int) -> str:
    """A size of whole kB or MB as files spell it."""
    return f"{size // 10**6}MB" if size % 10**6 == 0 else f"{size // 1000}kB"


def choice(field: Field, known: Sequence[str], noun: str) -> str:
    """One of the known words."""
    value = scalar(field)
    if not isinstance(value, str):
        raise field.wrong(f"one of {quoted(known)}", f"write `{_last(field)}: {known[0]}`")
    if value not in known:
        near = nearest(value, known)
        raise field.error(
            f"`{field.name}`: there is no {noun} {shown(field.node)}",
            (f"did you mean `{near}`? " if near else "") + f"known: {quoted(known)}",
        )
    return value


def listed(field: Field, read: Callable[[Field], T], expected: str = "a list") -> tuple[T, ...]:
    """A list, each entry read by `read`."""
    return tuple(read(item) for item in items(field, expected))


def pattern(field: Field) -> str:
    """A path or glob pattern that stays inside the task's folder."""
    value = text(field, "a path inside the task's folder")
    parts = re.split(r"[/\\]", value)
    if value.startswith(("/", "\\", "~")) or _DRIVE.match(value) or ".." in parts or "\n" in value:
        raise field.wrong(
            "a path inside the task's folder", "write it relative to the folder, without `..`"
        )
    return value


def url(field: Field) -> str:
    """An `http` or `https` address without credentials."""
    from urllib.parse import urlsplit

    value = text(field, "a URL")
    try:
        found = urlsplit(value)
        valid = found.scheme in ("http", "https") and bool(found.hostname)
        plain_address = not found.query and not found.fragment and found.port != 0
    except ValueError:
        valid = plain_address = False
    if "@" in value:
        raise field.secret_error(
            f"`{field.name}` holds a user name or password",
            "keys come from the environment, never from a file",
        )
    if not valid or not plain_address or re.search(r"\s", value):
        raise field.wrong("a URL", f"write `{_last(field)}: http://localhost:8000/v1`")
    return value.rstrip("/")


def network_word(field: Field) -> str:
    """`none` or `full`."""
    value = scalar(field)
    if isinstance(value, str) and re.search(r"[.:]", value):
        hint = f"write `{_last(field)}: [{_in_list(value)}]`"
        raise field.wrong("`none`, `full` or a list of hosts", hint)
    return choice(field, ("none", "full"), "network")


def network_entry(field: Field) -> str:
    """A host that an allow-list may name."""
    from planloop.network import read_entry

    value = text(field, "a host's name or an `address:port`").strip()
    try:
        read_entry(value)
    except UserError as error:
        raise field.error(error.what, error.hint or "") from None
    return value


def _in_list(value: str) -> str:
    """A text as it is written in a list of one line."""
    plain = re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.:-]*", value)
    return value if plain else f'"{one_line(value, 60)}"'
