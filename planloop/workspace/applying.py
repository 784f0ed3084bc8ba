"""`apply` and `undo`: a run's changes in the user's own folder, all of them or none.

A kill at any moment leaves the folder as before, as after, or as `undo` restores it: the journal
and all contents are on disk before the first write, and each file changes by one rename.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import secrets
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from planloop.errors import UserError
from planloop.text import one_line
from planloop.workspace.changes import load_changes, verify_blobs
from planloop.workspace.diffing import Change
from planloop.workspace.folders import folder_at, parents_of
from planloop.workspace.journal import Journal, OldFile, read_journal, write_journal
from planloop.workspace.looking import Look, Seen
from planloop.workspace.protected import is_protected, runs_by_itself
from planloop.workspace.writing import Turn, Turner


@dataclasses.dataclass(frozen=True, kw_only=True)
class Applied:
    """What an apply did."""

    written: tuple[str, ...]
    deleted: tuple[str, ...]
    runs_by_itself: tuple[str, ...]
    """Written files that run without anybody naming them, each with the reason."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Undone:
    """What an undo did. Both are empty if there was nothing left to take back."""

    restored: tuple[str, ...]
    removed: tuple[str, ...]


class Conflicts(UserError):
    """Paths that keep an apply or undo from starting. Nothing was written."""

    def __init__(self, what: str, conflicts: Sequence[tuple[str, str]], *, hint: str) -> None:
        lines = "".join(f"\n  `{one_line(path, 400)}`: {why}" for path, why in conflicts)
        super().__init__(f"{what}; nothing was written:{lines}", hint=hint)
        self.conflicts = tuple(conflicts)


def apply_changes(run_dir: Path, folder: Path) -> Applied:
    """Make a run's changes in the user's folder.

    Raises:
        Conflicts: the folder is no longer what the run worked on; every path is named.
        UserError: already applied, interrupted before, or the file system refused (then what was
            done is taken back).
        TraceDamaged: the run's own files are not as planloop left them.
    """
    with _at_work(run_dir, folder) as root:
        changes = load_changes(run_dir)
        _refuse_second(run_dir)
        seen = _look(root, changes)
        _refuse_conflicts(changes, seen)
        verify_blobs(run_dir, changes)
        journal = _new_journal(root, folder, changes, seen)
        write_journal(run_dir, journal)
        try:
            _turn_forward(Turner(root, run_dir), changes, seen, journal)
        except BaseException as error:
            _take_back(root, run_dir, changes, journal, error)
            raise
        write_journal(run_dir, dataclasses.replace(journal, state="applied"))
    return _applied(changes)


def undo_changes(run_dir: Path, folder: Path) -> Undone:
    """Take back a run's apply, complete or interrupted. Doing it twice changes nothing.

    Raises:
        Conflicts: files were changed after the apply; every one is named.
        UserError: the run was never applied, or to another folder, or the file system refused.
        TraceDamaged: the run's own files are not as planloop left them.
    """
    with _at_work(run_dir, folder) as root:
        journal = read_journal(run_dir)
        if journal is None:
            raise UserError("this run was not applied", hint="there is nothing to undo")
        _refuse_other_folder(journal, folder)
        if journal.state == "undone":
            return Undone(restored=(), removed=())
        changes = load_changes(run_dir)
        try:
            return _turn_back(root, run_dir, changes, journal)
        except OSError as error:
            raise UserError(
                f"the undo stopped half way: {error.strerror or error}",
                hint="remove the cause and run the same undo again; it goes on where it stopped",
            ) from None


@contextlib.contextmanager
def _at_work(run_dir: Path, folder: Path) -> Iterator[int]:
    """The user's folder, held against other applies until the block ends."""
    try:
        root = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise UserError(f"`{folder}` cannot be opened: {error.strerror}") from None
    try:
        _refuse_strangers_run(run_dir, root)
        _hold(root, folder)
        yield root
    except OSError as error:
        raise UserError(
            f"stopped before anything was written: {error.strerror or error}",
            hint="check that the disk has room and that the files may be read",
        ) from None
    finally:
        os.close(root)


def _refuse_strangers_run(run_dir: Path, root: int) -> None:
    try:
        owner = os.lstat(run_dir)
    except OSError as error:
        raise UserError(f"`{run_dir}` cannot be read: {error.strerror}") from None
    if owner.st_uid not in (os.geteuid(), os.fstat(root).st_uid) or not stat.S_ISDIR(owner.st_mode):
        raise UserError(f"`{run_dir}` is not a run folder of yours")


