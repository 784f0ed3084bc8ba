"""What names hold, for the host: values, bounded in size and time."""

from __future__ import annotations

import json
from typing import Any

from .errors import Gone, class_name
from .runner import Runner
from .showing import REPR_S, bounded_time
from .values import Record, encode

MOST_KEPT = 4 << 20
"""Bytes of a value that outlives this interpreter; all together may have twice as many."""
MOST_ITEMS = 200_000
"""Items of all containers of such a value; sixteen characters of text count as one."""
MOST_LOOKED_AT = 20_000
"""Containers that are looked through for what names share."""
CONTAINERS = (list, dict, Record, tuple, set)


def values_of(runner: Runner, names: list[str]) -> dict[str, Any]:
    """The frame that answers for names, and for others that share containers with them."""
    values: dict[str, Any] = {}
    lost: dict[str, str] = {}
    room = 2 * MOST_KEPT
    for name in [*names, *sharing(runner, names)]:
        if name not in runner.names:
            continue
        value = runner.names[name]
        lost[name] = class_name(value)
        try:
            with bounded_time(5 * REPR_S):
                refuse_large(value)
                plain = encode(value)
                size = len(json.dumps(plain))
                if size > min(MOST_KEPT, room):
                    raise ValueError("it is too large to be kept")
                room -= size
                values[name] = plain
                del lost[name]
        except Gone:
            raise
        except BaseException as error:
            if type(error) in PLAIN:
                lost[name] = f"{class_name(value)}: {error}"[:200]
    return {"op": "values", "values": values, "lost": lost}


def refuse_large(value: Any) -> None:
    """Raise `ValueError` for what would be too large, before it costs to encode it."""
    found: set[int] = set()
    pending, items = [value], 0
    while pending:
        one = pending.pop()
        if type(one) in (str, bytes):
            items += len(one) // 16
        elif type(one) in CONTAINERS and id(one) not in found:
            found.add(id(one))
            items += len(one)
            if items < MOST_ITEMS:
                pending.extend(one.values() if isinstance(one, dict) else one)
        if items >= MOST_ITEMS:
            raise ValueError("it is too large to be kept")


PLAIN = (TypeError, ValueError)


def sharing(runner: Runner, names: list[str]) -> list[str]:
    """Other names that hold a container which one of these holds too: it may have changed."""
    asked: set[int] = set()
    for name in names:
        asked |= containers_in(runner.names.get(name))
    others = [
        name
        for name in runner.names
        if isinstance(name, str) and name not in names and name not in runner.reserved
    ]
    return [name for name in others if asked & containers_in(runner.names[name])]


def containers_in(value: Any) -> set[int]:
    """Ids of the containers that a value is made of."""
    found: set[int] = set()
    pending = [value]
    while pending and len(found) < MOST_LOOKED_AT:
        one = pending.pop()
        if type(one) in CONTAINERS and id(one) not in found:
            found.add(id(one))
            pending.extend(one.values() if isinstance(one, dict) else one)
    return found
