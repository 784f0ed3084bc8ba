"""Turn paths of a user's folder from one state into another, one atomic step at a time."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from planloop.errors import UserError
from planloop.workspace.changes import blob
from planloop.workspace.folders import chunks, created_file, folder_at, parent_of, write_all
from planloop.workspace.journal import OldFile
from planloop.workspace.looking import Seen, is_same
from planloop.workspace.manifest import Entry


@dataclasses.dataclass(frozen=True, kw_only=True)
class Turn:
    """One path: what was seen there, and what shall be."""

    path: str
    seen: Seen
    target: Entry | None
    temporary: str
    """Name of the file in the same folder that is written first."""
    old: OldFile | None = None
    """What the file has, or gets back, besides its content."""
    exact: bool = False
    """Give back exactly what `old` says; else only its owner, and its mode but for the x bit."""


class Changed(UserError):
    """A path is not what it was a moment ago."""

    def __init__(self, path: str) -> None:
        super().__init__(f"`{path}` was changed by someone else at this very moment")


class Turner:
    """Does the turns in one folder. Every step can be the last: a kill leaves a known state."""

    def __init__(self, root: int, run_dir: Path) -> None:
        self._root = root
        self._run_dir = run_dir

    def clear(self, turns: Iterable[Turn]) -> None:
        """Remove what an interrupted apply or undo has left of its temporary files."""
        for turn in turns:
            with contextlib.suppress(OSError), parent_of(self._root, turn.path) as (folder, _):
                os.unlink(turn.temporary, dir_fd=folder)

    def do(
        self, turns: Iterable[Turn], *, remove: Iterable[str], make: Mapping[str, int | None]
    ) -> None:
        """Delete what shall go, then folders that are empty now, then make folders, then write.

        Raises:
            Changed: a path was changed by someone else meanwhile.
            OSError: the file system refused.
        """
        turns = list(turns)
        for turn in sorted(turns, key=_depth, reverse=True):
            if turn.target is None and turn.seen.entry is not None:
                self._delete(turn)
        for path in sorted(remove, key=lambda path: path.count("/"), reverse=True):
            self._remove_if_empty(path)
        for path, mode in sorted(make.items(), key=lambda item: item[0].count("/")):
            self._make(path, mode)
        for turn in turns:
            if turn.target is not None and _differs(turn):
                self._write(turn, turn.target)
        self._settle(turns)

    def _delete(self, turn: Turn) -> None:
        with parent_of(self._root, turn.path) as (folder, name):
            self._check(turn, folder, name)
            os.unlink(name, dir_fd=folder)

    def _check(self, turn: Turn, folder: int, name: str) -> None:
        try:
            now = os.stat(name, dir_fd=folder, follow_symlinks=False)
        except FileNotFoundError:
            if turn.seen.status is None:
                return
            raise Changed(turn.path) from None
        if turn.seen.status is None or not is_same(now, turn.seen.status):
            raise Changed(turn.path)

    def _remove_if_empty(self, path: str) -> None:
        try:
            with parent_of(self._root, path) as (folder, name):
                os.rmdir(name, dir_fd=folder)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT, errno.ENOTDIR):
                raise

    def _make(self, path: str, mode: int | None) -> None:
        with parent_of(self._root, path) as (parent, name):
            with contextlib.suppress(FileExistsError):
                os.mkdir(name, 0o777, dir_fd=parent)
            if mode is not None:
                with folder_at(parent, name) as folder:
                    os.fchmod(folder, mode)

    def _write(self, turn: Turn, target: Entry) -> None:
        with parent_of(self._root, turn.path) as (folder, name):
            if target.target is not None:
                os.symlink(target.target, turn.temporary, dir_fd=folder)
            else:
                self._write_temporary(turn, target, folder)
            if turn.seen.status is None:
                self._put_new(turn, folder, name)
            else:
                self._check(turn, folder, name)
                os.replace(turn.temporary, name, src_dir_fd=folder, dst_dir_fd=folder)

    def _write_temporary(self, turn: Turn, target: Entry, folder: int) -> None:
        mode = 0o777 if target.mode & 0o111 else 0o666
        with (
            created_file(turn.temporary, folder, mode) as file,
            blob(self._run_dir, target.sha256) as content,
        ):
            for piece in chunks(content):
                write_all(file, piece)
            if turn.old is not None:
                _give_back(file, turn.old, target, exact=turn.exact)
            os.fsync(file)

    def _put_new(self, turn: Turn, folder: int, name: str) -> None:
        """Give the temporary file its name, unless someone has taken it meanwhile."""
        try:
            os.link(
                turn.temporary, name, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False
            )
        except FileExistsError:
            raise Changed(turn.path) from None
        except OSError:  # a file system without hard links
            self._check(turn, folder, name)
            os.replace(turn.temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
        else:
            os.unlink(turn.temporary, dir_fd=folder)

    def _settle(self, turns: Iterable[Turn]) -> None:
        """Have the folders themselves on disk."""
        for path in sorted({turn.path.rpartition("/")[0] for turn in turns}):
            with contextlib.suppress(OSError), folder_at(self._root, path) as folder:
                os.fsync(folder)


def _depth(turn: Turn) -> int:
    return turn.path.count("/")


def _differs(turn: Turn) -> bool:
    return turn.seen.entry != turn.target


def _give_back(file: int, old: OldFile, target: Entry, *, exact: bool) -> None:
    with contextlib.suppress(OSError):
        os.fchown(file, old.uid, old.gid)
    if exact:
        os.fchmod(file, old.mode & 0o777)  # never a setuid bit: the journal may be a stranger's
        os.utime(file, ns=(old.mtime_ns, old.mtime_ns))
        return
    mode = old.mode & 0o777
    if target.mode & 0o111:
        mode |= 0 if mode & 0o111 else (mode & 0o444) >> 2 | 0o100
    else:
        mode &= ~0o111
    os.fchmod(file, mode)
