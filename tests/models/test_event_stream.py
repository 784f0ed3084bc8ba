"""Server-sent events, cut anywhere."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from planloop.models.sse import EventBuffer, looks_like_events

STREAM = (
    b": a comment\n\n"
    b"event: message\nid: 7\ndata: one\n\n"
    b"data:two\r\n\r\n"
    b"data: thr\ndata: ee\n\n"
    b"data: \n\n"
    b"\n\n"
    b"data: [DONE]\n\n"
)


@given(st.lists(st.integers(0, len(STREAM)), max_size=20))
def test_events_are_the_same_wherever_the_stream_is_cut(cuts: list[int]) -> None:
    buffer, seen, start = EventBuffer(), [], 0
    for end in [*sorted(cuts), len(STREAM)]:
        seen += list(buffer.feed(STREAM[start:end]))
        start = end
    assert seen == [b"one", b"two", b"thr\nee", b"[DONE]"]


@given(st.lists(st.binary(max_size=50)))
def test_no_bytes_raise(chunks: list[bytes]) -> None:
    buffer = EventBuffer()
    for chunk in chunks:
        list(buffer.feed(chunk))


def test_a_document_is_told_from_events_by_its_start() -> None:
    assert looks_like_events(b"\r\ndata: {")
    assert looks_like_events(b": ping")
    assert not looks_like_events(b' {"data": 1}')
