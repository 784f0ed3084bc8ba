"""Append-only logs of events: one JSON object a line, one writer, blobs beside it by hash."""

from __future__ import annotations

import dataclasses
import json
import os
import time
from pathlib import Path
from typing import Any, Protocol

from planloop.errors import InfrastructureError, TraceDamaged, UserError
from planloop.events import LIVE_ONLY, Event, from_json, to_json
from planloop.trace.blobs import Blobs, FolderBlobs, MemoryBlobs, open_regular, read_blob

TRACE_FILE = "trace.jsonl"
_BLOBS = "blobs"
_LARGE_LINE = 128 * 1024
"""Characters; the values of an event whose line is longer go to blobs."""
_VALUES = (("observation", "value"), ("arguments",), ("bound",), ("output",))
"""Where an event holds values."""


@dataclasses.dataclass(frozen=True)
class Recorded:
    """An event as the log holds it. `at` is wall-clock time in seconds; order is `seq`."""

    seq: int
    at: float
    event: Event


class Log(Protocol):
    """Where a run's events go."""

    blobs: Blobs
    """What is too large for a line, by its hash."""

    def append(self, event: Event, *, sync: bool = False) -> None:
        """Add an event; with `sync` it is on the disk itself when this returns.

        Raises:
            InfrastructureError: it could not be written; nothing that depends on it may start.
        """
        ...

    def close(self) -> None:
        """Release the log. Safe to call twice."""
        ...


class MemoryLog:
    """A log that lives as long as its object."""

    def __init__(self) -> None:
        self.recorded: list[Recorded] = []
        self.blobs: Blobs = MemoryBlobs()

    def append(self, event: Event, *, sync: bool = False) -> None:
        """Add an event."""
        if not isinstance(event, LIVE_ONLY):
            self.recorded.append(Recorded(len(self.recorded) + 1, time.time(), event))

    def close(self) -> None:
        """Nothing to release: follow-ups still look into the blobs."""


class FolderLog:
    """A log in a run's folder. The folder is private; the file is locked by its one writer."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.blobs: Blobs = FolderBlobs(folder / _BLOBS)
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0)
        self._file: int | None = os.open(folder / TRACE_FILE, flags, 0o600)
        _lock(self._file, folder)
        self._seq = 0
        self._size = os.fstat(self._file).st_size

    def append(self, event: Event, *, sync: bool = False) -> None:
        """Write and flush an event; `sync` waits for the disk.

        Raises:
            InfrastructureError: the disk is full or gone.
        """
        if isinstance(event, LIVE_ONLY):
            return
        if self._file is None:
            raise InfrastructureError("the run's trace is closed")
        plain = {"seq": self._seq + 1, "at": time.time(), **to_json(event)}
        line = _line(plain)
        if len(line) > _LARGE_LINE:
            line = self._with_blobs(plain)
        try:
            _write_all(self._file, line.encode("utf-8", "backslashreplace"))
            if sync:
                os.fdatasync(self._file) if hasattr(os, "fdatasync") else os.fsync(self._file)
        except OSError as error:
            self._drop_torn_line(self._file)
            raise InfrastructureError(
                f"cannot write the trace: {error.strerror}", hint=f"look at {self.folder}"
            ) from None
        self._seq += 1
        self._size = os.fstat(self._file).st_size

    def _with_blobs(self, plain: dict[str, Any]) -> str:
        blobs = {}
        for path in _VALUES:
            holder = plain if len(path) == 1 else plain.get(path[0])
            if isinstance(holder, dict) and path[-1] in holder:
                value = json.dumps(holder.pop(path[-1]), separators=(",", ":"))
                blobs[".".join(path)] = self.blobs.keep([value.encode()])
        return _line({**plain, "blobs": blobs} if blobs else plain)

    def _drop_torn_line(self, file: int) -> None:
        """What is written next must not continue a line that was cut off."""
        try:
            os.ftruncate(file, self._size)
        except OSError:
            self.close()

    def close(self) -> None:
        """Release the lock."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


def read_log(folder: Path) -> tuple[list[Recorded], tuple[str, ...]]:
    """The events of a run's folder, and notices (a torn last line was dropped).

    Raises:
        UserError: there is no trace, or it is a link.
        TraceDamaged: anything else than the last line is not as it was written.
    """
    path = folder / TRACE_FILE
    try:
        with open_regular(path) as file:
            data = file.read()
    except OSError as error:
        why = error.strerror or str(error)
        raise UserError(f"`{folder}` holds no readable trace: {why}") from None
    lines = data.split(b"\n")
    notices: tuple[str, ...] = ()
    if lines.pop():
        notices = (f"the last line of {path.name} was cut off in the middle; it is dropped",)
    return [_read_line(folder, number, line) for number, line in enumerate(lines, 1)], notices


def _read_line(folder: Path, number: int, line: bytes) -> Recorded:
    try:
        found: Any = json.loads(line)
        if not isinstance(found, dict) or found.get("seq") != number:
            raise ValueError("its number is out of order")
        _load_blobs(folder, found)
        return Recorded(number, float(found["at"]), from_json(found))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise TraceDamaged(
            f"{folder / TRACE_FILE}, line {number}: {error}",
            hint="the run cannot be read past this line; restore the file from a copy",
        ) from None


def _load_blobs(folder: Path, found: dict[str, Any]) -> None:
    for path, name in found.pop("blobs", {}).items():
        *outer, field = path.split(".")
        holder = found[outer[0]] if outer else found
        holder[field] = _load_blob(folder, name)


def _load_blob(folder: Path, name: object) -> Any:
    if not isinstance(name, str):
        raise ValueError("it names no blob")  # noqa: TRY004 - the file is wrong, not our caller
    return json.loads(read_blob(folder / _BLOBS, name))


def _line(plain: dict[str, Any]) -> str:
    return json.dumps(plain, separators=(",", ":"), ensure_ascii=False) + "\n"


def _write_all(file: int, data: bytes) -> None:
    while data:
        data = data[os.write(file, data) :]


def _lock(file: int, folder: Path) -> None:
    try:
        import fcntl
    except ImportError:  # Windows has no flock; two writers there are the user's to avoid
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(file)
        raise UserError(f"run `{folder.name}` is being written by another process") from None
