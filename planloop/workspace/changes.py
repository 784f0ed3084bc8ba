"""A run's changes on disk: what `apply` and `undo` work from, long after the run.

`changes.json` names them; `files/HASH` holds the old and new content of every changed file.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from planloop.errors import TraceDamaged, UserError
from planloop.workspace.diffing import Change, Diff, kind_of
from planloop.workspace.folders import (
    chunks,
    created_file,
    link_stays_inside,
    open_file,
    opened,
    parent_of,
    parents_of,
    write_all,
)
from planloop.workspace.manifest import Entry, link_entry
from planloop.workspace.protected import is_sound

CHANGES_FILE = "changes.json"
BLOBS_FOLDER = "files"
_VERSION = 1
_MAX_BYTES = 200_000_000


def save_changes(diff: Diff, before: Path, after: Path, run_dir: Path) -> None:
    """Write the changes of a run, with the old and new contents, into its folder.

    Raises:
        OSError: it cannot be written, or a file is no longer what the diff saw.
    """
    blobs = run_dir / BLOBS_FOLDER
    blobs.mkdir(mode=0o700, exist_ok=True)
    with opened(blobs) as store, opened(before) as old, opened(after) as new:
        for change in diff.changes:
            _save(change.path, change.before, old, store)
            _save(change.path, change.after, new, store)
    plain = {"version": _VERSION, "changes": [dataclasses.asdict(one) for one in diff.changes]}
    write_durably(run_dir / CHANGES_FILE, plain)


def _save(path: str, entry: Entry | None, root: int, store: int) -> None:
    if entry is None or entry.kind != "file":
        return
    temporary = f".{entry.sha256}.{os.getpid()}"
    digest = hashlib.sha256()
    with contextlib.suppress(FileNotFoundError):
        os.unlink(temporary, dir_fd=store)
    with (
        parent_of(root, path) as (folder, name),
        open_file(name, folder) as source,
        created_file(temporary, store, 0o600) as copy,
    ):
        for piece in chunks(source):
            digest.update(piece)
            write_all(copy, piece)
    if digest.hexdigest() != entry.sha256:
        os.unlink(temporary, dir_fd=store)
        raise OSError(f"`{path}` changed while the changes were saved")
    os.replace(temporary, entry.sha256, src_dir_fd=store, dst_dir_fd=store)


def write_durably(path: Path, plain: Any) -> None:
    """Replace a JSON file at once and for good: it is on disk when this returns."""
    temporary = f".{path.name}.{os.getpid()}"
    with opened(path.parent) as folder:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary, dir_fd=folder)
        with created_file(temporary, folder, 0o600) as file:
            write_all(file, json.dumps(plain, indent=1).encode())
            os.fsync(file)
        os.replace(temporary, path.name, src_dir_fd=folder, dst_dir_fd=folder)
        os.fsync(folder)


def read_json(run_dir: Path, name: str) -> Any:
    """A JSON file of a run's folder; None if there is none.

    Raises:
        TraceDamaged: it is no JSON, or no regular file.
    """
    try:
        with opened(run_dir) as folder, open_file(name, folder) as file:
            return json.loads(b"".join(chunks(file, _MAX_BYTES)))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise TraceDamaged(f"`{run_dir / name}` cannot be read: {error}") from None


def load_changes(run_dir: Path) -> tuple[Change, ...]:
    """The changes that a run saved. They are checked: a run's folder is a stranger's data.

    Raises:
        UserError: the run saved none.
        TraceDamaged: they are not as planloop writes them.
    """
    plain = read_json(run_dir, CHANGES_FILE)
    if plain is None:
        raise UserError(
            f"the run in `{run_dir}` has saved no changes", hint="it has not ended, or had no files"
        )
    try:
        if plain["version"] != _VERSION:
            raise ValueError(f"version {plain['version']!r} is not known")
        changes = tuple(_change(one) for one in plain["changes"])
        _refuse_overlaps(changes)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise TraceDamaged(f"`{run_dir / CHANGES_FILE}` is damaged: {error}") from None
    return changes


def _change(plain: Any) -> Change:
    path, kind = plain["path"], plain["kind"]
    if not isinstance(path, str) or not is_sound(path):
        raise ValueError(f"{path!r} is no path inside the folder")
    before, after = _entry(path, plain["before"]), _entry(path, plain["after"])
    if before == after:
        raise ValueError(f"{path!r} does not change")
    if kind != kind_of(before, after):
        raise ValueError(f"{path!r} is called {kind!r}, and is not")
    return Change(path=path, kind=kind_of(before, after), before=before, after=after)


def _entry(path: str, plain: Any) -> Entry | None:
    if plain is None:
        return None
    if plain["kind"] == "link":
        target = plain["target"]
        if not isinstance(target, str) or "\0" in target or not link_stays_inside(path, target):
            raise ValueError(f"{path!r} is a link that leaves the folder")
        return link_entry(target)
    sha256, size, mode = plain["sha256"], plain["size"], plain["mode"]
    if not isinstance(sha256, str) or not re.fullmatch(r"[0-9a-f]{64}", sha256):
        raise ValueError(f"{sha256!r} is no hash")
    if plain["kind"] != "file" or mode not in (0o644, 0o755) or not isinstance(size, int):
        raise ValueError(f"{path!r} is no file")
    return Entry(kind="file", mode=mode, size=size, sha256=sha256)


def _refuse_overlaps(changes: tuple[Change, ...]) -> None:
    """No path twice, and none below another file of the same side: no folder could hold both."""
    if len({change.path for change in changes}) != len(changes):
        raise ValueError("a path is named twice")
    for side in ("before", "after"):
        files = {change.path for change in changes if getattr(change, side) is not None}
        for path in files:
            if any(folder in files for folder in parents_of(path)):
                raise ValueError(f"{path!r} lies below a file")


def verify_blobs(run_dir: Path, changes: tuple[Change, ...]) -> None:
    """Make sure that every content is there, unharmed and on disk.

    Raises:
        TraceDamaged: one is not.
    """
    wanted = {
        entry.sha256
        for change in changes
        for entry in (change.before, change.after)
        if entry is not None and entry.kind == "file"
    }
    for sha256 in sorted(wanted):
        digest = hashlib.sha256()
        with blob(run_dir, sha256) as file:
            for piece in chunks(file):
                digest.update(piece)
            os.fsync(file)
        if digest.hexdigest() != sha256:
            raise TraceDamaged(f"`{run_dir / BLOBS_FOLDER / sha256}` does not hold what it should")


@contextlib.contextmanager
def blob(run_dir: Path, sha256: str) -> Iterator[int]:
    """A saved content, open for reading. Raises `TraceDamaged` if it is gone."""
    try:
        with (
            opened(run_dir) as folder,
            parent_of(folder, f"{BLOBS_FOLDER}/{sha256}") as (store, name),
            open_file(name, store) as file,
        ):
            yield file
    except FileNotFoundError:
        raise TraceDamaged(f"`{run_dir / BLOBS_FOLDER / sha256}` is missing") from None
