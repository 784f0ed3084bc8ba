"""Values on their way out of a flow's expressions: to a tool, a name, an answer."""

from __future__ import annotations

import datetime as dt
from typing import Any, Final

from planloop.language.limits import VIEWS
from planloop.values import Handle, Record, Value, canonical, dump

SCALARS: Final = (
    bool, int, float, str, bytes, type(None), dt.date, dt.datetime, dt.time, Handle,
)  # fmt: skip

_LISTS: Final[tuple[type[Any], ...]] = (list, tuple, range, *VIEWS)


def settle(value: Value) -> Value:
    """A fresh copy in the form that every level knows: tuples, sets and ranges become lists.

    Raises:
        TypeError: it holds something that exists only inside an expression.
    """
    if isinstance(value, SCALARS):
        return value
    if isinstance(value, dict):
        settled = {key: settle(item) for key, item in value.items()}
        return Record(settled) if all(type(key) is str for key in settled) else dump(settled)
    if isinstance(value, _LISTS):
        return [settle(item) for item in value]
    if isinstance(value, set):
        return sorted((settle(item) for item in value), key=canonical)
    hint = "; use .days or .total_seconds()" if isinstance(value, dt.timedelta) else ""
    raise TypeError(f"a {type(value).__name__} cannot leave its statement{hint}")
