"""Whether the source of a `python` check could be forged by the result that it looks at. Pure."""

from __future__ import annotations

import ast
import sys
from collections.abc import Collection, Iterator

_LOAD_NOTHING = """
__future__ ast base64 binascii bisect bz2 calendar collections configparser contextlib copy csv
dataclasses datetime decimal difflib email enum errno filecmp fnmatch fractions functools glob
gzip hashlib heapq hmac html http io itertools json locale lzma math mimetypes operator os pathlib
platform pprint random re secrets select shlex shutil signal socket sqlite3 stat statistics string
struct sys tarfile tempfile textwrap threading time tomllib typing unicodedata urllib
uuid warnings xml zipfile zlib zoneinfo
"""
"""Modules of the standard library that take files for data, never for code."""
_RUN_TEXT = frozenset({"exec", "eval", "compile", "__import__", "__builtins__", "__loader__"})
_START_PROGRAMS = ("exec", "spawn", "posix_spawn", "fork", "popen", "system", "startfile")
"""Beginnings of the names in `os` that do."""
_START_WITH_PYTHON = frozenset({"sitecustomize", "usercustomize"})


def python_loads_in_process(source: str, names: Collection[str]) -> bool:
    """Whether a `python` check may load judged code into its own process.

    True unless it clearly does not: it imports only modules that run no file, none of which the
    result could stand in for, and runs no text itself.

    Args:
        source: of the check.
        names: of the files and folders at the top of the result.
    """
    tops = {name.partition(".")[0] for name in names}
    if tops & (sys.stdlib_module_names | _START_WITH_PYTHON):
        return True
    try:
        nodes = list(ast.walk(ast.parse(source)))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return True
    return not {*_imported(nodes)} <= {*_LOAD_NOTHING.split()} or any(map(_runs_text, nodes))


def _imported(nodes: Collection[ast.AST]) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield "" if node.level else (node.module or "").partition(".")[0]


def _runs_text(node: ast.AST) -> bool:
    """Whether it may run text as Python, or start a program that could write into this one."""
    match node:
        case ast.Name(id=name):
            return name in _RUN_TEXT
        case ast.Attribute(attr=name):
            return name in _RUN_TEXT - {"compile"} or name.startswith(_START_PROGRAMS)
        case ast.ImportFrom(names=names):
            return any(alias.name.startswith(_START_PROGRAMS) for alias in names)
    return False
