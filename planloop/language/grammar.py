"""The grammar of flows, in one table. What is Python but not here is for a program."""

from __future__ import annotations

import ast
from types import MappingProxyType
from typing import Final

EXPRESSIONS: Final[frozenset[type[ast.AST]]] = frozenset(
    {
        ast.Constant, ast.Name, ast.Attribute, ast.Subscript, ast.Slice, ast.Starred,
        ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.Compare, ast.IfExp, ast.Call,
        ast.JoinedStr, ast.FormattedValue, ast.List, ast.Tuple, ast.Set, ast.Dict,
        ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp, ast.Lambda,
    }
)  # fmt: skip
STATEMENTS: Final[frozenset[type[ast.stmt]]] = frozenset({ast.Assign, ast.AnnAssign, ast.Expr})

WORDS: Final = MappingProxyType(
    {
        "expect": ("cond", "why"),
        "note": ("text",),
        "done": ("answer",),
        "give_up": ("why",),
        "keep": (),
        "restart": (),
        "check": ("run", "file", "contains", "equals", "python"),
    }
)
"""Statement words and their parameters, in order."""
REQUIRED: Final = MappingProxyType({"expect": "cond", "note": "text", "give_up": "why"})
"""The parameter that a statement word must be given."""

ITERATORS: Final = frozenset({"enumerate", "filter", "map", "reversed", "zip"})
"""Builtins whose result is used up by one reading: only as an iterable, never as a value."""
EXHAUSTING: Final = frozenset({"dict", "list", "max", "min", "set", "sorted", "sum", "tuple"})
"""Builtins that read an iterable to its end before they do anything else with it."""
CONSUMERS: Final = EXHAUSTING | ITERATORS | {"all", "any", "next"}
"""Builtins that take an iterator or a generator expression."""
BUILTINS: Final = CONSUMERS | frozenset(
    {
        "abs", "bin", "bool", "chr", "divmod", "float", "hex", "int", "isinstance", "len",
        "oct", "ord", "pow", "range", "repr", "round", "str",
    }
)  # fmt: skip
TYPES: Final = frozenset({"bool", "dict", "float", "int", "list", "set", "str", "tuple"})
"""Builtins that `isinstance` may be given."""
MAPPERS: Final = frozenset({"filter", "map"})
"""Builtins whose first argument is a function."""
KEYED: Final = frozenset({"max", "min", "sorted"})
"""Builtins that take `key=`."""

RESERVED: Final = frozenset(WORDS) | BUILTINS
"""Names that no tool may have and no plan may bind."""

TEXT_METHODS: Final = frozenset(
    {
        "capitalize", "casefold", "center", "count", "endswith", "find", "index", "isalnum",
        "isalpha", "isascii", "isdecimal", "isdigit", "islower", "isnumeric", "isspace",
        "istitle", "isupper", "join", "ljust", "lower", "lstrip", "partition", "removeprefix",
        "removesuffix", "replace", "rfind", "rindex", "rjust", "rpartition", "rsplit", "rstrip",
        "split", "splitlines", "startswith", "strip", "swapcase", "title", "upper", "zfill",
        "encode",
    }
)  # fmt: skip
LIST_METHODS: Final = frozenset({"copy", "count", "index"})
DICT_METHODS: Final = frozenset({"copy", "get", "items", "keys", "values"})
SET_METHODS: Final = frozenset(
    {
        "copy", "difference", "intersection", "isdisjoint", "issubset", "issuperset",
        "symmetric_difference", "union",
    }
)  # fmt: skip
OTHER_METHODS: Final = frozenset(
    {
        "bit_length", "date", "decode", "hex", "is_integer", "isoformat", "isoweekday",
        "strftime", "time", "total_seconds", "weekday",
    }
)  # fmt: skip
METHODS: Final = TEXT_METHODS | LIST_METHODS | DICT_METHODS | SET_METHODS | OTHER_METHODS
"""All read values and change nothing."""

RECORD_NAMES: Final = frozenset(name for name in dir(dict) if not name.startswith("_"))
"""Keys that cannot be read as attributes of a record, since its methods win."""
