"""`planloop run` on a real terminal of 80 columns."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from console import Shell, copy_task

GREEN, RED, ESCAPE = "\x1b[32m", "\x1b[31m", "\x1b"


def lasting(text: str) -> list[str]:
    """What stays on the screen, without the region that is redrawn."""
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)
    return [row.rstrip("\r").rsplit("\r", 1)[-1].rstrip() for row in plain.split("\n")]


def test_the_live_view_shows_running_calls_their_output_and_the_budget(shell: Shell) -> None:
    folder = copy_task(shell, "slow")
    with shell.terminal("run", str(folder)) as terminal:
        terminal.until("tick 5")
        assert "running" in terminal.text
        assert "round 1 of 40 · 1 call of 500" in terminal.text
        assert "of 15 min" in terminal.text
        terminal.type("\x03")
        terminal.finish()
    assert "\x1b[?25h" in terminal.text  # the cursor is back


def test_a_terminal_gets_colours_and_the_same_lasting_lines_as_a_pipe(
    shell: Shell, fix: Path
) -> None:
    with shell.terminal("run", str(fix)) as terminal:
        assert terminal.finish() == 0
    assert f"{GREEN}success" in terminal.text
    assert f"{GREEN}+    return a + b" in terminal.text
    assert f"{RED}failed" in terminal.text
    rows = lasting(terminal.text)
    assert "  # look around" in rows
    assert any(row.startswith("  failed      shell('python3 -m unittest -q')") for row in rows)


@pytest.mark.parametrize(
    ("changes", "arguments"),
    [({"NO_COLOR": "1"}, ()), ({}, ("--color", "never"))],
    ids=["NO_COLOR", "--color never"],
)
def test_no_colour_where_none_is_wanted(
    shell: Shell, fix: Path, changes: dict[str, str | None], arguments: tuple[str, ...]
) -> None:
    with shell.terminal("run", str(fix), *arguments, environ=changes) as terminal:
        assert terminal.finish() == 0
    assert not re.search(r"\x1b\[[0-9;]*m", terminal.text)
    assert "success · " in terminal.text


def test_a_dumb_terminal_gets_plain_lines(shell: Shell, fix: Path) -> None:
    with shell.terminal("run", str(fix), environ={"TERM": "dumb"}) as terminal:
        assert terminal.finish() == 0
    assert ESCAPE not in terminal.text
    assert "asking scripted" in terminal.text


def test_no_line_of_the_live_view_is_wider_than_the_terminal(shell: Shell, fix: Path) -> None:
    with shell.terminal("run", str(fix), "--quiet", environ={"NO_COLOR": "1"}) as terminal:
        assert terminal.finish() == 0
    with shell.terminal("run", str(fix), environ={"NO_COLOR": "1"}) as terminal:
        assert terminal.finish() == 0
    calls = [row for row in lasting(terminal.text) if row.startswith(("  ok ", "  failed "))]
    assert calls
    assert all(len(row) <= 80 for row in calls)


def test_consent_is_asked_for_and_remembered(shell: Shell) -> None:
    folder = shell.folder / "asks"
    folder.mkdir()
    text = "---\nmodel: {name: m, base_url: 'http://127.0.0.1:9/v1'}\n---\nDo it.\n"
    (folder / "task.md").write_text(text)
    with shell.terminal("run", str(folder)) as terminal:
        terminal.until("Do you agree? [y/N]")
        assert "sends the task and your files to `http://127.0.0.1:9/v1`" in terminal.text
        terminal.type("n\r")
        assert terminal.finish() == 2
    assert "needs your consent" in terminal.text
    soon = ("--budget", "time=1")
    with shell.terminal("run", str(folder), *soon) as terminal:
        terminal.until("Do you agree? [y/N]")
        terminal.type("y\r")
        terminal.finish()
    with shell.terminal("run", str(folder), *soon) as terminal:
        terminal.finish()
    assert "Do you agree?" not in terminal.text


def test_without_a_terminal_consent_is_refused_and_the_flag_named(shell: Shell) -> None:
    folder = shell.folder / "asks"
    folder.mkdir()
    text = "---\nmodel: {name: m, base_url: 'http://127.0.0.1:9/v1'}\n---\nDo it.\n"
    (folder / "task.md").write_text(text)
    ran = shell("run", str(folder))
    assert ran.code == 2
    assert "needs your consent" in ran.err
    assert "`--trust`" in ran.err
    assert not (folder / ".planloop").exists()
