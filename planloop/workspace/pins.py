"""What a check runs on: the result, with the paths that could fake it put back."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import shlex
from collections.abc import Collection
from pathlib import Path

from planloop.task import DEFAULT_PINS
from planloop.workspace.folders import (
    Found,
    chunks,
    created_file,
    is_text_name,
    link_stays_inside,
    made_folder,
    open_file,
    opened,
    parents_of,
    walk,
    write_all,
)
from planloop.workspace.globs import Glob, compile_glob
from planloop.workspace.manifest import Entry, is_litter, manifest
from planloop.workspace.runners import decided_by, modules_named


@dataclasses.dataclass(frozen=True)
class Pinned:
    """What the check's own copy has that the result has not."""

    restored: tuple[str, ...]
    """Changed or deleted by the run, and put back from the original."""
    removed: tuple[str, ...]
    """Added by the run, and left out."""


def default_pins(command: str, existing: Collection[str]) -> tuple[str, ...]:
    """The pins of a `run` check that names none: the usual tests, and paths that it names.

    A folder that the command names is no pin: in `pytest src` it is what is judged. A runner that
    it names, such as `pytest` or `make`, brings the files that decide what the runner does.
    """
    folders = ["", *re.findall(r"\bcd\s+([^\s;&|]+)", command)]
    pieces = _pieces(command)
    paths = {os.path.normpath(os.path.join(f, piece)) for piece in pieces for f in folders}
    named = (paths & set(existing)) | modules_named(command, folders, existing)
    return (*DEFAULT_PINS, *decided_by(pieces), *(f"/{_escaped(path)}" for path in sorted(named)))


def _pieces(command: str) -> set[str]:
    """Every piece of a command that could be a path."""
    pieces = set(re.split(r"[\s'\"`$(){}<>|&;=:,]+", command))
    with contextlib.suppress(ValueError):
        pieces |= set(shlex.split(command))
    return pieces - {""}


def _escaped(path: str) -> str:
    return re.sub(r"([*?\[\]\\!# ])", r"\\\1", path)


def matches(pattern: str, path: str) -> bool:
    """Whether a pin matches a file: a pattern is for whole paths, `**` for any folders.

    A pattern that names a folder, `tests` or `tests/`, holds for everything below it.
    """
    return _matches(_glob(pattern), path)


def _glob(pattern: str) -> Glob:
    return compile_glob("/" + pattern.removeprefix("./").lstrip("/"))


def _matches(glob: Glob, path: str) -> bool:
    return glob.matches(path, False) or any(glob.matches(f, True) for f in parents_of(path))


def pinned_tree(original: Path, result: Path, pins: Collection[str], target: Path) -> Pinned:
    """Build the check's own copy in the empty folder `target`.

    It is the result without what running code leaves behind (compiled files could stand in for
    the sources of a test), with pinned paths as in the original. Links that leave the folder do
    not come along.

    Raises:
        OSError: a file cannot be read or written.
    """
    globs = [_glob(pattern) for pattern in pins]
    old, new = manifest(original), manifest(result)
    pinned = {path for path in old.keys() | new.keys() if any(_matches(g, path) for g in globs)}
    pinned |= _shadows(pinned & old.keys()) & (new.keys() - old.keys())
    restored = sorted(path for path in pinned if path in old and old[path] != new.get(path))
    removed = sorted(path for path in pinned if path in new and path not in old)
    skipped = {*pinned, *_in_the_way(pinned & old.keys(), new)}
    target.mkdir(exist_ok=True)
    with opened(target) as copy:
        with opened(original) as root:
            copy_some(root, copy, pinned & old.keys())
        with opened(result) as root:
            copy_some(root, copy, None, skipped)
    return Pinned(tuple(restored), tuple(removed))


def _shadows(kept: Collection[str]) -> set[str]:
    """Packages that Python would import in place of a module of the same name."""
    return {f"{path.removesuffix('.py')}/__init__.py" for path in kept if path.endswith(".py")}


def _in_the_way(kept: Collection[str], new: dict[str, Entry]) -> set[str]:
    """Paths of the result that lie where a pinned path needs a folder, or below a pinned file."""
    folders = {folder for path in kept for folder in parents_of(path)}
    below = {path for path in new if not set(parents_of(path)).isdisjoint(kept)}
    return (folders & new.keys()) | below


def copy_some(
    root: int, copy: int, only: Collection[str] | None, skipped: Collection[str] = frozenset()
) -> None:
    """Copy entries from one open folder into another: those of `only`, or all but `skipped`.

    Never links that leave the folder, what running code leaves behind, and names that are not
    UTF-8. Where `only` is None, empty folders come along.

    Raises:
        OSError: a file cannot be read or written.
    """
    for found in walk(root, lambda found: not _is_left_out(found) and found.path not in skipped):
        if _is_left_out(found) or found.path in skipped:
            continue
        if found.is_folder:
            if only is None:
                with made_folder(copy, found.path):
                    pass
        elif only is None or found.path in only:
            with made_folder(copy, found.path.rpartition("/")[0]) as folder:
                _copy_entry(found, folder)


def _is_left_out(found: Found) -> bool:
    return not is_text_name(found.name) or is_litter(found.path) or found.name == ".planloop"


def _copy_entry(found: Found, destination: int) -> None:
    if found.is_link:
        target = os.readlink(found.name, dir_fd=found.folder)
        if link_stays_inside(found.path, target):
            os.symlink(target, found.name, dir_fd=destination)
    elif found.is_file:
        mode = 0o755 if found.status.st_mode & 0o111 else 0o644
        with (
            open_file(found.name, found.folder) as source,
            created_file(found.name, destination, mode) as file,
        ):
            for piece in chunks(source):
                write_all(file, piece)
