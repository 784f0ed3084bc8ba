"""Snapshots as such: incremental, each content once, exact, and bound to the folder."""

from __future__ import annotations

import contextlib
import mmap
import os
import shutil
import stat
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from planloop.sandbox import Snapshot
from planloop.sandboxes import tree
from planloop.sandboxes.files import Files
from planloop.sandboxes.snapshots import Snapshots

Look = dict[str, tuple[str, int, int, bytes | str | None]]


class Workspace:
    """A folder with its snapshots."""

    def __init__(self, base: Path) -> None:
        self.folder = base / "workspace"
        self.folder.mkdir()
        self.files = Files(tree.open_root(self.folder), None)
        self.snapshots = Snapshots(base / "state", "test")
        self.kept = next((base / "state").glob("*/contents"))

    def take(self, living_since_ns: int | None = None) -> Snapshot:
        return self.snapshots.take(self.files, living_since_ns)

    def restore(self, snapshot: Snapshot) -> None:
        self.snapshots.restore(snapshot, self.files)

    def close(self) -> None:
        self.files.close()
        self.snapshots.remove()

    def look(self) -> Look:
        return {
            os.path.relpath(path, self.folder): _entry(path)
            for path in [self.folder, *self.folder.rglob("*")]
        }


def _entry(path: Path) -> tuple[str, int, int, bytes | str | None]:
    found = path.lstat()
    if stat.S_ISLNK(found.st_mode):
        return "link", 0, 0, os.readlink(path)
    content = _content(path) if stat.S_ISREG(found.st_mode) else None
    kind = "folder" if content is None else "file"
    return kind, stat.S_IMODE(found.st_mode), found.st_mtime_ns, content


def _content(path: Path) -> bytes:
    """What is in a file of ours, whatever its mode says."""
    mode = stat.S_IMODE(path.stat().st_mode)
    path.chmod(mode | 0o400)
    try:
        return path.read_bytes()
    finally:
        path.chmod(mode)


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    made = Workspace(tmp_path)
    yield made
    made.close()


def wait_a_tick() -> None:
    """Until a change gets another time than those before, with room to spare."""
    threading.Event().wait(0.05)


def test_what_did_not_change_is_not_read_again(workspace: Workspace) -> None:
    for number in range(5):
        (workspace.folder / str(number)).write_bytes(b"%d" % number)
    wait_a_tick()
    workspace.take()
    for kept in workspace.kept.iterdir():
        kept.unlink()
    (workspace.folder / "0").write_bytes(b"new")
    workspace.take()
    assert [path.read_bytes() for path in workspace.kept.iterdir()] == [b"new"]


def test_equal_contents_are_kept_once_and_go_with_their_last_snapshot(
    workspace: Workspace,
) -> None:
    (workspace.folder / "a").write_bytes(b"same")
    (workspace.folder / "b").write_bytes(b"same")
    first = workspace.take()
    assert len(os.listdir(workspace.kept)) == 1
    (workspace.folder / "b").write_bytes(b"other")
    second = workspace.take()
    assert len(os.listdir(workspace.kept)) == 2
    (workspace.folder / "b").unlink()
    third = workspace.take()
    workspace.snapshots.forget(second)
    assert len(os.listdir(workspace.kept)) == 1
    workspace.snapshots.forget(third)
    workspace.restore(first)
    assert (workspace.folder / "b").read_bytes() == b"same"


def test_a_forgotten_snapshot_does_not_take_what_the_next_one_needs(workspace: Workspace) -> None:
    (workspace.folder / "a").write_bytes(b"x")
    wait_a_tick()
    workspace.snapshots.forget(workspace.take())
    second = workspace.take()
    (workspace.folder / "a").unlink()
    workspace.restore(second)
    assert (workspace.folder / "a").read_bytes() == b"x"


def test_a_write_in_the_very_tick_of_a_snapshot_is_seen_by_the_next(workspace: Workspace) -> None:
    """Size and mtime put back; only that the stamp is too young to be trusted can tell."""
    path = workspace.folder / "f"
    for number in range(40):
        path.write_bytes(b"a%03d" % number)
        os.utime(path, ns=(1, 1))
        first = workspace.take()
        path.write_bytes(b"b%03d" % number)
        os.utime(path, ns=(1, 1))
        second = workspace.take()
        workspace.restore(first)
        assert path.read_bytes() == b"a%03d" % number
        workspace.restore(second)
        assert path.read_bytes() == b"b%03d" % number


def test_what_a_living_process_may_have_mapped_is_read_again(workspace: Workspace) -> None:
    path = workspace.folder / "f"
    path.write_bytes(b"...")
    born = time.time_ns()
    wait_a_tick()
    with mapped(path) as content:
        content[:] = b"old"
        wait_a_tick()
        first = workspace.take(living_since_ns=born)
        content[:] = b"new"
        second = workspace.take(living_since_ns=born)
    workspace.restore(first)
    assert path.read_bytes() == b"old"
    workspace.restore(second)
    assert path.read_bytes() == b"new"


