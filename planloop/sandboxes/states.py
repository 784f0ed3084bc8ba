"""What a snapshot remembers of a workspace: its folders, links and files, contents by hash."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from typing import TypeAlias

Stamp: TypeAlias = tuple[int, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class KeptFile:
    """A regular file."""

    digest: bytes
    mode: int
    mtime_ns: int
    size: int
    stamp: Stamp
    """By which it is known again without a look at its content."""
    settled: bool
    """Whether every later change will show in the stamp."""


@dataclasses.dataclass(frozen=True, slots=True)
class KeptLink:
    """A symbolic link."""

    target: str


@dataclasses.dataclass(frozen=True, slots=True)
class KeptFolder:
    """A folder and everything in it, by name."""

    mode: int
    mtime_ns: int
    entries: dict[str, Kept]


Kept: TypeAlias = KeptFile | KeptLink | KeptFolder


def stamp_of(found: os.stat_result) -> Stamp:
    """What changes when a file changes.

    The time of access is part of it: a file in memory (tmpfs) that is mapped, read and then
    written through the mapping gets no other new time, and mapping it counts as an access.
    """
    return (
        found.st_ctime_ns,
        found.st_mtime_ns,
        found.st_atime_ns,
        found.st_size,
        found.st_ino,
        found.st_mode,
    )


def kept_file(digest: bytes, size: int, found: os.stat_result, settled_before_ns: int) -> KeptFile:
    """A file as it was found. One touched after `settled_before_ns` may still change unseen."""
    return KeptFile(
        digest=digest,
        mode=found.st_mode & 0o777,
        mtime_ns=found.st_mtime_ns,
        size=size,
        stamp=stamp_of(found),
        settled=max(found.st_ctime_ns, found.st_atime_ns) < settled_before_ns,
    )


def digests_of(state: KeptFolder) -> Iterator[bytes]:
    """The contents that a state needs, each as often as files have it."""
    pending = [state]
    while pending:
        for kept in pending.pop().entries.values():
            if isinstance(kept, KeptFile):
                yield kept.digest
            elif isinstance(kept, KeptFolder):
                pending.append(kept)
