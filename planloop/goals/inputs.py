"""The names that a goal is given."""

from __future__ import annotations

import keyword
from collections.abc import Collection, Mapping

from planloop.errors import CallFailed
from planloop.language import RESERVED
from planloop.values import Value


def check_inputs(inputs: Mapping[str, Value], tools: Collection[str]) -> None:
    """Refuse names that no plan could read.

    Raises:
        CallFailed: names the first of them.
    """
    for name in inputs:
        if not name.isidentifier() or keyword.iskeyword(name) or name.startswith("__"):
            raise CallFailed("BadInput", f"the input {name!r:.60} is no Python name")
        if name in RESERVED or name in tools:
            raise CallFailed("BadInput", f"the input `{name}` is a word of the plan language")
