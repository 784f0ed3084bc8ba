from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planloop.errors import InfrastructureError, UserError
from planloop.workspace import (
    Conflicts,
    apply_changes,
    diff,
    is_protected,
    runs_by_itself,
    save_changes,
    undo_changes,
)

from .trees import Tree, build, edited, patient, read, trees


def saved(base: Path, before: Tree, after: Tree) -> Path:
    """A run's folder that holds the changes between two trees."""
    old, new = build(before, base / "old"), build(after, base / "new")
    run = base / "run"
    run.mkdir()
    save_changes(diff(old, new), old, new, run)
    return run


def facts(folder: Path) -> dict[str, tuple[int, int]]:
    """Mode and time of every file: what undo gives back besides contents."""
    return {
        str(path.relative_to(folder)): (path.stat().st_mode, path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file() and not path.is_symlink()
    }


def folders(folder: Path) -> set[str]:
    found = (p for p in folder.rglob("*") if p.is_dir() and not p.is_symlink())
    return {str(path.relative_to(folder)) for path in found}


@patient
@given(before=trees(), data=st.data())
def test_apply_gives_exactly_the_result_and_undo_exactly_the_original(
    before: Tree, data: st.DataObject
) -> None:
    after = data.draw(edited(before))
    with TemporaryDirectory() as base:
        run = saved(Path(base), before, after)
        mine = build(before, Path(base, "mine"))
        was, dirs = facts(mine), folders(mine)
        for _ in range(2):
            applied = apply_changes(run, mine)
            assert read(mine) == after
            assert set(applied.written) == {p for p, f in after.items() if before.get(p) != f}
            assert set(applied.deleted) == before.keys() - after.keys()
            undo_changes(run, mine)
            assert read(mine) == before
            assert facts(mine) == was
            assert folders(mine) == dirs
        assert undo_changes(run, mine) == undo_changes(run, mine)


def test_other_files_of_the_user_are_left_alone(tmp_path: Path) -> None:
    run = saved(tmp_path, {"d/a": (b"1", False)}, {"d/b/c": (b"2", False)})
    mine = build({"d/a": (b"1", False), ".env": (b"x", False), "d/mine": "a"}, tmp_path / "mine")
    apply_changes(run, mine)
    assert read(mine) == {"d/b/c": (b"2", False), ".env": (b"x", False), "d/mine": "a"}


def test_modes_owners_and_times_survive(tmp_path: Path) -> None:
    run = saved(
        tmp_path,
        {"a": (b"1", False), "b": (b"1", False), "gone/x": (b"1", False)},
        {"a": (b"2", False), "b": (b"1", True)},
    )
    mine = build(
        {"a": (b"1", False), "b": (b"1", False), "gone/x": (b"1", False)}, tmp_path / "mine"
    )
    (mine / "a").chmod(0o640)
    (mine / "b").chmod(0o600)
    (mine / "gone").chmod(0o750)
    os.utime(mine / "a", (1, 1))
    was = facts(mine)
    apply_changes(run, mine)
    assert {name: oct(mode & 0o777) for name, (mode, _) in facts(mine).items()} == {
        "a": "0o640",
        "b": "0o700",
    }
    assert not (mine / "gone").exists()
    undo_changes(run, mine)
    assert facts(mine) == was
    assert (mine / "gone").stat().st_mode & 0o777 == 0o750


def test_every_conflict_is_named_and_nothing_is_written(tmp_path: Path) -> None:
    before: Tree = dict.fromkeys(("edited", "gone", "swapped", "d/inside", "x"), (b"1", False))
    after: Tree = dict.fromkeys(("edited", "gone", "swapped", "d/inside", "new"), (b"2", False))
    run = saved(tmp_path, before, {**after, "x": (b"1", True)})
    outside = build({"inside": (b"1", False)}, tmp_path / "outside")
    mine = build(
        {"edited": (b"mine", False), "new": (b"mine", False), "x": (b"1", False)}, tmp_path / "m"
    )
    (mine / "swapped").mkdir()
    (mine / "d").symlink_to(outside)
    state = read(mine)
    with pytest.raises(Conflicts) as caught:
        apply_changes(run, mine)
    assert dict(caught.value.conflicts) == {
        "d/inside": "`d` on its way is a link",
        "edited": "differs from the copy that the run worked on",
        "gone": "is gone since the copy was made",
        "new": "exists, but was left out of the copy or appeared since",
        "swapped": "is a folder with other files",
    }
    assert all(f"`{path}`" in str(caught.value) for path, _ in caught.value.conflicts)
    assert read(mine) == state
    assert read(outside) == {"inside": (b"1", False)}
    assert not (run / "apply.json").exists()


def test_links_are_never_followed_neither_in_the_way_nor_at_the_end(tmp_path: Path) -> None:
    run = saved(tmp_path, {"a": (b"1", False)}, {"a": (b"2", False), "new/sub/f": (b"2", False)})
    victim = build({"a": (b"1", False), "sub/f": (b"2", False)}, tmp_path / "victim")
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "a").symlink_to(victim / "a")
    (mine / "new").symlink_to(victim)
    with pytest.raises(Conflicts) as caught:
        apply_changes(run, mine)
    assert {path for path, _ in caught.value.conflicts} == {"a", "new/sub/f"}
    assert read(victim) == {"a": (b"1", False), "sub/f": (b"2", False)}


