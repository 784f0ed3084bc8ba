"""Mistakes of the user: one clear error on standard error, exit 2, no traceback, nothing left."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from console import Shell

CASES = [
    (
        ("rum", "task.md"),
        "error: there is no command `rum`\n\n"
        "hint: did you mean `run`? `planloop --help` shows what there is\n",
    ),
    (
        ("run", "x", "--modle", "y"),
        "error: there is no option `--modle`\n\n"
        "hint: did you mean `--model`? `planloop run --help` shows what there is\n",
    ),
    (
        ("--colour", "never"),
        "error: there is no option `--colour`\n\n"
        "hint: did you mean `--color`? `planloop --help` shows what there is\n",
    ),
    (
        ("run",),
        "error: `<task>...` is missing\n\nhint: `planloop run --help` shows what there is\n",
    ),
    (
        ("show",),
        "error: `<run>` is missing\n\nhint: `planloop show --help` shows what there is\n",
    ),
    (
        ("run", "foo.md"),
        "error: foo.md: there is no such file or folder\n\n"
        "hint: name a task file or a folder with a `task.md`; a text has more than one word\n",
    ),
    (
        ("run", "two words", "--budget", "cost"),
        "error: --budget: `cost` is no limit\n\n"
        "hint: write `--budget cost=4`, with one of `cost`, `time`, `tokens`, `rounds`, `calls`, "
        "`sandbox_time`, `depth`\n",
    ),
    (
        ("run", "two words", "--sandbox", "dokcer"),
        "error: --sandbox: there is no sandbox `dokcer`\n\n"
        "hint: did you mean `docker`? known: `auto`, `bubblewrap`, `docker`, `none`\n",
    ),
    (
        ("run", "two words", "--sandbox", "unsafe-local"),
        "error: --sandbox: `unsafe-local` runs the model's code on the bare host\n\n"
        "hint: only the flag `--unsafe-local` allows it; better is `--sandbox auto`\n",
    ),
    (
        ("run", "two words", "--model", "replay:none.jsonl"),
        "error: --model: cannot read the replay `{cwd}/none.jsonl`: No such file or directory\n\n"
        "hint: in a task file it is relative to the file's folder, elsewhere to the current one\n",
    ),
    (
        ("run", "one.md", "two.md"),
        "error: `one.md` names a file, and `two.md` follows it\n\n"
        "hint: run one task at a time; a text that begins like this stands in quotes\n",
    ),
    (
        ("run", "two words", "--model"),
        "error: `--model` needs a value\n\nhint: `planloop run --help` shows what there is\n",
    ),
    (
        ("show", "7f3a"),
        "error: no run `7f3a`\n\nhint: `planloop list` shows the runs of this folder\n",
    ),
    (
        ("apply", "nonsense!"),
        "error: no run `nonsense!`\n\nhint: `planloop list` shows the runs of this folder\n",
    ),
    (
        ("help", "everything"),
        "error: there is no topic or command `everything`\n\n"
        "hint: `planloop --help` shows what there is\n",
    ),
]


@pytest.mark.parametrize(("arguments", "expected"), CASES, ids=[" ".join(c[0]) for c in CASES])
def test_a_mistake_is_one_clear_error(
    shell: Shell, arguments: tuple[str, ...], expected: str
) -> None:
    ran = shell(*arguments)
    assert ran.err == expected.replace("{cwd}", str(shell.folder))
    assert ran.out == ""
    assert ran.code == 2
    assert list(shell.folder.iterdir()) == []


def test_an_error_of_a_task_file_shows_its_line(shell: Shell) -> None:
    (shell.folder / "task.md").write_text("---\nbudget: {cost: 2 dollars}\n---\nDo it.\n")
    ran = shell("run", "task.md")
    assert ran.code == 2
    head, excerpt, caret, *_ = ran.err.splitlines()
    assert head.startswith("error: task.md, line 2: ")
    assert excerpt.strip() == "budget: {cost: 2 dollars}"
    assert caret.index("^") == excerpt.index("2 dollars")


def test_an_unknown_provider_is_named_with_the_place_that_names_it(shell: Shell) -> None:
    (shell.folder / "task.md").write_text("---\nmodel: opnai:x\n---\nDo it.\n")
    ran = shell("run", "task.md")
    assert ran.code == 2
    assert ran.err.startswith("error: task.md, line 2: `opnai:x` names no known provider\n")
    assert "did you mean `openai:`?" in ran.err


def test_an_environment_that_cannot_be_made_is_no_bug_of_planloop(shell: Shell) -> None:
    source = (
        "from planloop import Environment\nclass W(Environment):\n    def __init__(self, a): ...\n"
    )
    (shell.folder / "w.py").write_text(source)
    (shell.folder / "r.jsonl").write_text('{"reply": "no"}\n')
    (shell.folder / "task.md").write_text(
        "---\nmodel: replay:r.jsonl\nenvironment: w.py:W\n---\nDo it.\n"
    )
    ran = shell("run", "task.md", "--trust")
    assert ran.code == 2
    assert "error: environment `w.py:W` cannot be made: TypeError: " in ran.err
    assert "hint: it is called without arguments" in ran.err
    assert not (shell.folder / ".planloop").exists()


def test_no_model_at_all_lists_what_would_work(shell: Shell) -> None:
    ran = shell("run", "do it well")
    assert ran.code == 2
    assert "no model is named" in ran.err
    assert "hint: " in ran.err
    assert not (shell.folder / ".planloop").exists()


def test_a_sandbox_that_cannot_run_leaves_nothing_behind(shell: Shell, fix: Path) -> None:
    before = sorted(path.name for path in fix.iterdir())
    nowhere = {"DOCKER_HOST": "unix:///nowhere.sock"}
    ran = shell("run", "task.md", "--sandbox", "docker", cwd=fix, environ=nowhere)
    assert ran.code == 2
    assert "error: sandbox `docker` cannot run: " in ran.err
    assert "hint: " in ran.err
    assert sorted(path.name for path in fix.iterdir()) == before
    assert shell("list", cwd=fix).out == ""


def test_a_missing_key_names_its_variable(shell: Shell) -> None:
    ran = shell("run", "do it well", "--model", "openai:gpt-5.4-mini")
    assert ran.code == 2
    assert "`OPENAI_API_KEY` is not set" in ran.err


def test_a_folder_that_cannot_be_written_is_said(shell: Shell, fix: Path) -> None:
    replay = fix / "replay.jsonl"
    ran = shell("run", "do it well", "--model", f"replay:{replay}", cwd=Path("/proc"))
    assert ran.code == 2
    assert "error: cannot write in `/proc/.planloop`" in ran.err
    assert "Traceback" not in ran.err


def test_a_current_folder_that_is_gone_is_said(shell: Shell) -> None:
    gone = shell.folder / "gone"
    gone.mkdir()
    script = f"rmdir {gone} && planloop run 'do it well' --model replay:x"
    done = subprocess.run(
        ["sh", "-c", script], cwd=gone, env=shell.environ, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: the current folder does not exist any more")


def test_results_that_cannot_be_written_are_an_error(shell: Shell) -> None:
    done = subprocess.run(
        "planloop --help > /dev/full", shell=True, env=shell.environ, capture_output=True, text=True
    )
    assert done.returncode == 3
    assert done.stderr == "error: standard output cannot be written: No space left on device\n"


def test_closed_streams_are_no_error(shell: Shell) -> None:
    done = subprocess.run(
        "planloop --help <&- >&-; planloop list 2>&-; planloop show nope <&- >&- 2>&-; echo $?",
        shell=True,
        env=shell.environ,
        cwd=shell.folder,
        capture_output=True,
        text=True,
    )
    assert done.stdout == "2\n"
    assert done.stderr == ""


def test_a_task_without_its_verb_suggests_the_verb(shell: Shell) -> None:
    ran = shell("task.md")
    assert ran.code == 2
    assert "hint: did you mean `planloop run task.md`?" in ran.err


def test_debug_shows_where_an_error_comes_from(shell: Shell) -> None:
    assert "Traceback" not in shell("show", "7f3a").err
    assert "Traceback" in shell("show", "7f3a", "--debug").err


def test_control_characters_of_a_name_are_shown_not_obeyed(shell: Shell) -> None:
    ran = shell("run", "\x1b[31mred.md")
    assert "\x1b" not in ran.err
    assert ran.code == 2


def test_home_is_not_needed(shell: Shell) -> None:
    ran = shell("list", environ={"HOME": None})
    assert ran.code == 0
    assert ran.err == "no runs in this folder or below\n"
    assert os.environ.get("HOME") != ""
