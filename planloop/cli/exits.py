"""Exit codes: few, and the same for every verb."""

from __future__ import annotations

from planloop.state import RunStatus

DONE = 0
UNFINISHED = 1
REFUSED = 2
INFRASTRUCTURE = 3
INTERRUPTED = 130
TERMINATED = 143

MEANINGS = (
    (DONE, "the run ended `success` or `answered`; any other command did its work"),
    (UNFINISHED, "the run ended `failed`, `capped`, `stuck` or `parked`"),
    (REFUSED, "a mistake found before the first model call, or a command that refuses"),
    (INFRASTRUCTURE, "the world failed after the first model call: the run ended `error`"),
    (INTERRUPTED, "interrupted by Ctrl-C"),
    (TERMINATED, "ended by SIGTERM"),
)


def of_status(status: RunStatus, *, asked: bool) -> int:
    """The exit code of a run that ended like this; `asked`: a model had been asked."""
    match status:
        case RunStatus.SUCCESS | RunStatus.ANSWERED:
            return DONE
        case RunStatus.FAILED | RunStatus.CAPPED | RunStatus.STUCK | RunStatus.PARKED:
            return UNFINISHED
        case RunStatus.INTERRUPTED:
            return INTERRUPTED
        case RunStatus.ERROR:
            return INFRASTRUCTURE if asked else REFUSED
