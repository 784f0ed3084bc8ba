"""What to do when a request to a model fails: decided by pure functions, done by tenacity."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from tenacity import AsyncRetrying, RetryCallState

Kind: TypeAlias = Literal[
    "connection", "silence", "cut", "garbled", "busy", "server", "too_large", "refused", "context"
]

RETRIES: dict[Kind, int] = {
    "connection": 3,
    "cut": 3,
    "garbled": 3,
    "silence": 2,
    "busy": 7,
    "server": 5,
    "too_large": 0,
    "refused": 0,
    "context": 0,
}
"""How often a request is sent again after each kind of failure."""

LONGEST_BACKOFF_S = 30.0

_BUSY_STATUSES = (408, 409, 425, 429)
_CONTEXT_WORDS = (
    "context_length_exceeded",
    "maximum context length",
    "context window",
    "context size",
    "prompt is too long",
    "input is too long",
    "too many tokens",
)
_QUOTA_WORDS = (
    "insufficient_quota",
    "billing_hard_limit",
    "billing_not_active",
    "insufficient balance",
    "credit balance",
    "insufficient credits",
)


@dataclasses.dataclass(frozen=True)
class Failure:
    """Why one attempt failed. `message` is fit to be shown."""

    kind: Kind
    message: str
    status: int | None = None
    retry_after_s: float | None = None


class AttemptFailed(Exception):
    """One attempt brought no reply."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure
        self.reason = ""
        """Why it was not tried again."""


@dataclasses.dataclass(frozen=True)
class Wait:
    """Send the request again after so many seconds."""

    seconds: float


@dataclasses.dataclass(frozen=True)
class GiveUp:
    """Do not send it again, and why."""

    reason: str


def decide(
    failure: Failure, attempts: int, left_s: float, backoff_s: float = 0.5, jitter: float = 0.0
) -> Wait | GiveUp:
    """Whether to send a request again.

    Args:
        failure: of the latest attempt.
        attempts: how many were made, the latest included.
        left_s: seconds until the request's deadline.
        backoff_s: the first wait; every further one is twice as long, up to 30 s.
        jitter: from 0 to 1; lengthens a wait by up to a quarter, so that many do not return at
            once.
    """
    if attempts > RETRIES[failure.kind] or left_s <= 0:
        return GiveUp(f"after {attempts} attempts" if attempts > 1 else "")
    wait = min(backoff_s * 2.0 ** (attempts - 1), LONGEST_BACKOFF_S) * (1 + jitter / 4)
    if failure.retry_after_s is not None:
        wait = max(failure.retry_after_s, min(wait, 0.1))
    if wait >= left_s:
        return GiveUp(f"the next attempt is due in {wait:.0f} s, and {left_s:.0f} s remain")
    return Wait(wait)


def retrying(deadline: float, backoff_s: float, failed: Callable[[], None]) -> AsyncRetrying:
    """Calls a function until it brings a reply or `decide` gives up.

    Args:
        deadline: by the event loop's clock.
        backoff_s: the first wait.
        failed: told of each failed attempt.
    """
    import random

    import anyio
    import tenacity

    def decision(state: tenacity.RetryCallState) -> Wait | GiveUp:
        failure = _failed_attempt(state).failure
        left_s = deadline - anyio.current_time()
        return decide(failure, state.attempt_number, left_s, backoff_s, random.random())

    def stop(state: tenacity.RetryCallState) -> bool:
        failed()
        found = decision(state)
        if isinstance(found, GiveUp):
            _failed_attempt(state).reason = found.reason
        return isinstance(found, GiveUp)

    def wait(state: tenacity.RetryCallState) -> float:
        found = decision(state)
        return found.seconds if isinstance(found, Wait) else 0.0

    return tenacity.AsyncRetrying(
        retry=tenacity.retry_if_exception_type(AttemptFailed),
        stop=stop,
        wait=wait,
        sleep=anyio.sleep,
        reraise=True,
    )


def _failed_attempt(state: RetryCallState) -> AttemptFailed:
    error = state.outcome.exception() if state.outcome is not None else None
    assert isinstance(error, AttemptFailed)  # nothing else is retried
    return error


def of_status(
    status: int, text: str, shown: str, retry_after: str | None = None, now: float = 0.0
) -> Failure:
    """The failure that an HTTP status and the body beside it mean.

    Args:
        status: of the response.
        text: its body.
        shown: its message, made fit to be shown.
        retry_after: the header, if there is one.
        now: the time as seconds since 1970, to read a date in `retry_after`.
    """
    said = f"HTTP {status}: {shown}" if shown else f"HTTP {status}"
    lowered = text.lower()
    wait = retry_after_s(retry_after, now)
    if status == 413 or (status >= 400 and status != 429 and _any(_CONTEXT_WORDS, lowered)):
        return Failure("context", said, status)
    if status == 402 or (status == 429 and _any(_QUOTA_WORDS, lowered)):
        return Failure("refused", f"the account's quota is spent ({said})", status)
    if status in _BUSY_STATUSES:
        return Failure("busy", said, status, wait)
    if status >= 500:
        return Failure("server", said, status, wait)
    return Failure("refused", said, status)


def retry_after_s(header: str | None, now: float) -> float | None:
    """Seconds that a Retry-After header asks for; None if it says nothing that can be meant."""
    if header is None:
        return None
    try:
        seconds = float(header)
    except ValueError:
        seconds = _until(header, now)
    return seconds if math.isfinite(seconds) and seconds >= 0 else None


def _until(date: str, now: float) -> float:
    from email.utils import parsedate_to_datetime

    try:
        return max(0.0, parsedate_to_datetime(date).timestamp() - now)
    except (ValueError, TypeError, OverflowError, IndexError):
        return math.nan


def _any(words: tuple[str, ...], text: str) -> bool:
    return any(word in text for word in words)
