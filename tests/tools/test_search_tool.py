from __future__ import annotations

from typing import Any

import pytest

from planloop import CallFailed, Context, Sandbox
from planloop_tools import search, write

pytestmark = pytest.mark.anyio


async def found(context: Context[Any], *args: Any, **kwargs: Any) -> list[str]:
    result = await search(context, *args, **kwargs)
    assert not result["more"]
    return [f"{match['path']}:{match['line']}" for match in result["matches"]]


async def test_matches_have_path_line_and_text(context: Context[Any]) -> None:
    await write(context, "src/a.py", "x\ndef f(): pass\r\n")
    result = await search(context, r"def (\w+)")
    assert result == {
        "matches": [{"path": "src/a.py", "line": 2, "text": "def f(): pass"}],
        "more": False,
    }


async def test_globs_pick_files_by_name_or_by_path(context: Context[Any]) -> None:
    for path in ("a.py", "src/a.py", "src/deep/a.py", "src/a.txt", "[x].py"):
        await write(context, path, "hit\n")
    assert len(await found(context, "hit")) == 5
    assert await found(context, "hit", glob="a.py") == ["a.py:1", "src/a.py:1", "src/deep/a.py:1"]
    assert await found(context, "hit", glob="src/*.py") == ["src/a.py:1"]
    assert await found(context, "hit", glob="src/**/*.py") == ["src/a.py:1", "src/deep/a.py:1"]
    assert await found(context, "hit", glob="**/*.txt") == ["src/a.txt:1"]
    assert await found(context, "hit", "src", glob="deep/**") == ["src/deep/a.py:1"]
    assert await found(context, "hit", "src/a.py") == ["src/a.py:1"]
    assert await found(context, "hit", glob="?.[a-p][!a]") == [
        "a.py:1",
        "src/a.py:1",
        "src/deep/a.py:1",
    ]


async def test_binary_files_links_and_special_files_are_not_read(
    context: Context[Any], sandbox: Sandbox
) -> None:
    from planloop import Command

    await sandbox.write_file("bin", b"\0hit")
    await sandbox.write_file("real", b"hit")
    line = "ln -s real link; ln -s /dev/zero zero; mkfifo pipe; mkdir .git; echo hit > .git/x"
    await sandbox.run(Command(line=line))
    assert await found(context, "hit") == ["real:1"]


async def test_more_matches_than_fit_are_said(context: Context[Any]) -> None:
    await write(context, "a", "hit\n" * 50)
    result = await search(context, "hit", max_matches=7)
    assert (len(result["matches"]), result["more"]) == (7, True)
    await write(context, "long", ("hit " + "é" * 390 + "\n") * 200)
    result = await search(context, "hit", glob="long")
    assert 0 < len(result["matches"]) < 20
    assert result["more"]


async def test_what_cannot_be_searched_is_a_clear_failure(context: Context[Any]) -> None:
    with pytest.raises(CallFailed, match="no regular expression: unterminated"):
        await search(context, "[")
    with pytest.raises(CallFailed, match="no such file or folder: nope"):
        await search(context, "x", "nope")


async def test_a_pattern_that_never_ends_is_ended(
    context: Context[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("planloop_tools.find._TIMEOUT_S", 1.0)
    await write(context, "a", "a" * 60 + "b\n")
    with pytest.raises(CallFailed, match="timeout"):
        await search(context, "(a+)+$")


async def test_modules_of_the_workspace_are_not_loaded(context: Context[Any]) -> None:
    for module in ("json.py", "re.py", "sitecustomize.py"):
        await write(context, module, "raise SystemExit(1)\n")
    assert len(await found(context, "SystemExit")) == 3