def test_a_special_file_in_the_way_is_a_conflict(tmp_path: Path) -> None:
    run = saved(tmp_path, {"a": (b"1", False)}, {"a": (b"2", False)})
    mine = tmp_path / "mine"
    mine.mkdir()
    os.mkfifo(mine / "a")
    with pytest.raises(Conflicts, match="special file"):
        apply_changes(run, mine)


PROTECTED = [
    ".git/hooks/x",
    ".GIT/hooks/x",
    "sub/.git/config",
    ".git",
    ".Planloop/runs/x",
    ".git./config",
]
PROTECTED += [
    ".git /x",
    ".gi\u200ct/config",
    "GIT~1/config",
    ".git::$INDEX_ALLOCATION/x",
    "a\\.git\\x",
]


@pytest.mark.parametrize("path", PROTECTED)
def test_a_forged_change_of_a_protected_path_is_refused(tmp_path: Path, path: str) -> None:
    run = saved(tmp_path, {}, {"plain/file": (b"#!/bin/sh\n", True)})
    text = (run / "changes.json").read_text()
    (run / "changes.json").write_text(text.replace("plain/file", json.dumps(path)[1:-1]))
    mine = build({}, tmp_path / "mine")
    with pytest.raises(Conflicts, match="never touches"):
        apply_changes(run, mine)
    assert read(mine) == {}
    assert is_protected(path)


@pytest.mark.parametrize(
    "path", [".gitignore", ".github/x", "git/x", "a.git/x", ".gitx", "planloop/x"]
)
def test_neighbours_of_protected_names_are_not_protected(path: str) -> None:
    assert not is_protected(path)


def forge(run: Path, change: Callable[[dict[str, object]], object]) -> None:
    plain = json.loads((run / "changes.json").read_text())
    change(plain["changes"][0])
    (run / "changes.json").write_text(json.dumps(plain))


@pytest.mark.parametrize(
    "change",
    [
        lambda one: one.update(path="../victim"),
        lambda one: one.update(path="/etc/passwd"),
        lambda one: one.update(path="a/../.git/hooks/x"),
        lambda one: one.update(path="a//b"),
        lambda one: one.update(path=""),
        lambda one: one.update(path=7),
        lambda one: one.update(path="a\0b"),
        lambda one: one.update(after={**one["after"], "sha256": "../../x"}),
        lambda one: one.update(after={**one["after"], "mode": 0o4755}),
        lambda one: one.update(after={"kind": "link", "target": "/etc/passwd"}),
        lambda one: one.update(after={"kind": "link", "target": "x/../../y"}),
        lambda one: one.update(after=None),
        lambda one: one.pop("before"),
        lambda one: one.update(kind="strange"),
    ],
)
def test_a_forged_run_folder_is_refused(
    tmp_path: Path, change: Callable[[dict[str, object]], object]
) -> None:
    run = saved(tmp_path, {}, {"a": (b"1", False)})
    forge(run, change)
    mine = build({}, tmp_path / "mine")
    with pytest.raises(InfrastructureError, match="damaged"):
        apply_changes(run, mine)
    assert read(mine) == {}


