"""Values as they cross the channel: the same form as on the host, and records that read alike."""

from __future__ import annotations

import base64
import datetime
import difflib
import enum
import json
import keyword
import math
import unicodedata
from collections.abc import Callable
from typing import Any, Dict, Tuple

MOST_DEPTH = 200
MOST_BITS = 14_000
TAGS = ("$bytes", "$datetime", "$date", "$time", "$float", "$handle", "$dict")
SEQUENCES: Tuple[Any, ...] = (
    list,
    tuple,
    range,
    type({}.keys()),
    type({}.values()),
    type({}.items()),
)
DATES = (
    (datetime.datetime, "$datetime"),  # a datetime is a date too
    (datetime.date, "$date"),
    (datetime.time, "$time"),
)


class MissingKey(KeyError, AttributeError):
    """A record has no such key; names the nearest ones."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else "missing key"


class Record(Dict[str, Any]):
    """A dict whose keys also read as attributes. Methods win over keys."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            spelled = {identifier(key): key for key in self}
            if name in spelled:
                return self[spelled[name]]
            raise MissingKey(missing_key_text(name, list(spelled))) from None

    def __reduce_ex__(self, protocol: Any) -> Any:
        return (Record, (dict(self),))


def missing_key_text(name: str, keys: list[str]) -> str:
    near = difflib.get_close_matches(name[:200], [key[:80] for key in keys[:1000]])
    known = ", ".join(map(repr, near or sorted(keys)[:8]))
    return f"no key {name[:200]!r}" + (f"; nearest: {known}" if known else "; the record is empty")


class Handle:
    """A thing of the host that tools accept and nobody can look into."""

    def __init__(self, number: int, kind: str) -> None:
        self._number = number
        self._kind = kind

    def __repr__(self) -> str:
        return f"<{self._kind} handle {self._number}>"

    def plain(self) -> Any:
        return {"$handle": self._number, "type": self._kind}


def identifier(name: str) -> str:
    known = unicodedata.normalize("NFKC", name)
    text = "".join(one if f"a{one}".isidentifier() else "_" for one in known) or "_"
    if not text.isidentifier():
        text = "_" + text
    return text + "_" if keyword.iskeyword(text) else text


def encode(thing: Any, depth: int = 0) -> Any:
    """Plain JSON for a value; raises `TypeError` or `ValueError` for what has no value form."""
    if thing is None or type(thing) in (bool, str):
        return thing
    if depth > MOST_DEPTH:
        raise TypeError(f"a value nested deeper than {MOST_DEPTH} levels, or that holds itself")
    if isinstance(thing, enum.Enum):
        return encode(thing.value, depth + 1)
    if isinstance(thing, (int, float, str)):
        return encode_scalar(thing)
    if isinstance(thing, dict):
        plain = {key_text(key): encode(item, depth + 1) for key, item in thing.items()}
        return {"$dict": plain} if len(plain) == 1 and next(iter(plain)) in TAGS else plain
    if isinstance(thing, SEQUENCES):
        return [encode(item, depth + 1) for item in thing]
    if isinstance(thing, (set, frozenset)):
        items = [encode(item, depth + 1) for item in thing]
        return sorted(items, key=lambda item: json.dumps(item, sort_keys=True))
    return encode_other(thing, depth)


def encode_scalar(thing: Any) -> Any:
    if isinstance(thing, float):
        return float(thing) if math.isfinite(thing) else {"$float": str(float(thing))}
    if isinstance(thing, str):
        return str(thing)
    if isinstance(thing, bool):
        return bool(thing)
    if thing.bit_length() > MOST_BITS:
        raise ValueError(f"an integer of {thing.bit_length()} bits is too long to be a value")
    return int(thing)


def encode_other(thing: Any, depth: int) -> Any:
    if isinstance(thing, Handle):
        return thing.plain()
    for kind, tag in DATES:
        if isinstance(thing, kind):
            return {tag: thing.isoformat()}
    if isinstance(thing, (bytes, bytearray, memoryview)):
        return {"$bytes": base64.b64encode(bytes(thing)).decode()}
    fields = getattr(type(thing), "__dataclass_fields__", None)
    if fields is not None:
        return encode({name: getattr(thing, name) for name in fields}, depth + 1)
    dumped = getattr(type(thing), "model_dump", None)
    if callable(dumped):
        return encode(dumped(thing), depth + 1)
    raise TypeError(f"a {type(thing).__name__} has no value form")


def key_text(key: Any) -> str:
    if isinstance(key, enum.Enum):
        key = key.value
    if key is None:
        return "null"
    if isinstance(key, bool):
        return "true" if key else "false"
    return str(key)


def decode(plain: Any) -> Any:
    """The value that plain JSON stands for."""
    if isinstance(plain, list):
        return [decode(item) for item in plain]
    if not isinstance(plain, dict):
        return plain
    if "$handle" in plain and len(plain) == 2:
        return Handle(plain["$handle"], plain.get("type", "object"))
    if len(plain) == 1:
        tag, item = next(iter(plain.items()))
        if tag in READERS:
            return READERS[tag](item)
    return Record((key, decode(item)) for key, item in plain.items())


READERS: dict[str, Callable[[Any], Any]] = {
    "$bytes": base64.b64decode,
    "$datetime": datetime.datetime.fromisoformat,
    "$date": datetime.date.fromisoformat,
    "$time": datetime.time.fromisoformat,
    "$float": float,
    "$dict": lambda item: Record((key, decode(inner)) for key, inner in item.items()),
}
