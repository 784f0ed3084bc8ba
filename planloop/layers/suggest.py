"""What `setup: auto` runs: a table from files of a project to commands."""

from __future__ import annotations

import os
import re
from collections.abc import Collection
from pathlib import Path

from planloop.events import Warned
from planloop.sandboxes import tree

_PYTHON: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("uv.lock", ("pip install uv", "uv sync --frozen --inexact")),
    ("poetry.lock", ("pip install poetry", "poetry install --no-interaction")),
    ("requirements.txt", ("pip install -r requirements.txt",)),
    ("pyproject.toml", ("pip install -e .",)),
)
_NODE: tuple[tuple[str, tuple[str, ...]], ...] = (("package-lock.json", ("npm ci",)),)
_FAMILIES = (_PYTHON, _NODE)
"""Of each family the first file that is there decides."""

_LISTS = tuple(name for family in _FAMILIES for name, _ in family if name != "pyproject.toml")
"""Files that list what must be installed; a package may need nothing."""

_INSTALLABLE = re.compile(rb"^\s*\[(project|build-system)\]", re.MULTILINE)
_LOOKED_INTO = 1_000_000


def suggested(folder: Path) -> dict[str, tuple[str, ...]]:
    """The commands for the top of a project, by the file that suggests them."""
    names = {path.name for path in folder.iterdir() if path.is_file() and not path.is_symlink()}
    if "pyproject.toml" in names and not _is_installable(folder):
        names.discard("pyproject.toml")
    return suggested_by(names)


def suggestion(folder: Path) -> tuple[Warned, ...]:
    """What a task that declares no setup is told, where a lock file says what is missing."""
    found = {name: commands for name, commands in suggested(folder).items() if name in _LISTS}
    if not found:
        return ()
    names = ", ".join(f"`{name}`" for name in found)
    commands = "; ".join(f"`{one}`" for commands in found.values() for one in commands)
    return (Warned(text=f"what {names} lists is not installed; `setup: auto` would: {commands}"),)


def suggested_by(names: Collection[str]) -> dict[str, tuple[str, ...]]:
    """The commands for a project whose top folder holds files of these names."""
    found: dict[str, tuple[str, ...]] = {}
    for family in _FAMILIES:
        for name, commands in family:
            if name in names:
                found[name] = commands
                break
    return found


def _is_installable(folder: Path) -> bool:
    """Whether `pyproject.toml` describes a package, and not only settings of tools."""
    root = tree.open_root(folder)
    try:
        with open(tree.open_regular("pyproject.toml", root), "rb") as file:
            return bool(_INSTALLABLE.search(file.read(_LOOKED_INTO)))
    finally:
        os.close(root)
