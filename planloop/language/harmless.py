"""What it takes to leave nothing behind of a program's statement that failed half-way (R6)."""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Mapping

from planloop.language.grammar import (
    BUILTINS,
    DICT_METHODS,
    LIST_METHODS,
    SET_METHODS,
    TEXT_METHODS,
    WORDS,
)
from planloop.plan import Undo
from planloop.tool import Tool

_PURE_BUILTINS = BUILTINS | frozenset(
    {"bytes", "callable", "complex", "format", "frozenset", "hash", "id", "iter", "ascii",
     "issubclass", "slice", "type", "getattr", "hasattr", "object", "print", "vars"}
)  # fmt: skip
"""Builtins that change nothing older. `print` and words only speak."""
_PURE_MODULES = frozenset(
    {"math", "cmath", "statistics", "fractions", "decimal", "itertools", "functools", "operator",
     "re", "json", "string", "textwrap", "unicodedata", "datetime", "calendar", "collections",
     "bisect", "hashlib", "base64", "binascii", "copy", "difflib", "random", "time", "uuid", "html",
     "urllib.parse", "dataclasses", "enum", "typing", "numbers", "heapq", "zlib", "struct",
     "asyncio"}
)  # fmt: skip
"""Modules whose functions touch no file."""
_READING_METHODS = TEXT_METHODS | LIST_METHODS | DICT_METHODS | SET_METHODS | {"format", "group",
    "groups", "groupdict", "isoformat", "strftime", "date", "time", "timestamp", "total_seconds",
    "decode", "hex", "most_common", "elements", "span", "start", "end"}  # fmt: skip
_CHANGING_METHODS = frozenset(
    {"append", "extend", "insert", "pop", "remove", "clear", "sort", "reverse", "update",
     "setdefault", "popitem", "add", "discard", "difference_update", "intersection_update",
     "symmetric_difference_update", "appendleft", "popleft", "extendleft", "rotate", "subtract",
     "move_to_end"}
)  # fmt: skip
"""Methods of containers: they change their object, and no file."""
_BINDING = (ast.Assign, ast.AnnAssign, ast.Expr)


@dataclasses.dataclass(frozen=True)
class Harm:
    """What a statement may leave behind."""

    undo: Undo
    settled: tuple[str, ...]
    """Names of which `names` is enough only while they hold values that cannot change."""
    touches_files: bool
    tools: frozenset[str]


def harm_of(node: ast.stmt, tools: Mapping[str, Tool], defined: Mapping[str, ast.AST]) -> Harm:
    """What a top-level statement may leave behind if it fails.

    Args:
        defined: functions and classes of the program, by name, whose bodies count as well.
    """
    named = frozenset(
        found.id for found in ast.walk(node) if isinstance(found, ast.Name) and found.id in tools
    )
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        outside = [*node.decorator_list, *node.args.defaults, *filter(None, node.args.kw_defaults)]
        calls = [one for part in outside for one in ast.walk(part) if isinstance(one, ast.Call)]
        return Harm("state" if calls else "none", (), bool(calls), named)
    if isinstance(node, ast.Import | ast.ImportFrom | ast.ClassDef):
        plain = isinstance(node, ast.Import) and all(a.name in _PURE_MODULES for a in node.names)
        plain = plain or (isinstance(node, ast.ImportFrom) and node.module in _PURE_MODULES)
        return Harm("none" if plain else "state", (), not plain, named)
    look = _Look(tools, defined)
    look.at(node)
    simple = isinstance(node, _BINDING) and not look.changes
    undo: Undo = "state" if look.changes_unknown else "names"
    if simple and not look.calls_unknown and not look.method_roots:
        undo = "none" if not look.rebinds else "names"
    return Harm(undo, tuple(sorted(look.method_roots)), look.touches_files, named)


