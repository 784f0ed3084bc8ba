from __future__ import annotations

import time
from typing import Any

import pytest

from planloop import CallFailed, Context, Sandbox
from planloop_tools import edit, read, write
from planloop_tools.nearest import nearest_lines

pytestmark = pytest.mark.anyio


async def failure(call: Any) -> str:
    with pytest.raises(CallFailed) as caught:
        await call
    return str(caught.value)


async def test_what_is_written_is_read(context: Context[Any]) -> None:
    assert await write(context, "new/a.txt", "one\ntwo é\n") == 11
    assert await read(context, "new/a.txt") == "one\ntwo é\n"


async def test_read_gives_the_lines_that_are_asked_for(context: Context[Any]) -> None:
    await write(context, "a", "1\n2\x0c\u2028x\r\n3\n4")
    assert await read(context, "a", 2, 2) == "2\x0c\u2028x\r\n3\n"
    assert await read(context, "a", start_line=4) == "4"
    assert "has 4 lines" in await failure(read(context, "a", 9))
    assert "count from 1" in await failure(read(context, "a", 0))


async def test_read_of_what_is_no_text_file_says_so(
    context: Context[Any], sandbox: Sandbox
) -> None:
    await sandbox.write_file("b", b"\0\1")
    await write(context, "d/x", "")
    assert "no text file" in await failure(read(context, "b"))
    assert "FileNotFoundError" in await failure(read(context, "missing"))
    assert "IsADirectoryError" in await failure(read(context, "d"))
    await failure(read(context, "../../etc/passwd"))
    await failure(write(context, "../x", ""))
    assert await read(context, "d/x") == ""


async def test_bytes_that_are_not_utf8_survive_an_edit(
    context: Context[Any], sandbox: Sandbox
) -> None:
    await sandbox.write_file("latin", b"caf\xe9 one\n")
    assert await edit(context, "latin", "one", "two") == 1
    assert await sandbox.read_file("latin") == b"caf\xe9 two\n"


async def test_edit_replaces_exactly(context: Context[Any]) -> None:
    await write(context, "a", "x = 1\ny = 1\nz = 2\n")
    assert await edit(context, "a", "z = 2", "z = 3") == 1
    assert await edit(context, "a", "= 1", "= 0", count=2) == 2
    assert await read(context, "a") == "x = 0\ny = 0\nz = 3\n"


async def test_edit_that_does_not_fit_changes_nothing_and_says_why(context: Context[Any]) -> None:
    text = "def area(w, h):\n    return w + h\n\nx = 1\nx = 1\n"
    await write(context, "a", text)
    assert "occurs 2 times in `a` (line 4, 5), and count=1" in await failure(
        edit(context, "a", "x = 1", "x = 2")
    )
    assert "occurs once" in await failure(edit(context, "a", "w + h", "w * h", count=2))
    missing = await failure(edit(context, "a", "  return w+h", "  return w*h"))
    assert "does not occur in `a`; nearest:\n2:     return w + h" in missing
    assert "empty" in await failure(edit(context, "a", "", "x"))
    assert "same" in await failure(edit(context, "a", "x", "x"))
    assert "FileNotFoundError" in await failure(edit(context, "missing", "a", "b"))
    assert await read(context, "a") == text


async def test_edit_keeps_the_line_endings_of_the_file(
    context: Context[Any], sandbox: Sandbox
) -> None:
    await sandbox.write_file("dos", b"a\r\nb\r\nc\r\n")
    await edit(context, "dos", "a\nb", "x\ny\nz")
    await edit(context, "dos", "c", "c\nd")
    assert await sandbox.read_file("dos") == b"x\r\ny\r\nz\r\nc\r\nd\r\n"
    await sandbox.write_file("mixed", b"a\r\nb\n")
    await edit(context, "mixed", "b", "c\nd")
    assert await sandbox.read_file("mixed") == b"a\r\nc\nd\n"


async def test_the_nearest_lines_of_a_hostile_text_take_bounded_time() -> None:
    start = time.monotonic()
    nearest_lines("a b c d " * 1_200_000, "a b c e")
    nearest_lines("a b c d\n" * 1_200_000, "a b c e" * 10_000)
    nearest_lines("\n" * 9_000_000, "")
    assert time.monotonic() - start < 3
