"""Which arguments of a call its plan wrote: the ledger knows them all, defaults too."""

from __future__ import annotations

import ast
import functools

from planloop.trace.fold import CallView
from planloop.values import Value


def written_arguments(call: CallView, source: str) -> dict[str, Value]:
    """The arguments that the plan spells out; all of them where that cannot be told.

    Values are those of the ledger, names are those of the tool's parameters.
    """
    shapes = _shapes(source).get((call.line, call.tool), set())
    if len(shapes) != 1:
        return call.arguments
    (positional, keywords), names = next(iter(shapes)), list(call.arguments)
    wanted = {*names[:positional], *keywords}
    if len(wanted & set(names)) != positional + len(keywords):
        return call.arguments
    return {name: call.arguments[name] for name in names if name in wanted}


Shape = tuple[int, tuple[str, ...]]
"""How many arguments by position, and the names of the others."""


@functools.lru_cache(maxsize=4)
def _shapes(source: str) -> dict[tuple[int, str], set[Shape]]:
    """The shapes of all calls of a plan, by line and name."""
    try:
        nodes = list(ast.walk(ast.parse(source)))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return {}
    found: dict[tuple[int, str], set[Shape]] = {}
    for node in nodes:
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            names = tuple(one.arg for one in node.keywords if one.arg not in (None, "again"))
            shape = (len(node.args), tuple(name for name in names if name))
            found.setdefault((node.lineno, node.func.id), set()).add(shape)
    return found
