"""What a failure was: its class and message, its line, the loops around it, the names involved."""

from __future__ import annotations

import ast
import linecache
import traceback
import types
from collections.abc import Collection
from typing import Any

from .errors import Late, class_name
from .loops import Loops
from .showing import REPR_S, bounded_time, shown

MOST_SHOWN = 12
"""Names that a failure shows."""
MOST_MESSAGE = 4_000
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
NOT_SHOWN = (types.ModuleType, types.FunctionType, type)


def describe(error: BaseException, loops: Loops, hidden: Collection[str]) -> dict[str, Any]:
    """A failure as the host is told of it. `hidden` are names that are not the program's."""
    found: dict[str, Any] = {
        "type": class_name(error),
        "message": "",
        "line": None,
        "values": [],
        "loops": [],
    }
    try:
        with bounded_time(REPR_S):
            found["message"] = message_of(error)
            place_of(error, found)
            values_of(error, found, loops, hidden)
    except BaseException as inner:  # of an error that fights being looked at
        found["message"] = found["message"] or f"<unprintable: {class_name(inner)}>"
    return found


def message_of(error: BaseException) -> str:
    try:
        return str.__str__(str(error))[:MOST_MESSAGE]
    except Late:
        raise
    except BaseException as inner:
        return f"<unprintable: {class_name(inner)}>"


def frames_of(error: BaseException) -> list[tuple[types.FrameType, int]]:
    """Frames of the plan in which an error was, the innermost last."""
    return [
        (frame, line)
        for frame, line in traceback.walk_tb(error.__traceback__)
        if frame.f_code.co_filename.startswith("<plan")
    ]


def place_of(error: BaseException, found: dict[str, Any]) -> None:
    frames = frames_of(error)
    if frames:
        found["line"] = frames[-1][1]
    elif isinstance(error, SyntaxError):
        found["line"] = error.lineno


def values_of(
    error: BaseException, found: dict[str, Any], loops: Loops, hidden: Collection[str]
) -> None:
    frames = frames_of(error)
    if not frames:
        return
    frame, line = frames[-1]
    nodes = statement_nodes(frame)
    around = loops_around(nodes, line)
    counted = [(where, loops.iteration(where)) for where, _ in around]
    found["loops"] = [[where, count] for where, count in counted if count is not None]
    named = [name for _, names in around for name in names] + names_at(nodes, line)
    for name in list(dict.fromkeys(named))[:MOST_SHOWN]:
        space = frame.f_locals if name in frame.f_locals else frame.f_globals
        if name in space and name not in hidden and not isinstance(space[name], NOT_SHOWN):
            found["values"].append([name, shown(space[name])])


def statement_nodes(frame: types.FrameType) -> list[ast.AST]:
    source = "".join(linecache.getlines(frame.f_code.co_filename))
    try:
        return list(ast.walk(ast.parse(source)))
    except (SyntaxError, ValueError, RecursionError):
        return []


def names_at(nodes: list[ast.AST], line: int) -> list[str]:
    """Names in the innermost statement that covers a line, those of the line itself first."""
    covering = [
        node
        for node in nodes
        if isinstance(node, ast.stmt) and node.lineno <= line <= (node.end_lineno or node.lineno)
    ]
    if not covering:
        return []
    innermost = max(covering, key=lambda one: one.lineno)
    found = [
        one
        for one in ast.walk(innermost)
        if isinstance(one, ast.Name) and abs(one.lineno - line) <= 1
    ]
    found.sort(key=lambda one: (one.lineno != line, one.lineno, one.col_offset))
    return [one.id for one in found]


def loops_around(nodes: list[ast.AST], line: int) -> list[tuple[str, list[str]]]:
    """Loops and comprehensions around a line: their place, and the names that they bind."""
    places: list[tuple[Any, ast.expr]] = []
    for node in nodes:
        if not getattr(node, "lineno", line + 1) <= line <= (getattr(node, "end_lineno", 0) or 0):
            continue
        if isinstance(node, ast.For):
            places.append((node, node.target))
        elif isinstance(node, COMPREHENSIONS):
            places += [(part.target, part.target) for part in node.generators]
    places.sort(key=lambda one: (one[0].lineno, one[0].col_offset))
    return [
        (
            f"{place.lineno}:{place.col_offset}",
            [name.id for name in ast.walk(target) if isinstance(name, ast.Name)],
        )
        for place, target in places
    ]
