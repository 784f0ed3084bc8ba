"""`planloop apply` and `planloop undo` as commands; what they do to files has its own tests."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from console import Shell, only_run, script

FIXED = "def add(a, b):\n    return a + b\n\n\ndef double(a):\n    return a * 2\n"


@pytest.fixture
def fix(own_copy: Path) -> Path:
    """The folder of a run that has fixed both bugs."""
    return own_copy


@pytest.fixture
def ran(fix: Path) -> str:
    """The id of that run."""
    return only_run(fix).name


def test_apply_changes_the_files_and_undo_takes_it_back(shell: Shell, fix: Path, ran: str) -> None:
    before = (fix / "adding.py").read_text()
    applied = shell("apply", ran, "--yes", cwd=fix)
    assert applied.code == 0
    assert "  changed  adding.py" in applied.err
    assert f"next: planloop undo {ran}" in applied.err
    assert (fix / "adding.py").read_text() == FIXED
    undone = shell("undo", ran, cwd=fix)
    assert undone.code == 0
    assert "  restored adding.py" in undone.err
    assert (fix / "adding.py").read_text() == before


def test_without_a_terminal_apply_refuses_and_names_the_flag(
    shell: Shell, fix: Path, ran: str
) -> None:
    before = (fix / "adding.py").read_text()
    refused = shell("apply", ran, cwd=fix)
    assert refused.code == 2
    assert "`--yes`" in refused.err
    assert "  changed  adding.py" in refused.err
    assert (fix / "adding.py").read_text() == before


@pytest.mark.parametrize(("answer", "code"), [("n", 2), ("y", 0)])
def test_on_a_terminal_apply_asks(
    shell: Shell, fix: Path, ran: str, answer: str, code: int
) -> None:
    with shell.terminal("apply", ran, cwd=fix) as terminal:
        terminal.until("Change these files? [y/N]")
        assert "changed  adding.py" in terminal.text
        terminal.type(f"{answer}\r")
        assert terminal.finish() == code
    assert ((fix / "adding.py").read_text() == FIXED) is (answer == "y")


def test_apply_finds_a_run_from_any_folder_by_the_beginning_of_its_id(
    shell: Shell,
) -> None:
    folder = script(shell.folder / "t", 'write("new.txt", "new")\ndone("written")')
    shell("run", str(folder))
    applied = shell("apply", only_run(folder).name[:4], "--yes", cwd=shell.home)
    assert applied.code == 0, applied.err
    assert (folder / "new.txt").read_text() == "new"


def test_a_conflict_is_refused_and_named(shell: Shell, fix: Path, ran: str) -> None:
    (fix / "adding.py").write_text("mine\n")
    refused = shell("apply", ran, "--yes", cwd=fix)
    assert refused.code == 2
    assert "`adding.py`" in refused.err
    assert (fix / "adding.py").read_text() == "mine\n"


def test_applying_twice_and_undoing_what_was_not_applied_are_refused(
    shell: Shell, fix: Path, ran: str
) -> None:
    assert shell("undo", ran, cwd=fix).code == 2
    assert shell("apply", ran, "--yes", cwd=fix).code == 0
    again = shell("apply", ran, "--yes", cwd=fix)
    assert again.code == 2
    assert "already applied" in again.err


def test_files_that_run_by_themselves_are_listed_apart(shell: Shell) -> None:
    plan = 'write("notes.txt", "x")\nwrite(".envrc", "echo hi")\ndone("written")'
    folder = script(shell.folder / "t", plan)
    assert shell("run", str(folder)).code == 0
    said = shell("apply", only_run(folder).name, cwd=folder).err
    plain, apart = said.split("these run by themselves", 1)
    assert "  added    notes.txt" in plain
    assert ".envrc" not in plain
    assert "  added    .envrc  runs when a shell enters the folder (direnv)" in apart


def test_a_run_that_changed_nothing_has_nothing_to_apply(shell: Shell) -> None:
    folder = script(shell.folder / "t", 'done("nothing")')
    shell("run", str(folder))
    nothing = shell("apply", only_run(folder).name, cwd=folder)
    assert nothing.code == 0
    assert "nothing to apply" in nothing.err


def test_the_trace_does_not_choose_the_folder(shell: Shell, fix: Path, ran: str) -> None:
    """A run's folder that was copied elsewhere names the old folder in its trace."""
    other = shell.folder / "other"
    shutil.copytree(fix, other)
    moved = other / ".planloop" / "runs" / ran
    applied = shell("apply", str(moved), "--yes")
    assert applied.code == 0, applied.err
    assert (other / "adding.py").read_text() == FIXED
    assert (fix / "adding.py").read_text() != FIXED


def test_a_run_s_folder_outside_any_planloop_folder_is_refused(
    shell: Shell, fix: Path, ran: str
) -> None:
    loose = shell.folder / "loose"
    shutil.copytree(only_run(fix), loose)
    refused = shell("apply", str(loose), "--yes")
    assert refused.code == 2
    assert "does not lie in the `.planloop/runs` of a folder" in refused.err
