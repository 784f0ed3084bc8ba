"""Ctrl-C and SIGTERM: processes gone, the trace ends `interrupted`, exit 130 and 143."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
from console import Shell, copy_task, interrupt, only_run, wait_for

from planloop.marks import parse_mark


def processes_with(text: str) -> list[str]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes()
        except OSError:
            continue
        if text.encode() in command and b"pytest" not in command:
            found.append(command.decode(errors="replace"))
    return found


def start_slow(
    shell: Shell, mark: str, environ: Mapping[str, str | None] = {}
) -> tuple[subprocess.Popen[bytes], Path]:
    """A run whose only call goes on for a minute; returns when the call runs."""
    folder = copy_task(shell, "slow")
    replay = folder / "replay.jsonl"
    replay.write_text(replay.read_text().replace("tick $i", f"{mark} $i"))
    process = shell.start("run", str(folder), environ=environ)
    wait_for(lambda: any("sh" in one for one in processes_with(f"echo {mark}")), "the call")
    return process, folder


def last_event(folder: Path) -> dict[str, object]:
    rows = (only_run(folder) / "trace.jsonl").read_text().splitlines()
    found: dict[str, object] = json.loads(rows[-1])
    return found


@pytest.mark.parametrize(
    ("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["ctrl-c", "sigterm"]
)
def test_a_signal_during_a_call_ends_it_and_the_trace_says_so(
    shell: Shell, signum: int, code: int
) -> None:
    process, folder = start_slow(shell, f"tick{code}")
    interrupt(process, signum)
    _, err = process.communicate(timeout=20)
    said = err.decode()
    assert process.returncode == code, said
    assert "stopping shell(" in said
    assert "press Ctrl-C again to force" in said
    assert "interrupted · " in said
    assert "Traceback" not in said
    assert processes_with(f"echo tick{code}") == []
    ended = last_event(folder)
    assert ended["kind"] == "run_ended"
    assert ended["status"] == "interrupted"


def test_a_second_signal_ends_at_once_and_leaves_no_process_and_no_copy(
    shell: Shell, tmp_path: Path
) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir(mode=0o711)
    process, folder = start_slow(shell, "tickforce", {"TMPDIR": str(temporary)})
    assert process.stderr is not None
    interrupt(process)
    interrupt(process)
    process.communicate(timeout=20)
    assert process.returncode == 130
    wait_for(lambda: processes_with("echo tickforce") == [], "the call's end")
    # A sandbox's own folder may be left, with its owner's mark.
    assert {mark.run for left in temporary.iterdir() if (mark := parse_mark(left.name))} <= {
        only_run(folder).name
    }
    assert [left for left in temporary.iterdir() if parse_mark(left.name) is None] == []
    shown = shell("show", only_run(folder).name, cwd=folder)
    assert shown.code == 0
    assert "success" not in shown.out


def test_an_interrupted_run_can_be_shown_and_listed(shell: Shell) -> None:
    process, folder = start_slow(shell, "tickshow")
    interrupt(process)
    process.communicate(timeout=20)
    assert "interrupted" in shell("list", cwd=folder).out
    assert "  killed      shell(" in shell("show", only_run(folder).name, cwd=folder).out


def test_ctrl_c_at_a_terminal_does_not_lose_the_sandbox(shell: Shell) -> None:
    folder = copy_task(shell, "slow")
    with shell.terminal("run", str(folder)) as terminal:
        terminal.until("tick 3")
        terminal.type("\x03")
        code = terminal.finish()
    assert code == 130, terminal.text
    assert "sandbox lost" not in terminal.text
    assert last_event(folder)["status"] == "interrupted"


def test_ctrl_c_before_the_first_event_is_exit_130(shell: Shell) -> None:
    """While a question is open, nothing runs yet."""
    folder = shell.folder / "asks"
    folder.mkdir()
    text = "---\nmodel: {name: m, base_url: 'http://127.0.0.1:9/v1'}\n---\nDo it.\n"
    (folder / "task.md").write_text(text)
    with shell.terminal("run", str(folder)) as terminal:
        terminal.until("Do you agree? [y/N]: ")
        # Pressed between two reads of the prompt it would wait for the next key.
        wait_for(lambda: terminal.pressed("\x03"), "the end")
        code = terminal.finish()
    assert code == 130
    assert "Traceback" not in terminal.text
    assert not (folder / ".planloop").exists()