def test_a_restore_finds_a_change_that_no_stamp_shows(workspace: Workspace) -> None:
    path = workspace.folder / "f"
    path.write_bytes(b"...")
    with mapped(path) as content:
        content[:] = b"old"
        wait_a_tick()
        snapshot = workspace.take()
        content[:] = b"new"
    workspace.restore(snapshot)
    assert path.read_bytes() == b"old"


@contextlib.contextmanager
def mapped(path: Path) -> Iterator[mmap.mmap]:
    """A file's content in memory: only the first write to it gives the file a new time."""
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as content:
        yield content


def test_sparse_and_large_files_come_back_and_cost_what_they_hold(workspace: Workspace) -> None:
    large = os.urandom(3_000_000)
    (workspace.folder / "large").write_bytes(large)
    with (workspace.folder / "sparse").open("wb") as file:
        file.truncate(1 << 40)
        file.seek(1 << 39)
        file.write(b"island")
    snapshot = workspace.take()
    shutil.rmtree(workspace.folder / "sparse", ignore_errors=True)
    os.unlink(workspace.folder / "sparse")
    (workspace.folder / "large").write_bytes(b"")
    workspace.restore(snapshot)
    assert (workspace.folder / "large").read_bytes() == large
    found = (workspace.folder / "sparse").stat()
    assert (found.st_size, found.st_blocks < 1000) == (1 << 40, True)
    with (workspace.folder / "sparse").open("rb") as file:
        file.seek(1 << 39)
        assert file.read(6) == b"island"


def test_a_second_name_of_a_file_does_not_tie_two_files_together(workspace: Workspace) -> None:
    (workspace.folder / "a").write_bytes(b"same")
    (workspace.folder / "b").write_bytes(b"same")
    snapshot = workspace.take()
    (workspace.folder / "b").unlink()
    os.link(workspace.folder / "a", workspace.folder / "b")
    workspace.restore(snapshot)
    assert {path.stat().st_nlink for path in workspace.folder.iterdir()} == {1}


def test_folders_too_deep_are_left_out_and_cleared(workspace: Workspace) -> None:
    snapshot = workspace.take()
    here = os.open(workspace.folder, os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("deep", dir_fd=here)
        inner = os.open("deep", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = inner
    os.close(here)
    deep = workspace.take()
    workspace.restore(snapshot)
    assert os.listdir(workspace.folder) == []
    workspace.restore(deep)
    workspace.restore(snapshot)
    assert os.listdir(workspace.folder) == []


NAMES = st.sampled_from(["a", "b", "c", "\udcff", "x y", "é\n"])
CONTENTS = st.sampled_from([b"", b"one", b"two", b"1" * 70_000])


@st.composite
def trees(draw: st.DrawFn, depth: int = 2) -> dict[str, object]:
    """Nested folders (records), files (bytes with modes) and links (text)."""
    kinds: list[st.SearchStrategy[object]] = [
        st.tuples(CONTENTS, st.sampled_from([0o644, 0o755, 0o400, 0o000])),
        st.sampled_from(["a", "../b", "/etc/passwd", "nowhere"]),
    ]
    if depth:
        kinds.append(trees(depth - 1))
    return draw(st.dictionaries(NAMES, st.one_of(kinds), max_size=4))


def build(folder: Path, wanted: dict[str, object]) -> None:
    """Change a folder to hold exactly `wanted`, leaving equal files alone."""
    for path in folder.iterdir():
        if path.name not in wanted or isinstance(wanted[path.name], (dict, str)):
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        elif path.is_symlink() or not path.is_file():
            path.unlink() if path.is_symlink() else shutil.rmtree(path)
    for name, what in wanted.items():
        path = folder / name
        match what:
            case dict():
                path.mkdir()
                build(path, what)
            case str():
                path.symlink_to(what)
            case (bytes() as data, int() as mode):
                if not path.exists() or _content(path) != data:
                    path.unlink(missing_ok=True)
                    path.write_bytes(data)
                path.chmod(mode)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)
@given(st.lists(trees(), min_size=2, max_size=5), st.data())
def test_any_state_comes_back_exactly(states: list[dict[str, object]], data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as base:
        workspace = Workspace(Path(base))
        try:
            taken: list[tuple[Snapshot, Look]] = []
            for state in states:
                build(workspace.folder, state)
                taken.append((workspace.take(), workspace.look()))
            for _ in range(4):
                snapshot, look = data.draw(st.sampled_from(taken))
                if data.draw(st.booleans()):
                    build(workspace.folder, data.draw(trees()))
                workspace.restore(snapshot)
                assert workspace.look() == look
        finally:
            workspace.close()
