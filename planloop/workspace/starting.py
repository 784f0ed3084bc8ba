"""What a setup changed in the copy of the folder, kept apart, and put on a copy again."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from planloop.workspace.folders import opened, parents_of
from planloop.workspace.manifest import Entry, manifest
from planloop.workspace.pins import copy_some


def keep_changes(original: Path, result: Path, target: Path) -> tuple[str, ...]:
    """Copy the files that `result` adds to, or changes in, `original` into an empty folder.

    Returns the paths that are gone.

    Raises:
        OSError: a file cannot be read or written.
    """
    old, new = manifest(original), manifest(result)
    changed = {path for path, entry in new.items() if old.get(path) != entry}
    with opened(result) as root, opened(target) as copy:
        copy_some(root, copy, changed)
    return tuple(sorted(old.keys() - new.keys()))


def with_changes(
    original: Path, changes: Path, deleted: Collection[str], target: Path
) -> dict[str, Entry | None]:
    """Build in an empty folder what `original` is with kept changes.

    Returns what the changes made of each path; None for one that is gone.

    Raises:
        OSError: a file cannot be read or written.
    """
    changed = manifest(changes)
    folders = {folder for path in changed for folder in parents_of(path)}
    skipped = {*changed, *deleted}
    skipped |= folders & manifest(original).keys()  # a file that became a folder
    with opened(target) as copy:
        with opened(original) as root:
            copy_some(root, copy, None, skipped)
        with opened(changes) as root:
            copy_some(root, copy, changed.keys())
    return {**dict.fromkeys(deleted), **changed}
