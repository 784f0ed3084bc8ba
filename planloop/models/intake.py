"""Reads one reply off a connection: under deadlines, bounded, and whole or not at all."""

from __future__ import annotations

import dataclasses
import math
from contextlib import aclosing

import anyio

from planloop.messages import OnText, Reply
from planloop.models.openai_reply import Assembler, Garbled
from planloop.models.retry import AttemptFailed, Failure
from planloop.models.sse import EventBuffer, looks_like_events
from planloop.models.transport import Response
from planloop.models.wellformed import well_formed

_LINGER_S = 2.0
"""For usage and the end of the stream, once the reply itself is whole."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Patience:
    """How long a model is waited for, and how much of it is read."""

    connect_s: float = 10.0
    first_byte_s: float = 180.0
    """Until the first event of a stream. Does not count where a reply comes in one piece."""
    idle_s: float = 90.0
    """Between two events. Comments and empty ones do not count: they keep a connection open."""
    total_s: float = 600.0
    """For one request with all its attempts; `Request.deadline_s` may make it shorter."""
    backoff_s: float = 0.5
    """Before the second attempt; every further wait is twice as long, up to 30 s."""
    max_reply_bytes: int = 8_000_000


class Timer:
    """The deadlines of one attempt, as one cancel scope whose deadline moves with the reply."""

    def __init__(self, patience: Patience, deadline: float, *, streams: bool) -> None:
        self._patience = patience
        self._deadline = deadline
        self._started = False
        self._moved = anyio.current_time()
        first = self._moved + (patience.first_byte_s if streams else math.inf)
        self.scope = anyio.CancelScope(deadline=min(first, deadline))

    def progress(self) -> None:
        """Something of the reply has come."""
        now = anyio.current_time()
        # Moving a deadline costs more than reading an event.
        if not self._started or now - self._moved > self._patience.idle_s / 20:
            self._started = True
            self._moved = now
            self.scope.deadline = min(now + self._patience.idle_s, self._deadline)

    def linger(self) -> None:
        """The reply is whole; only what goes with it is waited for."""
        self.scope.deadline = min(anyio.current_time() + _LINGER_S, self._deadline)

    def failure(self) -> Failure:
        """What it means that the scope was cancelled."""
        if anyio.current_time() >= self._deadline:
            return Failure("silence", "no whole reply came before the deadline")
        if self._started:
            return Failure("silence", f"the reply stopped for {self._patience.idle_s:g} s")
        return Failure("silence", f"no reply began within {self._patience.first_byte_s:g} s")


class Listener:
    """Passes pieces of the text on, of one attempt only: what was heard cannot be taken back."""

    def __init__(self, on_text: OnText | None) -> None:
        self._on_text = on_text
        self._heard = False

    def hear(self, piece: str) -> None:
        """A piece of the text has come."""
        if self._on_text is not None and piece:
            self._heard = True
            self._on_text(well_formed(piece))

    def attempt_failed(self) -> None:
        """What was heard, if anything, has no end."""
        if self._heard:
            self._on_text = None


class Intake:
    """Takes one response in. Holds what has come, also when the reading was cancelled."""

    def __init__(self, patience: Patience, timer: Timer, listener: Listener) -> None:
        self._limit = patience.max_reply_bytes
        self._timer = timer
        self._listener = listener
        self._assembler = Assembler()

    @property
    def complete(self) -> bool:
        """Whether the reply is whole."""
        return self._assembler.complete

    def reply(self) -> Reply:
        """The reply.

        Raises:
            AttemptFailed: it is not whole.
        """
        try:
            return self._assembler.reply()
        except Garbled as error:
            raise AttemptFailed(Failure("garbled", str(error))) from None

    async def read(self, response: Response) -> None:
        """Read until the reply is whole and the response at its end.

        Raises:
            AttemptFailed: it was cut, is garbled or too large.
            ServerError: the server reports an error in it.
        """
        try:
            await self._read(response)
        except Garbled as error:
            raise AttemptFailed(Failure("garbled", str(error))) from None
        except AttemptFailed:
            if not self.complete:
                raise

    async def _read(self, response: Response) -> None:
        if response.headers.get("content-encoding", "identity").strip().lower() != "identity":
            raise Garbled("the response is compressed, which was not asked for")
        events = "event-stream" in response.headers.get("content-type", "")
        buffer, body, size = EventBuffer(), bytearray(), 0
        async with aclosing(response.chunks()) as chunks:
            async for chunk in chunks:
                size += len(chunk)
                self._bound(size)
                events = events or (not body and looks_like_events(chunk))
                if events:
                    self._take(buffer, chunk)
                else:
                    body += chunk
                    self._timer.progress()
        if events:
            self._take(buffer, b"\n\n")
        else:
            self._listener.hear(self._assembler.whole(bytes(body)))

    def _take(self, buffer: EventBuffer, chunk: bytes) -> None:
        for data in buffer.feed(chunk):
            self._listener.hear(self._assembler.event(data))
            if self.complete:
                self._timer.linger()
            else:
                self._timer.progress()

    def _bound(self, size: int) -> None:
        if size > self._limit:
            message = f"the reply is larger than {self._limit:,} bytes"
            raise AttemptFailed(Failure("too_large", message))
