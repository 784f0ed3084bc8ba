"""Result files that a task names, copied to the run's folder."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path

from planloop.errors import UserError
from planloop.workspace.folders import (
    Found,
    chunks,
    created_file,
    folder_at,
    is_text_name,
    made_folder,
    open_file,
    opened,
    walk,
    write_all,
)
from planloop.workspace.pins import matches
from planloop.workspace.protected import is_protected

OUTPUTS_FOLDER = "outputs"
MAX_BYTES = 1_000_000_000
MAX_FILES = 10_000


def collect_outputs(patterns: Sequence[str], result: Path, run_dir: Path) -> tuple[str, ...]:
    """Copy the regular files that match to `run_dir/outputs`; give their paths.

    Patterns are for whole paths, `**` for any folders. Links are not copied, nor followed.

    Raises:
        UserError: they are more or larger than the bounds; nothing is copied then.
        OSError: a file cannot be read or written.
    """
    if not patterns:
        return ()
    with opened(result) as root:
        chosen = [found for found in walk(root, _may_enter) if _is_output(found, patterns)]
        _refuse_too_much(chosen)
        target = run_dir / OUTPUTS_FOLDER
        target.mkdir(mode=0o700, exist_ok=True)
        with opened(target) as copy:
            for found in chosen:
                _copy(found.path, root, copy)
    return tuple(found.path for found in chosen)


def _may_enter(found: Found) -> bool:
    return is_text_name(found.name) and not is_protected(found.name)


def _is_output(found: Found, patterns: Sequence[str]) -> bool:
    return (
        found.is_file
        and _may_enter(found)
        and any(matches(pattern, found.path) for pattern in patterns)
    )


def _refuse_too_much(chosen: Sequence[Found]) -> None:
    size = sum(found.status.st_size for found in chosen)
    if size > MAX_BYTES or len(chosen) > MAX_FILES:
        raise UserError(
            f"the outputs are {len(chosen):,} files and {size / 1e9:,.1f} GB; "
            f"at most {MAX_FILES:,} files and {MAX_BYTES / 1e9:,.1f} GB are kept",
            hint="name fewer files by `outputs:`",
        )


def _copy(path: str, root: int, copy: int) -> None:
    folder, _, name = path.rpartition("/")
    with folder_at(root, folder) as origin, made_folder(copy, folder) as destination:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=destination)
        with open_file(name, origin) as source, created_file(name, destination, 0o644) as file:
            for piece in chunks(source, MAX_BYTES):
                write_all(file, piece)
