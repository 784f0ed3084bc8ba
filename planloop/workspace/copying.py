"""The bounded copy of the user's folder that a run works on."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import shutil
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from planloop.errors import UserError
from planloop.task import WorkspaceSpec
from planloop.workspace.folders import (
    Found,
    TooMany,
    chunks,
    created_file,
    link_stays_inside,
    made_folder,
    open_folder_at,
    open_regular,
    opened,
    write_all,
)
from planloop.workspace.selecting import LeftOut
from planloop.workspace.selection import Selection

__all__ = ["Copied", "LeftOut", "copy_workspace"]

_KEEP_COUNTING_S = 1.0
"""How long a folder over the bound is measured on, to say how large it is."""
_MIN_ENTRIES = 200_000
_CHANGED = "changed while it was copied"


@dataclasses.dataclass(frozen=True)
class Copied:
    """What was copied, and what was not."""

    files: int
    bytes: int
    left_out: tuple[LeftOut, ...]


@dataclasses.dataclass
class _Measure:
    """The size of what will be copied, and of each entry of the top folder."""

    spec: WorkspaceSpec
    files: int = 0
    bytes: int = 0
    by_top: Counter[str] = dataclasses.field(default_factory=Counter)

    def add(self, found: Found) -> None:
        size = found.status.st_size if found.is_file else 0
        self.files += 1
        self.bytes += size
        self.by_top[found.path.partition("/")[0]] += size + 1

    @property
    def over(self) -> bool:
        return self.files > self.spec.max_files or self.bytes > self.spec.max_bytes

    def error(self, source: Path, *, complete: bool) -> UserError:
        size = f"{self.files:,} files, {_size(self.bytes)}"
        bound = f"{self.spec.max_files:,} files, {_size(self.spec.max_bytes)}"
        largest = ", ".join(f"`{name}`" for name, _ in self.by_top.most_common(3))
        return UserError(
            f"`{source}` is too large to copy: {'' if complete else 'more than '}{size}; "
            f"at most {bound}",
            hint=f"leave something out by `workspace: {{exclude: […]}}` (largest: {largest}), "
            "or run in a smaller folder",
        )


def _size(count: int) -> str:
    """A size for people."""
    for power, unit in ((9, "GB"), (6, "MB"), (3, "kB")):
        if count >= 10**power:
            return f"{count / 10**power:,.1f} {unit}"
    return f"{count:,} bytes"


def copy_workspace(source: Path, target: Path, spec: WorkspaceSpec) -> Copied:
    """Copy the folder `source` into the empty folder `target`, which is made if it is missing.

    Only the executable bit of modes is kept. No link is followed; links that stay inside are
    copied as links.

    Raises:
        UserError: `source` is over the bounds, or is no folder that can be read. Nothing is left
            in `target` then.
    """
    try:
        with opened(source) as root:
            chosen, left_out = _choose(root, source, spec)
            target.mkdir(exist_ok=True)
            with _emptied_on_error(target), opened(target) as copy:
                copied, vanished = _copy(root, copy, chosen, source, spec)
    except OSError as error:
        raise UserError(
            f"`{source}` cannot be copied: {error.strerror or error}",
            hint="check that it is a folder that you may read, and that the disk has room",
        ) from None
    return Copied(copied.files, copied.bytes, (*left_out, *vanished))


def _choose(root: int, source: Path, spec: WorkspaceSpec) -> tuple[list[Found], list[LeftOut]]:
    chosen: list[Found] = []
    left_out: list[LeftOut] = []
    measure = _Measure(spec)
    deadline = math.inf
    try:
        for judged in Selection(root, root, spec).judged(_most_entries(spec)):
            if judged.left_out is not None:
                left_out.append(judged.left_out)
            elif judged.why is None and not judged.found.is_folder:
                measure.add(judged.found)
                chosen.append(judged.found)
            if measure.over:
                chosen.clear()
                deadline = min(deadline, time.monotonic() + _KEEP_COUNTING_S)
                if time.monotonic() > deadline:
                    raise measure.error(source, complete=False)
    except TooMany:
        raise _too_many(source, measure, spec) from None
    if measure.over:
        raise measure.error(source, complete=True)
    return chosen, left_out


def _most_entries(spec: WorkspaceSpec) -> int:
    """Entries that are looked at, those left out included: a bound on time."""
    return max(_MIN_ENTRIES, 4 * spec.max_files)


def _too_many(source: Path, measure: _Measure, spec: WorkspaceSpec) -> UserError:
    if measure.over:
        return measure.error(source, complete=False)
    entries = _most_entries(spec)
    return UserError(
        f"`{source}` holds more than {entries:,} entries; at most {spec.max_files:,} files "
        "can be copied",
        hint="leave folders out by `workspace: {exclude: […]}`, or run in a smaller folder",
    )


@contextlib.contextmanager
def _emptied_on_error(target: Path) -> Iterator[None]:
    if any(target.iterdir()):
        raise UserError(f"`{target}` is not empty")
    try:
        yield
    except BaseException:
        for entry in target.iterdir():
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry, ignore_errors=True)
            else:
                entry.unlink(missing_ok=True)
        raise


def _copy(
    root: int, copy: int, chosen: list[Found], source: Path, spec: WorkspaceSpec
) -> tuple[_Measure, list[LeftOut]]:
    """Copy the chosen entries folder by folder; name those that vanished or cannot be read."""
    measure = _Measure(spec)
    missed: list[LeftOut] = []
    for folder, entries in _by_folder(chosen).items():
        with made_folder(copy, folder) as destination:
            try:
                origin = open_folder_at(root, folder)
            except OSError:
                missed.append(LeftOut(f"{folder}/", _CHANGED))
                continue
            try:
                for found in entries:
                    measure.add(found)
                    why = _copy_entry(found, origin, destination, measure)
                    if measure.over:
                        raise measure.error(source, complete=False)
                    if why is not None:
                        measure.files -= 1
                        missed.append(LeftOut(found.path, why))
            finally:
                os.close(origin)
    return measure, missed


def _by_folder(chosen: list[Found]) -> dict[str, list[Found]]:
    folders: dict[str, list[Found]] = {}
    for found in chosen:
        folders.setdefault(found.path.rpartition("/")[0], []).append(found)
    return folders


def _copy_entry(found: Found, origin: int, destination: int, measure: _Measure) -> str | None:
    """Copy one file or link; say why not, if it cannot be read any more."""
    if found.is_link:
        return _copy_link(found, origin, destination)
    try:
        source = open_regular(found.name, origin)
    except OSError as error:
        return f"cannot be read: {error.strerror or error}"
    try:
        _copy_file(source, found, destination, measure)
    finally:
        os.close(source)
    return None


def _copy_link(found: Found, origin: int, destination: int) -> str | None:
    try:
        target = os.readlink(found.name, dir_fd=origin)
    except OSError:
        return _CHANGED
    if not link_stays_inside(found.path, target):
        return _CHANGED
    os.symlink(target, found.name, dir_fd=destination)
    return None


def _copy_file(source: int, found: Found, destination: int, measure: _Measure) -> None:
    """Copy the bytes that the file has now, and stop as soon as they pass the bound."""
    mode = 0o755 if os.fstat(source).st_mode & 0o111 else 0o644
    measure.bytes -= found.status.st_size
    with created_file(found.name, destination, mode) as copy:
        for piece in chunks(source):
            measure.bytes += len(piece)
            if measure.over:
                return
            write_all(copy, piece)
