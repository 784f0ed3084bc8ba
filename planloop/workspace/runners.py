"""Files that decide what a test runner does, although its command does not name them. Pure."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator

_PYTHON_TOOLS = ("**/pyproject.toml", "**/setup.cfg")
_NODE = ("**/package.json", "**/*.test.*", "**/*.spec.*", "**/__tests__/**")
_DECIDED_BY = {
    "pytest": (*_PYTHON_TOOLS, "**/.pytest.ini", "/pytest.py", "/pytest/**", "/_pytest/**"),
    "unittest": ("**/test*.py", "/unittest.py", "/unittest/**"),
    "tox": _PYTHON_TOOLS,
    "nox": ("**/noxfile.py",),
    "make": ("**/Makefile", "**/makefile", "**/GNUmakefile"),
    "just": ("**/justfile", "**/Justfile", "**/.justfile"),
    "npm": _NODE,
    "npx": _NODE,
    "pnpm": _NODE,
    "yarn": _NODE,
    "go": ("**/*_test.go",),
}
"""By the runner's name: its settings and where it finds tests. Without them a result could pass
by an edit of a line of settings. A file named like the runner would run in its place."""


def decided_by(words: Collection[str]) -> tuple[str, ...]:
    """Pins for the runners among the words of a command."""
    runners = sorted({os.path.basename(word) for word in words} & _DECIDED_BY.keys())
    return tuple(dict.fromkeys(pin for runner in runners for pin in _DECIDED_BY[runner]))


def modules_named(command: str, folders: Collection[str], existing: Collection[str]) -> set[str]:
    """Existing files of the modules that a Python command runs: `-m a.b`, `-m unittest a.b.Test`.

    A module that feeds a pipe is what is judged, and not among them.

    Args:
        folders: where the command may `cd` to; "" for the root.
    """
    deciding = re.sub(r"[^|;&\n]*\|(?!\|)", "", command)
    found = re.findall(r"\s-m\s+(unittest\b[^|;&]*|[\w.]+)", deciding)
    names = {name for words in found for name in words.split() if re.fullmatch(r"[\w.]+", name)}
    possible = {
        os.path.normpath(os.path.join(folder, path))
        for name in names
        for path in _files(name)
        for folder in folders
    }
    return possible & set(existing)


def _files(module: str) -> Iterator[str]:
    """Where the module may lie, and what is imported before it."""
    parts = module.split(".")
    for depth in range(1, len(parts) + 1):
        base = "/".join(parts[:depth])
        yield from (f"{base}.py", f"{base}/__init__.py", f"{base}/__main__.py")