class _Look:
    """Walks over everything that a statement runs, helpers included."""

    def __init__(self, tools: Mapping[str, Tool], defined: Mapping[str, ast.AST]) -> None:
        self._tools = tools
        self._defined = defined
        self._seen: set[str] = set()
        self.changes = False
        self.changes_unknown = False
        self.calls_unknown = False
        self.touches_files = False
        self.rebinds = False
        self.method_roots: set[str] = set()

    def at(self, node: ast.AST) -> None:
        """Look at a statement of the top level."""
        for part in ast.walk(node):
            match part:
                case ast.Call():
                    self._call(part)
                case (
                    ast.Subscript(ctx=ast.Store() | ast.Del())
                    | ast.Attribute(ctx=ast.Store() | ast.Del())
                ):
                    self.changes = self.changes_unknown = True
                case ast.AugAssign(target=ast.Name(id=name)):
                    self.changes = self.rebinds = True
                    self.method_roots.add(name)
                case ast.AugAssign():
                    self.changes = self.changes_unknown = True
                case ast.Name(ctx=ast.Del()):
                    self.changes = self.rebinds = True
                case ast.Global() | ast.Nonlocal() | ast.With() | ast.AsyncWith():
                    self.changes = self.changes_unknown = True
                case ast.Await() | ast.Yield() | ast.YieldFrom():
                    self.changes = self.changes_unknown = True
                case ast.Import() | ast.ImportFrom() | ast.ClassDef() | ast.FunctionDef():
                    self.changes = self.changes_unknown = self.touches_files = True
                case ast.NamedExpr() | ast.Starred(ctx=ast.Store()):
                    self.rebinds = True
                case ast.While():
                    self.changes = self.rebinds = self.changes_unknown = True  # it may never end
                case ast.For() | ast.If() | ast.Try() | ast.Match():
                    self.changes = self.rebinds = True

    def _call(self, node: ast.Call) -> None:
        match node.func:
            case ast.Name(id=name) if name in self._tools:
                pass  # what tools do to files is known when they are called
            case ast.Name(id=name) if name in self._defined:
                self._helper(name)
            case ast.Name(id=name) if name in _PURE_BUILTINS or name in WORDS:
                if name in ("map", "filter", "sorted", "min", "max", "reduce"):
                    self._functions_given(node)
            case ast.Name(id="parallel"):
                self.changes = True
            case ast.Attribute(value=ast.Name(id="random" | "time")):
                # Draws go back with the state; a sleep is ended by whoever watches over it.
                self.changes = self.changes_unknown = True
            case ast.Attribute(value=ast.Name(id=module)) if module in _PURE_MODULES:
                pass
            case ast.Attribute(attr=method, value=value):
                self._method(method, value)
            case _:
                self._unknown()

    def _functions_given(self, node: ast.Call) -> None:
        for given in [*node.args, *(word.value for word in node.keywords)]:
            if isinstance(given, ast.Name) and given.id in self._defined:
                self._helper(given.id)

    def _method(self, method: str, value: ast.expr) -> None:
        if method in self._defined or method not in _READING_METHODS | _CHANGING_METHODS:
            self._unknown()
            return
        root = _root(value)
        if isinstance(value, ast.Constant | ast.JoinedStr):
            return
        if root is not None and isinstance(value, ast.Name):
            self.method_roots.add(root)
        else:
            self.changes = self.changes_unknown = True

    def _helper(self, name: str) -> None:
        """A function of the program: what its body does counts, its own names do not."""
        self.changes = True
        if name in self._seen:
            return
        self._seen.add(name)
        node = self._defined[name]
        if isinstance(node, ast.ClassDef):
            self._unknown()
            return
        for part in ast.iter_child_nodes(node):
            inner = _Look(self._tools, self._defined)
            inner._seen = self._seen
            inner.at(part)
            self.touches_files |= inner.touches_files
            self.calls_unknown |= inner.calls_unknown
            # What it changes may be an argument, and so an older value under another name.
            self.changes_unknown |= inner.changes_unknown or bool(inner.method_roots)

    def _unknown(self) -> None:
        self.changes = self.changes_unknown = self.calls_unknown = self.touches_files = True


def _root(node: ast.expr) -> str | None:
    while isinstance(node, ast.Attribute | ast.Subscript):
        node = node.value
    return node.id if isinstance(node, ast.Name) else None
