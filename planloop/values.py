"""Values: the one type that plans compute with (semantics O5).

JSON, plus bytes, dates, NaN and infinities by tag. `dump` turns what a tool returned into a
value, `encode` and `decode` cross a file or a pipe, `canonical` is the form that keys hash.
"""

from __future__ import annotations

import base64
import dataclasses
import datetime as dt
import enum
import hashlib
import itertools
import json
import keyword
import math
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

Value: TypeAlias = Any
"""None, bool, int, float, str, bytes, date, datetime, time, list, dict with string keys, Handle."""

MAX_DEPTH = 200
"""Levels of nesting that a value may have; deeper ones are refused before they can recurse."""

MAX_BITS = 14_000
"""Of an integer; Python itself prints no longer ones."""

_TAGS = ("$bytes", "$datetime", "$date", "$time", "$float", "$handle", "$dict")
_handle_ids = itertools.count(1)


class MissingKey(KeyError, AttributeError):
    """A record has no such key; names the nearest ones."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else "missing key"


class Record(dict[str, Any]):
    """A dict whose keys also read as attributes: `row.price`. Methods win over keys.

    A key that is no Python identifier reads by its spelling: `rate.Exchange_Rate`.
    """

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            spelled = identifiers(self)
            if name in spelled:
                return self[spelled[name]]
            raise MissingKey(missing_key_text(name, list(spelled))) from None


def identifier(name: str) -> str:
    """A Python identifier for any name: `_` for other characters, a trailing `_` for keywords."""
    # Python itself reads names in this form, so `ﬁ` in a plan arrives as `fi`.
    known = unicodedata.normalize("NFKC", name)
    text = "".join(one if f"a{one}".isidentifier() else "_" for one in known) or "_"
    if not text.isidentifier():
        text = "_" + text
    return text + "_" if keyword.iskeyword(text) else text


def identifiers(names: Iterable[str]) -> dict[str, str]:
    """Python identifier → original name, in order, with a number where two would collide.

    A name that is an identifier keeps it, whatever comes before.
    """
    spellings = {name: identifier(name) for name in names}
    taken = {spelled for name, spelled in spellings.items() if name == spelled}
    numbers: dict[str, int] = {}
    found: dict[str, str] = {}
    for name, base in spellings.items():
        spelled = base
        while name != spelled and spelled in taken:
            numbers[base] = numbers.get(base, 1) + 1
            spelled = f"{base}_{numbers[base]}"
        taken.add(spelled)
        found[spelled] = name
    return found


def missing_key_text(name: str, keys: list[str]) -> str:
    """Say that `name` is missing, with the nearest of `keys`."""
    import difflib

    short = [key[:80] for key in keys[:1000]]
    near = difflib.get_close_matches(name[:200], short, n=3)
    known = ", ".join(repr(key) for key in (near or sorted(short)[:8]))
    return f"no key {name[:200]!r}" + (f"; nearest: {known}" if known else "; the record is empty")


@dataclasses.dataclass(frozen=True, eq=False)
class Handle:
    """A host object that a plan may pass on but not look into."""

    object: Any
    type_name: str
    id: int = dataclasses.field(default_factory=lambda: next(_handle_ids))

    def __repr__(self) -> str:
        return f"<{self.type_name} handle {self.id}>"


def dump(thing: Any, *, _depth: int = 0) -> Value:
    """Turn what a tool returned into a value. Objects that have no value form become handles.

    Raises:
        ValueError: it is nested deeper than `MAX_DEPTH` levels (or contains itself), or an
            integer is too long to be written.
    """
    if thing is None or isinstance(thing, Handle):
        return thing
    kind = type(thing)
    if kind is int:
        return _bounded(thing)
    if kind in (bool, float, str, bytes, dt.date, dt.datetime, dt.time):
        return thing
    if _depth > MAX_DEPTH:
        raise ValueError(f"the value is nested deeper than {MAX_DEPTH} levels, or contains itself")
    below = _depth + 1
    if kind is dict or isinstance(thing, Mapping):
        return Record((_key(key), dump(item, _depth=below)) for key, item in thing.items())
    if isinstance(thing, list | tuple):
        return [dump(item, _depth=below) for item in thing]
    if isinstance(thing, set | frozenset):
        return sorted((dump(item, _depth=below) for item in thing), key=canonical)
    if isinstance(thing, enum.Enum):
        return dump(thing.value, _depth=below)
    if dataclasses.is_dataclass(thing) and not isinstance(thing, type):
        fields = dataclasses.fields(thing)
        return Record((f.name, dump(getattr(thing, f.name), _depth=below)) for f in fields)
    model_dump = getattr(kind, "model_dump", None)
    if callable(model_dump):
        return dump(model_dump(thing), _depth=below)
    if isinstance(thing, str):
        return str.__str__(thing)
    if isinstance(thing, bool | int):
        return _bounded(int(thing))
    if isinstance(thing, float):
        return float(thing)
    if isinstance(thing, bytearray | memoryview):
        return bytes(thing)
    return Handle(thing, kind.__name__)


def _bounded(number: int) -> int:
    if number.bit_length() > MAX_BITS:
        raise ValueError(f"an integer of {number.bit_length()} bits is too long to be a value")
    return number


def _key(key: Any) -> str:
    if isinstance(key, enum.Enum):
        return _key(key.value)
    if isinstance(key, str):
        return str.__str__(key)
    if isinstance(key, bool) or key is None:
        return {True: "true", False: "false", None: "null"}[key]
    return str(key)


def encode(value: Value) -> Any:
    """Plain JSON for a value; what JSON lacks is tagged (`{"$bytes": "…"}`)."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {"$float": str(value)}
    if isinstance(value, dict):
        plain = {key: encode(item) for key, item in value.items()}
        return {"$dict": plain} if len(plain) == 1 and next(iter(plain)) in _TAGS else plain
    if isinstance(value, list | tuple):
        return [encode(item) for item in value]
    if isinstance(value, bytes):
        return {"$bytes": base64.b64encode(value).decode()}
    if isinstance(value, dt.datetime):
        return {"$datetime": value.isoformat()}
    if isinstance(value, dt.date):
        return {"$date": value.isoformat()}
    if isinstance(value, dt.time):
        return {"$time": value.isoformat()}
    if isinstance(value, Handle):
        return {"$handle": value.id, "type": value.type_name}
    raise TypeError(f"no value form for {type(value).__name__}")


