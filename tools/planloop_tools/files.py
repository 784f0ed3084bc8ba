"""Reading and changing text files."""

from __future__ import annotations

import difflib
from typing import Any

from planloop import CallFailed, Context, Sandbox, tool

_MOST_BYTES = 10_000_000


@tool(effect="reads", resources=["workspace"], needs_sandbox=True)
async def read(context: Context[Any], path: str, start_line: int = 1, max_lines: int = 2000) -> str:
    """The text of a file: `max_lines` lines from `start_line` on, which counts from 1."""
    if start_line < 1 or max_lines < 1:
        raise CallFailed("ValueError", "start_line and max_lines count from 1")
    text = await _text(_sandbox(context), path)
    lines = text.splitlines(keepends=True)
    if start_line > max(1, len(lines)):
        raise CallFailed("ValueError", f"`{path}` has {len(lines)} lines")
    return "".join(lines[start_line - 1 : start_line - 1 + max_lines])


@tool(effect="workspace", needs_sandbox=True)
async def write(context: Context[Any], path: str, text: str) -> int:
    """Replace or create a file with its folders; returns the bytes written."""
    data = text.encode("utf-8", "surrogateescape")
    try:
        await _sandbox(context).write_file(path, data)
    except (OSError, ValueError) as error:
        raise _failed(path, error) from None
    return len(data)


@tool(effect="workspace", needs_sandbox=True)
async def edit(context: Context[Any], path: str, old: str, new: str, count: int = 1) -> int:
    """Replace `old`, exactly as it stands in the file, by `new`; returns the number of places.

    `old` must occur `count` times. Line endings of the file are kept.
    """
    sandbox = _sandbox(context)
    text = await _text(sandbox, path)
    if not old:
        raise CallFailed("EditFailed", "`old` is empty; use write(…) for a new file")
    if old == new:
        raise CallFailed("EditFailed", "`old` and `new` are the same")
    if "\r\n" in text and old not in text:
        old, new = (part.replace("\r\n", "\n").replace("\n", "\r\n") for part in (old, new))
    found = text.count(old)
    if found != count:
        raise CallFailed("EditFailed", _why_not(path, text, old, found, count))
    data = text.replace(old, new).encode("utf-8", "surrogateescape")
    try:
        await sandbox.write_file(path, data)
    except (OSError, ValueError) as error:
        raise _failed(path, error) from None
    return found


def _why_not(path: str, text: str, old: str, found: int, count: int) -> str:
    if found:
        lines, at = [], text.find(old)
        while at >= 0 and len(lines) < 20:
            lines.append(str(text.count("\n", 0, at) + 1))
            at = text.find(old, at + len(old))
        return (
            f"`old` occurs {found} times in `{path}` (lines {', '.join(lines)}), not {count}; "
            "give more of its surroundings, or count="
        )
    nearest = _nearest_lines(text, old)
    return f"`old` does not occur in `{path}`" + (f"; nearest:\n{nearest}" if nearest else "")


def _nearest_lines(text: str, old: str) -> str:
    """The lines of a file that are most like what was looked for, with their numbers."""
    wanted = next((line for line in old.splitlines() if line.strip()), "")[:400]
    lines = [line[:400] for line in text.splitlines()[:5_000]]
    near = difflib.get_close_matches(wanted, lines, n=3, cutoff=0.6)
    return "\n".join(f"{lines.index(line) + 1}: {line}" for line in near)


async def _text(sandbox: Sandbox, path: str) -> str:
    try:
        data = await sandbox.read_file(path, _MOST_BYTES)
    except (OSError, ValueError) as error:
        raise _failed(path, error) from None
    if b"\0" in data[:8_000]:
        raise CallFailed("ValueError", f"`{path}` is no text file")
    return data.decode("utf-8", "surrogateescape")


def _failed(path: str, error: OSError | ValueError) -> CallFailed:
    reason = getattr(error, "strerror", None) or str(error)
    return CallFailed(type(error).__name__, f"`{path[:200]}`: {reason}")


def _sandbox(context: Context[Any]) -> Sandbox:
    if context.sandbox is None:
        raise CallFailed("NoSandbox", "this run has no sandbox")
    return context.sandbox
