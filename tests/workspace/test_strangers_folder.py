"""A folder that came from a stranger with a `.planloop` in it."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest

from planloop.cli.runs import folder_of
from planloop.errors import TraceDamaged, UserError
from planloop.events import Warned, to_json
from planloop.trace.log import read_log
from planloop.trace.store import RunStore, find_run
from planloop.workspace import apply_changes, undo_changes


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    (tmp_path / "elsewhere").mkdir()
    return tmp_path / "elsewhere"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "cloned" / ".planloop").mkdir(parents=True)
    return tmp_path / "cloned"


@pytest.mark.parametrize("name", [".planloop", ".planloop/runs"])
def test_a_run_is_never_written_through_a_link(folder: Path, elsewhere: Path, name: str) -> None:
    if name == ".planloop":
        (folder / name).rmdir()
    (folder / name).symlink_to(elsewhere)
    with pytest.raises(UserError, match=r"is not a folder of planloop's"):
        RunStore(folder).create("abcdefgh")
    assert list(elsewhere.iterdir()) == []


def test_its_ignore_file_is_never_written_through_a_link(folder: Path, elsewhere: Path) -> None:
    (folder / ".planloop" / ".gitignore").symlink_to(elsewhere / "victim")
    RunStore(folder).create("abcdefgh")
    assert list(elsewhere.iterdir()) == []


def test_folders_open_to_others_become_private(folder: Path) -> None:
    (folder / ".planloop" / "runs").mkdir()
    for name in (".planloop", ".planloop/runs"):
        (folder / name).chmod(0o777)
    made = RunStore(folder).create("abcdefgh")
    assert [one.stat().st_mode & 0o777 for one in (made, *list(made.parents)[:2])] == [0o700] * 3


def one_blob(folder: Path) -> Path:
    """A run whose trace names a blob that is not there; returns where it would lie."""
    (folder / "blobs").mkdir(parents=True)
    blob = folder / "blobs" / ("a" * 64)
    line = {"seq": 1, "at": 1.0, **to_json(Warned(text="x")), "blobs": {"text": blob.name}}
    (folder / "trace.jsonl").write_text(json.dumps(line) + "\n")
    return blob


@pytest.mark.parametrize("what", ["pipe", "endless", "folder"])
def test_a_blob_that_is_no_file_is_refused_and_not_waited_for(tmp_path: Path, what: str) -> None:
    blob = one_blob(tmp_path / "run")
    if what == "pipe":
        os.mkfifo(blob)
    elif what == "folder":
        blob.mkdir()
    else:
        blob.symlink_to("/dev/zero")
    with pytest.raises(TraceDamaged, match="blob aaaaaaaaaaaa"):
        read_log(tmp_path / "run")


def test_a_trace_that_is_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "trace.jsonl")
    with pytest.raises(UserError, match="no regular file"):
        read_log(tmp_path)


HASH = hashlib.sha256(b"x").hexdigest()
FILE = {"kind": "file", "mode": 0o644, "size": 1, "sha256": HASH, "target": None}


def forged(folder: Path, **change: Any) -> Path:
    """A run's folder as a stranger ships it, with one change; named fields replace honest ones."""
    run = folder / ".planloop" / "runs" / "abcdefgh"
    (run / "files").mkdir(parents=True)
    (run / "files" / HASH).write_bytes(b"x")
    (run / "trace.jsonl").write_text("")
    honest = {"path": "new", "kind": "added", "before": None, "after": FILE}
    changes = {"version": 1, "changes": [{**honest, **change}]}
    (run / "changes.json").write_text(json.dumps(changes))
    return run


@pytest.mark.parametrize(
    "change",
    [
        {"path": "../new"},
        {"path": "/tmp/new"},
        {"path": "a/../../new"},
        {"path": "\ud800"},
        {"path": 7},
        {"kind": "changed"},
        {"kind": ["added"]},
        {"before": FILE, "after": None},
        {"after": {**FILE, "mode": 0o4755}},
        {"after": {**FILE, "sha256": "../../x"}},
        {"after": {"kind": "link", "target": "../x"}},
        {"after": {"kind": "link", "target": "/etc/passwd"}},
        {"after": {"kind": "link", "target": "a\0b"}},
        {"after": {"kind": "link", "target": "\ud800"}},
    ],
    ids=repr,
)
def test_changes_that_planloop_would_not_write_are_refused(
    folder: Path, change: dict[str, Any]
) -> None:
    run = forged(folder, **change)
    before = sorted(folder.rglob("*"))
    with pytest.raises(TraceDamaged, match="is damaged"):
        apply_changes(run, folder)
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize("path", [".git/hooks/pre-commit", "a/.GIT/x", ".planloop/x", "GIT~1/x"])
def test_protected_paths_are_refused_whoever_names_them(folder: Path, path: str) -> None:
    with pytest.raises(UserError, match="never touches this path"):
        apply_changes(forged(folder, path=path), folder)


@pytest.mark.parametrize("what", ["other content", "a pipe", "a link", "nothing"])
def test_a_content_that_is_not_what_its_name_says_is_refused(folder: Path, what: str) -> None:
    run = forged(folder)
    blob = run / "files" / HASH
    blob.unlink()
    if what == "other content":
        blob.write_bytes(b"y")
    elif what == "a pipe":
        os.mkfifo(blob)
    elif what == "a link":
        blob.symlink_to("/etc/passwd")
    with pytest.raises((UserError, TraceDamaged)):
        apply_changes(run, folder)
    assert not (folder / "new").exists()


@pytest.mark.parametrize(
    "change",
    [
        {"made": ["../.."]},
        {"removed": [[".git", 0o755]]},
        {"old": {"new": {"mode": 0o644, "mtime_ns": 10**30, "uid": 0, "gid": 0}}},
        {"old": {"new": {"mode": 0o644, "mtime_ns": 0, "uid": -5, "gid": 0}}},
        {"old": {"new": {"mode": 0o644, "mtime_ns": 0, "uid": 0, "gid": 10**20}}},
        {"old": {"new": {"mode": "1", "mtime_ns": 0, "uid": 0, "gid": 0}}},
    ],
    ids=repr,
)
def test_a_journal_that_planloop_would_not_write_is_refused(
    folder: Path, change: dict[str, Any]
) -> None:
    run = forged(folder)
    (folder / "new").write_bytes(b"x")
    honest = {"version": 1, "state": "applied", "folder": os.path.realpath(folder)}
    honest |= {"token": "0" * 16, "made": [], "removed": [], "old": {}}
    (run / "apply.json").write_text(json.dumps({**honest, **change}))
    with pytest.raises(TraceDamaged, match="is damaged"):
        undo_changes(run, folder)
    assert (folder / "new").read_bytes() == b"x"


@pytest.mark.parametrize("name", [".planloop", ".planloop/runs", ".planloop/runs/abcdefgh"])
def test_a_run_of_another_folder_behind_a_link_is_refused(
    folder: Path, tmp_path: Path, name: str
) -> None:
    forged(folder)
    here = tmp_path / "here"
    (here / name).parent.mkdir(parents=True)
    (here / name).symlink_to(folder / name)
    with pytest.raises(UserError, match="is a link"):
        folder_of(find_run("abcdefgh", here))