def test_a_changed_or_missing_content_is_noticed_before_anything_is_written(tmp_path: Path) -> None:
    run = saved(tmp_path, {}, {"a": (b"1", False), "b": (b"2", False)})
    mine = build({}, tmp_path / "mine")
    (blob, other) = sorted((run / "files").iterdir())
    content = blob.read_bytes()
    blob.write_bytes(b"evil")
    with pytest.raises(InfrastructureError, match="does not hold what it should"):
        apply_changes(run, mine)
    blob.write_bytes(content)
    other.unlink()
    other.symlink_to("/etc/passwd")
    with pytest.raises((InfrastructureError, UserError)):
        apply_changes(run, mine)
    assert read(mine) == {}


def test_garbage_in_the_run_folder_is_a_clear_error(tmp_path: Path) -> None:
    mine = build({}, tmp_path / "mine")
    run = tmp_path / "run"
    run.mkdir()
    with pytest.raises(UserError, match="saved no changes"):
        apply_changes(run, mine)
    with pytest.raises(UserError, match="not applied"):
        undo_changes(run, mine)
    for garbage in ("{", "[]", '{"version": 99, "changes": []}', "[" * 100_000, '{"version": 1}'):
        (run / "changes.json").write_text(garbage)
        with pytest.raises(InfrastructureError):
            apply_changes(run, mine)
    with pytest.raises(UserError):
        apply_changes(tmp_path / "nothing", mine)
    with pytest.raises(UserError):
        apply_changes(run, tmp_path / "nothing")


def test_applying_twice_is_refused_and_applying_after_undo_works(tmp_path: Path) -> None:
    run = saved(tmp_path, {"a": (b"1", False)}, {"a": (b"2", False)})
    mine = build({"a": (b"1", False)}, tmp_path / "mine")
    apply_changes(run, mine)
    with pytest.raises(UserError, match="already applied"):
        apply_changes(run, mine)
    assert undo_changes(run, mine).restored == ("a",)
    assert undo_changes(run, mine).restored == ()
    apply_changes(run, mine)
    assert read(mine) == {"a": (b"2", False)}


def test_undo_refuses_where_the_user_went_on_working(tmp_path: Path) -> None:
    before: Tree = {"a": (b"1", False), "gone": (b"1", False), "kept": (b"1", False)}
    run = saved(tmp_path, before, {"a": (b"2", False), "kept": (b"2", False), "new": (b"2", False)})
    mine = build(before, tmp_path / "mine")
    apply_changes(run, mine)
    build({"a": (b"mine", False), "gone": (b"mine", False)}, mine)
    (mine / "new").unlink()
    state = read(mine)
    with pytest.raises(Conflicts) as caught:
        undo_changes(run, mine)
    assert dict(caught.value.conflicts) == {
        "a": "was changed after the apply",
        "gone": "was changed after the apply",
    }
    assert read(mine) == state
    build({"a": (b"2", False)}, mine)
    (mine / "gone").unlink()
    assert undo_changes(run, mine).restored == ("a", "gone", "kept")
    assert read(mine) == before


def test_undo_keeps_what_the_user_added_beside_the_result(tmp_path: Path) -> None:
    run = saved(tmp_path, {}, {"new/a": (b"1", False)})
    mine = build({}, tmp_path / "mine")
    apply_changes(run, mine)
    build({"new/mine": (b"x", False)}, mine)
    undo_changes(run, mine)
    assert read(mine) == {"new/mine": (b"x", False)}


def test_undo_of_another_folder_is_refused(tmp_path: Path) -> None:
    run = saved(tmp_path, {"a": (b"1", False)}, {"a": (b"2", False)})
    mine, other = (build({"a": (b"1", False)}, tmp_path / name) for name in ("mine", "other"))
    apply_changes(run, mine)
    with pytest.raises(UserError, match="was applied to"):
        undo_changes(run, other)