def decode(plain: Any, handles: Mapping[int, Handle] | None = None) -> Value:
    """The value that `encode` made `plain` from.

    Args:
        handles: of this process by number; a handle that is not among them stays a record.

    Raises:
        ValueError, TypeError: something is tagged as what it is not.
    """
    if isinstance(plain, list):
        return [decode(item, handles) for item in plain]
    if not isinstance(plain, dict):
        return plain
    if len(plain) == 1:
        tag, item = next(iter(plain.items()))
        if tag == "$dict" and isinstance(item, dict):
            return Record((key, decode(inner, handles)) for key, inner in item.items())
        if tag in _READERS:
            return _read_tagged(tag, item)
    number = plain.get("$handle") if handles and len(plain) == 2 else None
    if isinstance(number, int) and handles and number in handles:
        return handles[number]
    return Record((key, decode(item, handles)) for key, item in plain.items())


_READERS: dict[str, Callable[[str], Value]] = {
    "$bytes": lambda text: base64.b64decode(text, validate=True),
    "$datetime": dt.datetime.fromisoformat,
    "$date": dt.date.fromisoformat,
    "$time": dt.time.fromisoformat,
    "$float": float,
}


def _read_tagged(tag: str, text: Any) -> Value:
    if not isinstance(text, str):
        raise TypeError(f"{tag} holds no text")
    return _READERS[tag](text)


def fresh(value: Value) -> Value:
    """A copy that shares no list or record with `value`."""
    if isinstance(value, dict):
        return Record((key, fresh(item)) for key, item in value.items())
    if isinstance(value, list):
        return [fresh(item) for item in value]
    return value


def canonical(value: Value) -> str:
    """One text for equal values: sorted keys, no white space. 2, 2.0 and True stay apart."""
    return json.dumps(encode(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def digest(value: Value) -> str:
    """A short stable hash of a value's canonical form."""
    return hashlib.sha256(canonical(value).encode("utf-8", "surrogatepass")).hexdigest()[:16]
