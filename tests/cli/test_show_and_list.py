"""`planloop show` and `planloop list`: what is on disk, whole or damaged, as lines and as JSON."""

from __future__ import annotations

import json
from pathlib import Path

from console import Finished, Shell, only_run, script


def test_show_prints_rounds_plans_calls_feedback_checks_and_verdict(
    finished: Finished,
) -> None:
    shown = finished.shell("show", finished.run_id, cwd=finished.folder)
    assert shown.code == 0
    assert shown.err == ""
    parts = [
        f"run {finished.run_id} · fix",
        "model      scripted · free",
        "sandbox    bubblewrap",
        "  | Make the tests pass.",
        "round 1 · a plan",
        '    | edit("adding.py", "return a - b", "return a + b")',
        "  # look around",
        "  failed      shell('python3 -m unittest -q')  exit 1",
        "  skipped     done('fixed add')",
        "  feedback",
        "    | Round 1 of 40",
        "round 2 · a plan, the rest of it",
        "  ok          shell(",
        "  check passed  python3 -m unittest -q",
        "  changed  adding.py",
        "  | add and double are fixed",
        "success · 1 check passed, in-process · 2 rounds, 6 calls, ",
    ]
    place = 0
    for part in parts:
        place = shown.out.find(part, place)
        assert place >= 0, part


def test_show_says_the_same_verdict_as_run(finished: Finished) -> None:
    verdict = next(row for row in finished.ran.err.splitlines() if row.startswith("success"))
    shown = finished.shell("show", finished.run_id, cwd=finished.folder)
    assert verdict in shown.out.splitlines()


def test_show_as_json_is_the_trace_s_events(finished: Finished) -> None:
    shown = finished.shell("show", finished.run_id, "--json", cwd=finished.folder)
    rows = [json.loads(row) for row in shown.out.splitlines()]
    assert [row["seq"] for row in rows] == list(range(1, len(rows) + 1))
    assert rows[0]["kind"] == "run_started"
    assert rows[-1]["status"] == "success"


def test_a_run_is_found_by_prefix_by_path_and_from_elsewhere(finished: Finished) -> None:
    shell, run_id = finished.shell, finished.run_id
    whole = shell("show", run_id, cwd=finished.folder).out
    assert whole
    assert shell("show", run_id[:3], cwd=finished.folder).out == whole
    assert shell("show", str(only_run(finished.folder)), cwd=shell.home).out == whole
    assert shell("show", run_id, cwd=shell.home).out == whole


def test_a_torn_last_line_is_dropped_with_a_notice(shell: Shell, own_copy: Path) -> None:
    ran = only_run(own_copy).name
    trace = only_run(own_copy) / "trace.jsonl"
    trace.write_bytes(trace.read_bytes()[:-20])
    shown = shell("show", ran, cwd=own_copy)
    assert shown.code == 0
    assert shown.err.startswith("warning: the last line of trace.jsonl was cut off")
    assert "success" not in shown.out
    assert shown.out.splitlines()[-1].startswith("unfinished · no last word")


def test_other_damage_is_refused_by_line(shell: Shell, own_copy: Path) -> None:
    ran = only_run(own_copy).name
    trace = only_run(own_copy) / "trace.jsonl"
    rows = trace.read_text().splitlines()
    rows[2] = rows[2][:-5]
    trace.write_text("\n".join(rows) + "\n")
    shown = shell("show", ran, cwd=own_copy)
    assert shown.code == 2
    assert "trace.jsonl, line 3: " in shown.err
    assert shown.out == ""


def test_a_trace_with_escapes_in_it_is_shown_harmless(shell: Shell) -> None:
    folder = script(shell.folder / "t", r'note("\x1b[2J\x9b31m")' + "\n" + r'done("\x07")')
    shell("run", str(folder))
    shown = shell("show", only_run(folder).name, cwd=folder)
    for character in "\x1b\x07\x9b":
        assert character not in shown.out


def test_list_shows_the_newest_first_with_status(shell: Shell, own_copy: Path) -> None:
    ran = only_run(own_copy).name
    shell("run", "task.md", "--budget", "rounds=1", cwd=own_copy)
    listed = shell("list", cwd=own_copy)
    assert listed.code == 0
    newest, oldest = listed.out.splitlines()
    assert "capped" in newest
    assert oldest.startswith(ran)
    assert "success" in oldest


def test_list_as_json_is_one_object_a_line(shell: Shell, own_copy: Path) -> None:
    ran = only_run(own_copy).name
    (row,) = [json.loads(row) for row in shell("list", "--json", cwd=own_copy).out.splitlines()]
    assert row["run_id"] == ran
    assert row["status"] == "success"
    assert row["changed_files"] == 1


def test_list_shows_the_runs_of_folders_below_too(shell: Shell, fix: Path) -> None:
    shell("run", str(fix))
    (row,) = shell("list").out.splitlines()
    assert "success" in row
    assert row.endswith(f"in {fix.relative_to(shell.folder)}")
    (own,) = shell("list", cwd=fix).out.splitlines()
    assert own == row.rpartition(" · in ")[0]


def test_list_of_nothing_says_so_and_prints_nothing(shell: Shell) -> None:
    listed = shell("list")
    assert (listed.code, listed.out) == (0, "")
    assert listed.err == "no runs in this folder or below\n"
    assert shell("list", "--json").out == ""


def test_a_damaged_run_does_not_hide_the_others(shell: Shell, own_copy: Path) -> None:
    ran = only_run(own_copy).name
    shell("run", "task.md", cwd=own_copy)
    (own_copy / ".planloop" / "runs" / ran / "trace.jsonl").write_text("nonsense\n")
    listed = shell("list", cwd=own_copy).out
    assert f"{ran}" in listed
    assert "unreadable" in listed
    assert "success" in listed


def test_a_closed_reader_of_show_is_no_error(shell: Shell, own_copy: Path) -> None:
    ran = only_run(own_copy).name
    import subprocess

    done = subprocess.run(
        f"planloop show {ran} | head -1; exit ${{PIPESTATUS[0]}}",
        shell=True,
        executable="/bin/bash",
        cwd=own_copy,
        env=shell.environ,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0
    assert done.stderr == ""
