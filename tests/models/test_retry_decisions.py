"""What to do after a failed attempt, and what a failure is: pure, so tested by table."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planloop.models.retry import (
    LONGEST_BACKOFF_S,
    RETRIES,
    Failure,
    GiveUp,
    Kind,
    Wait,
    decide,
    of_status,
    retry_after_s,
)

NOW = 1_445_412_480.0  # Wed, 21 Oct 2015 07:28:00 GMT


@pytest.mark.parametrize(
    ("status", "text", "kind"),
    [
        (400, "bad", "refused"),
        (400, "maximum context length is 8192 tokens", "context"),
        (400, '{"code": "context_length_exceeded"}', "context"),
        (413, "", "context"),
        (401, "", "refused"),
        (402, "", "refused"),
        (403, "", "refused"),
        (404, "", "refused"),
        (408, "", "busy"),
        (409, "", "busy"),
        (422, "", "refused"),
        (429, "", "busy"),
        (429, "insufficient_quota", "refused"),
        (429, "Rate limit reached; add a payment method at .../account/billing", "busy"),
        (429, "context length of your tokens per minute", "busy"),
        (204, "", "refused"),
        (302, "", "refused"),
        (500, "", "server"),
        (500, "the context size has been exceeded", "context"),
        (503, "", "server"),
        (529, "overloaded", "server"),
    ],
)
def test_a_status_and_its_body_mean_one_kind_of_failure(status: int, text: str, kind: Kind) -> None:
    failure = of_status(status, text, text)
    assert (failure.kind, failure.status) == (kind, status)
    assert str(status) in failure.message


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("3", 3.0),
        ("0", 0.0),
        ("1.5", 1.5),
        ("-5", None),
        ("soon", None),
        ("", None),
        ("nan", None),
        ("inf", None),
        ("Wed, 21 Oct 2015 07:28:10 GMT", 10.0),
        ("Wed, 21 Oct 2015 07:27:00 GMT", 0.0),
        ("Wed, 99 Oct 2015 07:28:10 GMT", None),
        ("999999999", 999_999_999.0),
    ],
)
def test_retry_after_is_seconds_or_a_date_and_anything_else_is_nothing(
    header: str | None, seconds: float | None
) -> None:
    assert retry_after_s(header, NOW) == seconds


@given(st.text() | st.integers().map(str) | st.floats().map(str))
def test_no_retry_after_header_raises(header: str) -> None:
    seconds = retry_after_s(header, NOW)
    assert seconds is None or 0 <= seconds < float("inf")


@pytest.mark.parametrize("kind", RETRIES)
def test_each_kind_is_retried_so_often_and_no_more(kind: Kind) -> None:
    attempts = 1
    while isinstance(decide(Failure(kind, "x"), attempts, 1e9), Wait):
        attempts += 1
    assert attempts - 1 == RETRIES[kind]


def test_waits_double_up_to_a_bound() -> None:
    failure = Failure("busy", "x")
    decisions = [decide(failure, attempts, 1e9, backoff_s=1.0) for attempts in range(1, 8)]
    waits = [one.seconds for one in decisions if isinstance(one, Wait)]
    assert waits == [1, 2, 4, 8, 16, LONGEST_BACKOFF_S, LONGEST_BACKOFF_S]


def test_a_server_that_says_when_is_asked_then_and_not_before() -> None:
    failure = Failure("busy", "x", 429, retry_after_s=7.0)
    assert decide(failure, 1, 100.0, backoff_s=0.5) == Wait(7.0)
    at_once = Failure("busy", "x", 429, retry_after_s=0.0)
    assert decide(at_once, 1, 100.0, backoff_s=0.5) == Wait(0.1)


@given(
    kind=st.sampled_from(list(RETRIES)),
    attempts=st.integers(1, 20),
    left_s=st.floats(-10, 1000),
    after=st.none() | st.floats(0, 1e12),
    jitter=st.floats(0, 1),
)
def test_no_wait_passes_the_deadline_or_the_number_of_retries(
    kind: Kind, attempts: int, left_s: float, after: float | None, jitter: float
) -> None:
    decision = decide(Failure(kind, "x", None, after), attempts, left_s, jitter=jitter)
    if isinstance(decision, Wait):
        assert 0 <= decision.seconds < left_s
        assert attempts <= RETRIES[kind]
        assert decision.seconds >= (after or 0)
    else:
        assert isinstance(decision, GiveUp)
