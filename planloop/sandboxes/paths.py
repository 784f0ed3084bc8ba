"""Paths as plans write them, read as names below the workspace. Pure."""

from __future__ import annotations

from planloop.sandbox import WORKSPACE
from planloop.text import one_line

_MAX_BYTES = 4095


def workspace_parts(path: str) -> tuple[str, ...]:
    """The names of `path` below the workspace, links not resolved; `()` is the workspace itself.

    Raises:
        ValueError: `path` is nonsense or leaves the workspace.
    """
    shown = one_line(path, 60)
    if not path or "\0" in path:
        raise ValueError(f"`{shown}` is not a path")
    if len(path.encode("utf-8", "surrogateescape")) > _MAX_BYTES:
        raise ValueError(f"path of {len(path)} characters is too long: `{shown}`")
    parts: list[str] = []
    for name in _below_workspace(path, shown).split("/"):
        if name == ".." and not parts:
            raise ValueError(f"`{shown}` leaves the workspace")
        if name == "..":
            parts.pop()
        elif name not in ("", "."):
            parts.append(name)
    return tuple(parts)


def _below_workspace(path: str, shown: str) -> str:
    if not path.startswith("/"):
        return path
    if path != WORKSPACE and not path.startswith(WORKSPACE + "/"):
        raise ValueError(f"`{shown}` is outside the workspace ({WORKSPACE})")
    return path[len(WORKSPACE) :]


def inside_directory(cwd: str) -> str:
    """An absolute directory inside the sandbox for a working directory of a command.

    Raises:
        ValueError: `cwd` is nonsense.
    """
    if "\0" in cwd or len(cwd) > _MAX_BYTES:
        raise ValueError(f"`{one_line(cwd, 60)}` is not a directory")
    if cwd.startswith("/"):
        return cwd
    return WORKSPACE if cwd in ("", ".") else f"{WORKSPACE}/{cwd}"
