"""How a call ended, decided from what the host measured. Pure."""

from __future__ import annotations

import dataclasses
import os
import signal
from typing import Literal

from planloop.observation import Status

Cut = Literal["timeout", "output_limit", "killed"]
"""Why the host ended a call."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Measured:
    """The facts of one call's end."""

    cut: Cut | None = None
    """Set if the host ended the call, whatever its processes did afterwards."""
    wait_status: int | None = None
    """As `waitpid` reports it; None if nobody could wait for the process."""
    ended: int = 0
    """Background processes that were ended with the call."""
    oom_kills: int = 0
    """Kills by the kernel for want of memory while the call ran."""
    remarks: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outcome:
    """Status, exit code or signal, and notes of one call."""

    status: Status
    exit_code: int | None
    signal: int | None
    notes: tuple[str, ...]


def outcome(measured: Measured) -> Outcome:
    """The outcome of a call: host kills first, then the wait status and the OOM counter."""
    code, number = _exit(measured.wait_status)
    return Outcome(
        status=_status(measured, code, number),
        exit_code=None if measured.cut else code,
        signal=None if measured.cut else number,
        notes=_notes(measured),
    )


def _exit(wait_status: int | None) -> tuple[int | None, int | None]:
    if wait_status is None:
        return None, None
    if os.WIFSIGNALED(wait_status):
        return None, os.WTERMSIG(wait_status)
    return os.WEXITSTATUS(wait_status), None


def _status(measured: Measured, code: int | None, number: int | None) -> Status:
    if measured.cut is not None:
        return Status(measured.cut)
    if code == 0:
        return Status.OK
    if measured.oom_kills and (code is not None or number in (None, signal.SIGKILL)):
        return Status.OOM
    return Status.KILLED if code is None else Status.FAILED


def _notes(measured: Measured) -> tuple[str, ...]:
    notes = list(measured.remarks)
    if measured.oom_kills:
        notes.append(f"oom_kills={measured.oom_kills}")
    if measured.ended and measured.cut is None:
        plural = "process was" if measured.ended == 1 else "processes were"
        notes.append(f"{measured.ended} background {plural} ended")
    return tuple(notes)
