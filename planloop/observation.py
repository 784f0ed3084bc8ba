"""What the host saw of one call, and how it ended."""

from __future__ import annotations

import dataclasses
from enum import StrEnum

from planloop.values import Value


class Status(StrEnum):
    """How a call ended, as the host measured it; nothing a sandbox printed decides it."""

    OK = "ok"
    FAILED = "failed"
    """The tool raised, which promises that nothing was done; or the command exited non-zero."""
    TIMEOUT = "timeout"
    OOM = "oom"
    KILLED = "killed"
    OUTPUT_LIMIT = "output_limit"
    DENIED = "denied"
    SKIPPED = "skipped"
    DIVERGED = "diverged"
    UNKNOWN = "unknown"
    """An external call that ended without a result: it may or may not have been done."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Output:
    """One captured stream: its head and tail, and how much lies between."""

    head: str = ""
    tail: str = ""
    elided_bytes: int = 0
    """Bytes between head and tail that are not shown."""
    total_bytes: int = 0
    blob: str | None = None
    """Hash of the blob that holds the whole stream, if it was longer than what is shown."""

    @property
    def text(self) -> str:
        """What is shown, with the elided count stated."""
        if not self.elided_bytes:
            return self.head + self.tail
        return f"{self.head}\n… {self.elided_bytes} bytes elided …\n{self.tail}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Failure:
    """An error: its class name, its text, and where in the plan it happened."""

    type: str
    message: str
    line: int | None = None
    values: tuple[tuple[str, str], ...] = ()
    """Names involved and their bounded representations."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Observation:
    """What the host saw of one call. Durations in seconds."""

    status: Status
    value: Value = None
    error: Failure | None = None
    exit_code: int | None = None
    stdout: Output | None = None
    stderr: Output | None = None
    changed_files: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    """Facts of the host: `oom_kills=1`, `3 background processes were ended`."""
    duration_s: float = 0.0
    served: bool = False
    """Taken from the ledger: nothing ran."""

    @property
    def ok(self) -> bool:
        """Whether the call succeeded."""
        return self.status is Status.OK