def test_an_apply_that_the_file_system_refuses_is_taken_back(tmp_path: Path) -> None:
    before: Tree = {"a": (b"1", False), "b/c": (b"1", False), "z": (b"1", False)}
    run = saved(
        tmp_path, before, {"a": (b"2", False), "n": (b"2", False), "z/y": (b"3" * 99, False)}
    )
    mine = build(before, tmp_path / "mine")
    script = f"""
import resource, signal, sys
from pathlib import Path
from planloop.workspace import apply_changes
from planloop.workspace.writing import Turner
real = Turner._write
def full(self, turn, target):
    if turn.path == "z/y":
        raise OSError(28, "No space left on device")
    real(self, turn, target)
Turner._write = full
apply_changes(Path({str(run)!r}), Path({str(mine)!r}))
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert "No space left on device; what it had written is taken back" in done.stderr
    assert read(mine) == before
    assert undo_changes(run, mine).restored == ()


def test_two_at_once_on_one_folder_are_refused(tmp_path: Path) -> None:
    import fcntl

    run = saved(tmp_path, {}, {"a": (b"1", False)})
    mine = build({}, tmp_path / "mine")
    with open_folder(mine) as descriptor:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        with pytest.raises(UserError, match="another apply or undo"):
            apply_changes(run, mine)
    apply_changes(run, mine)


class open_folder:
    def __init__(self, folder: Path) -> None:
        self.descriptor = os.open(folder, os.O_RDONLY)

    def __enter__(self) -> int:
        return self.descriptor

    def __exit__(self, *_: object) -> None:
        os.close(self.descriptor)


def test_files_that_run_by_themselves_are_listed_apart(tmp_path: Path) -> None:
    after: Tree = dict.fromkeys((".envrc", ".github/workflows/ci.yml", "src/a.py"), (b"x", False))
    after |= dict.fromkeys(
        (".vscode/tasks.json", ".husky/pre-commit", "conftest.py"), (b"x", False)
    )
    run = saved(tmp_path, {}, after)
    applied = apply_changes(run, build({}, tmp_path / "mine"))
    assert [line.partition(":")[0] for line in applied.runs_by_itself] == [
        ".envrc",
        ".github/workflows/ci.yml",
        ".husky/pre-commit",
        ".vscode/tasks.json",
    ]
    assert runs_by_itself("sub/.ENVRC") == "runs when a shell enters the folder (direnv)"
    assert runs_by_itself("Makefile") is None


KILLED: list[tuple[Tree, Tree]] = [
    (
        {
            "a": (b"1", False),
            "d/b": (b"1", True),
            "d/e/c": (b"1", False),
            "l": "a",
            "f": (b"x", False),
        },
        {
            "a": (b"2", False),
            "d/n/n": (b"2", False),
            "d/e": (b"2", False),
            "l": "f",
            "f/g/h": (b"y", True),
        },
    ),
    ({"x/y/z": (b"1", False), "m": (b"1", False)}, {"x": "m", "m": (b"1", True)}),
]


@pytest.mark.parametrize("case", range(len(KILLED)))
@pytest.mark.parametrize("verb", ["apply", "undo"])
def test_a_kill_at_any_step_leaves_what_undo_restores(tmp_path: Path, case: int, verb: str) -> None:
    """SIGKILL before each step that the file system sees, then undo, in a real process."""
    before, after = KILLED[case]
    run = saved(tmp_path, before, after)
    driver = Path(__file__).with_name("kill_driver.py")
    done = subprocess.run(
        [sys.executable, driver, verb, run, tmp_path],
        input=repr(before),
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    outcomes = json.loads(done.stdout)
    trees_seen = [dict(tree) for tree in map(eval, outcomes["killed"])]
    assert len(trees_seen) > 25
    assert [eval(tree) for tree in outcomes["undone"]] == [before] * len(trees_seen)
    assert before in trees_seen
    assert after in trees_seen
    assert outcomes["facts_kept"]
