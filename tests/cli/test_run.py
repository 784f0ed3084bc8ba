"""`planloop run` through pipes: what goes where, exit codes, and claims that hold."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from console import SCRIPT, Finished, Shell, only_run, script

ESCAPE = "\x1b"


def events(text: str) -> list[dict[str, Any]]:
    return [json.loads(row) for row in text.splitlines()]


def test_a_run_ends_with_answer_and_diff_on_stdout_and_the_verdict_on_stderr(
    finished: Finished,
) -> None:
    assert finished.ran.code == 0
    answer, blank, first, *rest = finished.ran.out.splitlines()
    assert answer == "add and double are fixed"
    assert blank == ""
    assert first == "diff --git a/adding.py b/adding.py"
    assert "+    return a + b" in rest
    assert re.search(
        r"^success · 1 check passed, in-process · 2 rounds, 6 calls, \d.* s, \$0\.00$",
        finished.ran.err,
        re.MULTILINE,
    )
    assert "    return a - b" in (finished.folder / "adding.py").read_text()


def test_what_matters_is_said_before_the_model_is_asked(finished: Finished) -> None:
    said = finished.ran.err
    before = said[: said.index("asking")]
    assert f"run {finished.run_id} · fix" in before
    assert "model      scripted · free · named in task.md, line 3" in before
    assert "sandbox    bubblewrap" in before
    assert "left out   .env" in before
    assert "check      python3 -m unittest -q" in before


def test_calls_are_told_with_scope_status_and_exit_code(finished: Finished) -> None:
    said = finished.ran.err
    scope, read = said.index("  # look around"), said.index("  ok          read('adding.py')")
    failed = said.index("  failed      shell('python3 -m unittest -q')  exit 1, ")
    assert scope < read < failed < said.index("  skipped     done(")
    assert said.index("      | AssertionError: 16 != 8") > failed


def test_what_can_follow_is_said(finished: Finished) -> None:
    run_id = finished.run_id
    assert finished.ran.err.endswith(f"next: planloop apply {run_id} · planloop show {run_id}\n")


def test_pipes_get_no_escape_sequences(finished: Finished) -> None:
    assert ESCAPE not in finished.ran.out + finished.ran.err


def test_color_always_colours_pipes(shell: Shell, fix: Path) -> None:
    ran = shell("run", "task.md", "--color", "always", cwd=fix)
    assert f"{ESCAPE}[32m+    return a + b" in ran.out
    assert f"{ESCAPE}[32msuccess" in ran.err


def test_json_is_the_trace_s_events_and_the_live_ones_and_nothing_else(
    shell: Shell, fix: Path
) -> None:
    ran = shell("run", "task.md", "--json", cwd=fix)
    assert ran.code == 0
    assert ran.err.startswith("success · ")
    found = events(ran.out)
    assert found[-1]["status"] == "success"
    live_only = ("output_seen", "reply_progress")
    assert {event["kind"] for event in found} >= set(live_only)
    lasting = [event for event in found if event["kind"] not in live_only]
    shown = events(shell("show", only_run(fix).name, "--json", cwd=fix).out)
    assert [{k: v for k, v in e.items() if k not in ("seq", "at")} for e in shown] == lasting


def test_json_errors_go_to_stderr(shell: Shell) -> None:
    ran = shell("run", "nothing.md", "--json")
    assert ran.code == 2
    assert ran.out == ""
    assert ran.err.startswith("error: ")


def test_quiet_shows_result_and_verdict_only(shell: Shell, fix: Path) -> None:
    ran = shell("run", "task.md", "-q", cwd=fix)
    assert ran.out.startswith("add and double are fixed\n")
    assert ran.err.startswith("success · ")
    assert "round 1 ·" not in ran.err


def test_verbose_shows_plans_and_feedback(shell: Shell, fix: Path) -> None:
    said = shell("run", "task.md", "-v", cwd=fix).err
    assert '    | edit("adding.py", "return a - b", "return a + b")' in said
    assert "    | Round 1 of 40" in said


def test_a_closed_reader_is_no_error(shell: Shell, fix: Path) -> None:
    for more in ((), ("--json",)):
        first = subprocess.run(
            f"{SCRIPT} run task.md {' '.join(more)} | head -1; exit ${{PIPESTATUS[0]}}",
            shell=True,
            executable="/bin/bash",
            cwd=fix,
            env=shell.environ,
            capture_output=True,
            text=True,
        )
        assert first.returncode == 0
        assert len(first.stdout.splitlines()) == 1
        assert "\nTraceback" not in first.stderr
        assert "BrokenPipe" not in first.stderr
        assert "Exception ignored" not in first.stderr


@pytest.mark.parametrize(
    "changes",
    [
        {"LC_ALL": "C", "LANG": None, "HOME": None},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "TERM": "dumb"},
        {"XDG_STATE_HOME": "/proc/nowhere", "TERM": None, "PYTHONIOENCODING": "ascii"},
    ],
    ids=str,
)
def test_odd_surroundings_do_not_end_a_run(
    shell: Shell, fix: Path, changes: dict[str, str | None]
) -> None:
    ran = shell("run", "task.md", cwd=fix, environ=changes)
    assert ran.code == 0, ran.err
    assert "success" in ran.err
    assert "\nTraceback" not in ran.err


def test_a_text_runs_in_the_current_folder(shell: Shell, fix: Path) -> None:
    ran = shell("run", "make", "the tests", "pass", "--model", "replay:replay.jsonl", cwd=fix)
    assert ran.code == 0
    assert "answered · " in ran.err
    assert "success" not in ran.err
    assert only_run(fix).is_dir()


def test_a_text_may_come_on_standard_input(shell: Shell, fix: Path) -> None:
    ran = shell("run", "-", "--model", "replay:replay.jsonl", cwd=fix, stdin="make them pass\n")
    assert ran.code == 0
    shown = shell("show", only_run(fix).name, cwd=fix).out
    assert "  | make them pass" in shown


def test_a_run_that_gives_up_is_failed_with_exit_one(shell: Shell) -> None:
    folder = script(shell.folder / "t", 'give_up("there is nothing to do")')
    ran = shell("run", str(folder))
    assert ran.code == 1
    assert "failed · the planner gave up: there is nothing to do" in ran.err
    assert "success" not in ran.err + ran.out


def test_a_spent_budget_is_capped_with_exit_one(shell: Shell, fix: Path) -> None:
    ran = shell("run", "task.md", "--budget", "rounds=1", cwd=fix)
    assert ran.code == 1
    assert "capped · rounds spent: 1 of 1" in ran.err
    assert "success" not in ran.err


def test_a_model_that_fails_after_it_was_asked_is_exit_three(shell: Shell) -> None:
    folder = script(shell.folder / "t", 'shell("exit 1")')
    ran = shell("run", str(folder))
    assert ran.code == 3
    assert "error: " in ran.err
    assert "no reply is left" in ran.err
    assert "success" not in ran.err
    assert "error" in shell("list", cwd=folder).out


def test_strict_refuses_unused_replies(shell: Shell) -> None:
    folder = script(shell.folder / "t", 'done("early")', 'done("never asked")')
    assert shell("run", str(folder)).code == 0
    ran = shell("run", str(folder), "--strict")
    assert ran.code == 3
    assert "recorded replies unused" in ran.err


def test_strict_refuses_a_request_that_differs(shell: Shell, fix: Path) -> None:
    shell("run", "task.md", cwd=fix)
    recorded = only_run(fix) / "replay.jsonl"
    again = shell("run", "task.md", "--model", f"replay:{recorded}", "--strict", cwd=fix)
    assert again.code == 0, again.err
    (fix / "task.md").write_text((fix / "task.md").read_text() + "\nAnd more.\n")
    other = shell("run", "task.md", "--model", f"replay:{recorded}", "--strict", cwd=fix)
    assert other.code == 3
    assert "differs from the recording" in other.err


def test_a_replay_that_differs_is_said_without_strict(shell: Shell, fix: Path) -> None:
    shell("run", "task.md", cwd=fix)
    recorded = only_run(fix) / "replay.jsonl"
    (fix / "task.md").write_text((fix / "task.md").read_text() + "\nAnd more.\n")
    ran = shell("run", "task.md", "--model", f"replay:{recorded}", cwd=fix)
    assert ran.code == 0
    assert "warning: the replay differs" in ran.err


def test_unsafe_local_is_said(shell: Shell) -> None:
    folder = script(shell.folder / "t", 'shell("echo $PPID")\ndone("ran")')
    ran = shell("run", str(folder), "--unsafe-local", "--color", "always")
    assert ran.code == 0, ran.err
    assert f"{ESCAPE}[31m--unsafe-local: the model's code runs on this machine" in ran.err
    trace = (only_run(folder) / "trace.jsonl").read_text()
    assert "unsafe-local" in trace


def test_unsafe_local_and_a_sandbox_contradict(shell: Shell) -> None:
    ran = shell("run", "do it", "--unsafe-local", "--sandbox", "docker")
    assert ran.code == 2
    assert "names one" in ran.err


def test_what_tools_print_cannot_act_on_the_terminal(shell: Shell) -> None:
    folder = script(
        shell.folder / "t",
        r"""shell("printf '\\033]0;evil\\007\\033[2J[red]x[/red]'; exit 1")""",
        r"""shell("printf '\\033[31m' > evil.txt")""" + "\n" + r'done("\x1b[2Jgone")',
    )
    ran = shell("run", str(folder))
    assert ran.code == 0, ran.err
    for character in "\x1b\x07":
        assert character not in ran.out + ran.err
    assert "[red]x[/red]" in ran.err


def test_host_and_planner_decided_verdicts_say_so(shell: Shell) -> None:
    folder = script(
        shell.folder / "t",
        'check(file="out.txt", contains="42")\nshell("echo 42 > out.txt")\ndone("written")',
    )
    ran = shell("run", str(folder))
    assert ran.code == 0, ran.err
    assert "success · 1 check passed, proposed by the planner · " in ran.err


def test_a_failing_check_never_prints_the_word(shell: Shell) -> None:
    front = 'checks:\n  - run: "false"\n'
    plans = [f'done("a {word}")' for word in ("first", "second", "third", "fourth", "fifth")]
    folder = script(shell.folder / "t", *plans, 'give_up("no way")', front=front)
    ran = shell("run", str(folder))
    assert ran.code == 1
    assert "  check FAILED  false" in ran.err
    assert "success" not in ran.err


def test_nothing_is_left_beside_the_trace(shell: Shell, fix: Path, tmp_path: Path) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    temporary.chmod(0o711)
    before = sorted(path.name for path in fix.iterdir())
    shell("run", "task.md", cwd=fix, environ={"TMPDIR": str(temporary)})
    assert sorted(path.name for path in fix.iterdir()) == sorted([*before, ".planloop"])
    assert list(temporary.iterdir()) == []
    assert os.stat(fix / ".planloop").st_mode & 0o077 == 0
    assert (fix / ".planloop" / ".gitignore").read_text() == "*\n"
