"""Reading and changing text files."""

from __future__ import annotations

import re
from typing import Any

from planloop import CallFailed, Context, Sandbox, tool
from planloop_tools.nearest import nearest_lines

_MOST_BYTES = 10_000_000
_BINARY_PROBE = 8_000
_MOST_PLACES = 20


@tool(effect="reads", resources=["workspace"], needs_sandbox=True)
async def read(context: Context[Any], path: str, start_line: int = 1, max_lines: int = 2000) -> str:
    """The text of a file: `max_lines` lines from `start_line` on, which counts from 1."""
    if start_line < 1 or max_lines < 1:
        raise CallFailed("ValueError", "start_line and max_lines count from 1")
    lines = _lines(await _text(_sandbox(context), path))
    if start_line > max(1, len(lines)):
        raise CallFailed("ValueError", f"`{path}` has {len(lines)} lines")
    return "".join(lines[start_line - 1 : start_line - 1 + max_lines])


@tool(effect="workspace", needs_sandbox=True)
async def write(context: Context[Any], path: str, text: str) -> int:
    """Replace or create a file with its folders; returns the bytes written."""
    return await _put(_sandbox(context), path, text)


@tool(effect="workspace", needs_sandbox=True)
async def edit(context: Context[Any], path: str, old: str, new: str, count: int = 1) -> int:
    """Replace `old`, exactly as it stands in the file, by `new`; returns the number of places.

    `old` must occur `count` times. Line endings of the file are kept.
    """
    sandbox = _sandbox(context)
    if not old:
        raise CallFailed("EditFailed", "`old` is empty; use write(…) for a new file")
    if old == new:
        raise CallFailed("EditFailed", "`old` and `new` are the same: nothing would change")
    text = await _text(sandbox, path)
    if _ends_lines_with_crlf(text):
        old, new = _with_crlf(old), _with_crlf(new)
    found = text.count(old)
    if found != count or count < 1:
        raise CallFailed("EditFailed", _why_not(path, text, old, count))
    await _put(sandbox, path, text.replace(old, new))
    return found


def _lines(text: str) -> list[str]:
    """Lines with their ends, as editors count them: only a line feed ends one."""
    return re.findall(r"[^\n]*\n|[^\n]+", text)


def _ends_lines_with_crlf(text: str) -> bool:
    return "\r\n" in text and text.count("\r\n") == text.count("\n")


def _with_crlf(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\n", "\r\n")


def _why_not(path: str, text: str, old: str, count: int) -> str:
    places = [found.start() for found in re.finditer(re.escape(old), text)]
    if not places:
        nearest = nearest_lines(text, old)
        return f"`old` does not occur in `{path}`" + (f"; nearest:\n{nearest}" if nearest else "")
    lines = ", ".join(str(text.count("\n", 0, at) + 1) for at in places[:_MOST_PLACES])
    more = ", …" if len(places) > _MOST_PLACES else ""
    times = "once" if len(places) == 1 else f"{len(places)} times"
    return (
        f"`old` occurs {times} in `{path}` (line {lines}{more}), and count={count} was asked for; "
        "give more of its surroundings, or the right count"
    )


async def _text(sandbox: Sandbox, path: str) -> str:
    try:
        data = await sandbox.read_file(path, _MOST_BYTES)
    except (OSError, ValueError) as error:
        raise _failed(path, error) from None
    if b"\0" in data[:_BINARY_PROBE]:
        raise CallFailed("ValueError", f"`{path}` is no text file")
    return data.decode("utf-8", "surrogateescape")


async def _put(sandbox: Sandbox, path: str, text: str) -> int:
    try:
        data = text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise CallFailed("ValueError", "the text holds half a character (a surrogate)") from None
    try:
        await sandbox.write_file(path, data)
    except (OSError, ValueError) as error:
        raise _failed(path, error) from None
    return len(data)


def _failed(path: str, error: OSError | ValueError) -> CallFailed:
    reason = getattr(error, "strerror", None) or str(error)
    return CallFailed(type(error).__name__, f"`{path[:200]}`: {reason}")


def _sandbox(context: Context[Any]) -> Sandbox:
    if context.sandbox is None:
        raise CallFailed("NoSandbox", "this run has no sandbox")
    return context.sandbox