def _hold(root: int, folder: Path) -> None:
    try:
        import fcntl
    except ImportError:  # no such locks on this system; the checks of each file remain
        return
    try:
        fcntl.flock(root, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise UserError(f"another apply or undo is at work in `{folder}`") from None
    except OSError:  # a file system without locks
        return


def _refuse_second(run_dir: Path) -> None:
    journal = read_journal(run_dir)
    if journal is None or journal.state == "undone":
        return
    if journal.state == "applied":
        raise UserError(
            f"this run is already applied to `{journal.folder}`",
            hint="`planloop undo` takes it back",
        )
    raise UserError(
        f"an apply of this run to `{journal.folder}` was interrupted",
        hint="run `planloop undo` first; it restores the folder",
    )


def _refuse_other_folder(journal: Journal, folder: Path) -> None:
    if os.path.realpath(folder) != journal.folder:
        raise UserError(
            f"this run was applied to `{journal.folder}`, not to `{folder}`",
            hint="name the folder that it was applied to",
        )


def _look(root: int, changes: tuple[Change, ...]) -> dict[str, Seen]:
    look = Look(root, [change.path for change in changes])
    return {change.path: look.at(change.path) for change in changes}


def _refuse_conflicts(changes: tuple[Change, ...], seen: dict[str, Seen]) -> None:
    found = [
        (change.path, why)
        for change in changes
        if (why := _conflict(change, seen[change.path])) is not None
    ]
    if found:
        raise Conflicts(
            "the changes do not fit the folder any more",
            found,
            hint="undo or move what was changed there, or run the task again",
        )


def _conflict(change: Change, seen: Seen) -> str | None:
    if is_protected(change.path):
        return "planloop never touches this path"
    if seen.problem is not None:
        return seen.problem
    if seen.entry == change.before:
        return None
    if change.before is None:
        return "exists, but was left out of the copy or appeared since"
    if seen.entry is None:
        return "is gone since the copy was made"
    return "differs from the copy that the run worked on"


def _new_journal(
    root: int, folder: Path, changes: tuple[Change, ...], seen: dict[str, Seen]
) -> Journal:
    written = [change.path for change in changes if change.after is not None]
    deleted = [change.path for change in changes if change.after is None]
    needed = sorted({above for path in written for above in parents_of(path)})
    emptied = sorted({above for path in deleted for above in parents_of(path)} - set(needed))
    modes = {path: _folder_mode(root, path) for path in (*needed, *emptied)}
    return Journal(
        state="applying",
        folder=os.path.realpath(folder),
        token=secrets.token_hex(8),
        made=tuple(path for path in needed if modes[path] is None),
        removed=tuple((path, mode) for path in emptied if (mode := modes[path]) is not None),
        old={path: _old(one.status) for path, one in seen.items() if one.status is not None},
    )


def _folder_mode(root: int, path: str) -> int | None:
    """The mode of a folder; None if there is no real folder."""
    try:
        with folder_at(root, path) as folder:
            return stat.S_IMODE(os.fstat(folder).st_mode)
    except OSError:
        return None


def _old(status: os.stat_result) -> OldFile:
    return OldFile(
        mode=stat.S_IMODE(status.st_mode),
        mtime_ns=status.st_mtime_ns,
        uid=status.st_uid,
        gid=status.st_gid,
    )


def _turns(
    changes: tuple[Change, ...], seen: dict[str, Seen], journal: Journal, *, back: bool
) -> list[Turn]:
    return [
        Turn(
            path=change.path,
            seen=seen[change.path],
            target=change.before if back else change.after,
            temporary=f".planloop-{journal.token}-{number}",
            old=journal.old.get(change.path),
            exact=back,
        )
        for number, change in enumerate(changes)
    ]


def _turn_forward(
    turner: Turner, changes: tuple[Change, ...], seen: dict[str, Seen], journal: Journal
) -> None:
    turner.do(
        _turns(changes, seen, journal, back=False),
        remove=[path for path, _ in journal.removed],
        make=dict.fromkeys(journal.made),
    )


def _take_back(
    root: int, run_dir: Path, changes: tuple[Change, ...], journal: Journal, error: BaseException
) -> None:
    """After a failed apply: restore the folder, and say so in words that a person can use."""
    why = getattr(error, "strerror", None) or str(error) or type(error).__name__
    try:
        _turn_back(root, run_dir, changes, journal)
    except (OSError, UserError) as second:
        raise UserError(
            f"the apply stopped half way ({why}), and could not be taken back: {second}",
            hint="remove the cause and run `planloop undo`",
        ) from error
    if isinstance(error, OSError | UserError):
        raise UserError(
            f"the apply stopped: {why}; what it had written is taken back",
            hint="remove the cause and apply again",
        ) from error


def _turn_back(root: int, run_dir: Path, changes: tuple[Change, ...], journal: Journal) -> Undone:
    turner = Turner(root, run_dir)
    turner.clear(_turns(changes, {c.path: Seen() for c in changes}, journal, back=True))
    seen = _look(root, changes)
    _refuse_changed_since(changes, seen)
    verify_blobs(run_dir, changes)
    turner.do(
        _turns(changes, seen, journal, back=True),
        remove=journal.made,
        make=dict(journal.removed),
    )
    write_journal(run_dir, dataclasses.replace(journal, state="undone"))
    turned = [change for change in changes if seen[change.path].entry != change.before]
    return Undone(
        restored=tuple(change.path for change in turned if change.before is not None),
        removed=tuple(change.path for change in turned if change.before is None),
    )


def _refuse_changed_since(changes: tuple[Change, ...], seen: dict[str, Seen]) -> None:
    found = []
    for change in changes:
        now = seen[change.path]
        why = now.problem
        if is_protected(change.path):
            why = "planloop never touches this path"
        elif why is None and now.entry not in (change.before, change.after):
            why = (
                "was deleted after the apply"
                if now.entry is None
                else "was changed after the apply"
            )
        if why is not None:
            found.append((change.path, why))
    if found:
        raise Conflicts(
            "files were changed after the apply",
            found,
            hint="put them back as the run left them, or take the rest back by hand",
        )


def _applied(changes: tuple[Change, ...]) -> Applied:
    written = tuple(change.path for change in changes if change.after is not None)
    return Applied(
        written=written,
        deleted=tuple(change.path for change in changes if change.after is None),
        runs_by_itself=tuple(
            f"{path}: {why}" for path in written if (why := runs_by_itself(path)) is not None
        ),
    )
