"""What commands wrote beyond what is shown of it: kept as blobs, and read back by plans."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Literal

import anyio.to_thread

from planloop.errors import CallFailed, InfrastructureError
from planloop.ledger import Ledger
from planloop.observation import Output
from planloop.sandbox import Completed, Spool, Stream
from planloop.tool import tool
from planloop.trace.blobs import Blobs

OUTPUT_OF = "output_of"
"""What plans call to read on; feedback names it where something is elided."""
_MOST_KEPT_BYTES = 1_000_000_000
"""Of all outputs of a session."""
_MOST_READ_BYTES = 64_000
_MOST_LINES = 200
_PIECE = 1 << 18
_BEFORE, _AFTER = 200, 300
"""Bytes of a line that are shown around what was looked for."""


class Outputs:
    """The long outputs of a session's calls."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._blobs: list[Blobs] = []
        self._kept_bytes = 0
        self.tool = tool(name=OUTPUT_OF, effect="pure")(self._output_of)

    def keep_in(self, blobs: Blobs) -> None:
        """From here on outputs are kept there; those of runs before are still found."""
        self._blobs.append(blobs)

    async def keep(self, completed: Completed) -> Completed:
        """The same, with each long stream kept as a blob and named by its hash."""
        if not completed.whole:
            return completed
        return await anyio.to_thread.run_sync(self._keep, completed)

    def _keep(self, completed: Completed) -> Completed:
        outputs = {"stdout": completed.stdout, "stderr": completed.stderr}
        notes = list(completed.notes)
        for stream, spool in completed.whole.items():
            try:
                blob = self._blob(spool)
            except InfrastructureError as error:
                notes.append(f"what is elided of {stream} is lost: {error.message}")
            else:
                outputs[stream] = dataclasses.replace(outputs[stream], blob=blob)
        return dataclasses.replace(
            completed,
            stdout=outputs["stdout"],
            stderr=outputs["stderr"],
            notes=tuple(notes),
            whole={},
        )

    def _blob(self, spool: Spool) -> str:
        if self._kept_bytes + spool.size > _MOST_KEPT_BYTES:
            raise InfrastructureError(f"outputs fill the {_MOST_KEPT_BYTES:,} bytes that are kept")
        self._kept_bytes += spool.size
        return self._blobs[-1].keep(spool.pieces())

    def _output_of(
        self,
        call: int,
        stream: Literal["stdout", "stderr"] = "stdout",
        start: int = 0,
        size: int = 8_000,
        containing: str = "",
    ) -> str:
        """Read on in what the command of call number `call` wrote.

        Gives `size` bytes (64,000 at most) from byte `start` on (negative: from the end), or the
        lines from there on that hold the text `containing`, each after the number of its byte.
        """
        source = self._source(call, stream)
        if start < 0:
            start = max(0, start + source.size)
        if start > source.size:
            raise CallFailed("NoSuchByte", f"{stream} of call {call} has {source.size} bytes")
        size = max(0, min(size, _MOST_READ_BYTES))
        if containing:
            needle = containing.encode("utf-8", "surrogatepass")
            return _matching(source, needle, start, size)
        return source.read(start, size).decode("utf-8", "replace")

    def _source(self, call: int, stream: Stream) -> _Source:
        """Where the bytes of a stream are.

        Raises:
            CallFailed: they are nowhere, and why.
        """
        seen = self._ledger[call].observation if 0 < call < self._ledger.next_serial else None
        if seen is None:
            raise CallFailed("NoSuchCall", f"there is no finished call {call}")
        output: Output | None = getattr(seen, stream)
        if output is None:
            raise CallFailed("NoOutput", f"call {call} ran no command")
        if not output.elided_bytes:
            return _in_memory(output.text.encode("utf-8", "surrogatepass"))
        if output.blob is None:
            raise CallFailed("OutputLost", f"what is elided of call {call} was not kept")
        return self._stored(output.blob)

    def _stored(self, name: str) -> _Source:
        why = ""
        for blobs in reversed(self._blobs):
            try:
                return _Source(blobs.size(name), partial(blobs.read, name))
            except ValueError as error:
                why = str(error)
        raise CallFailed("OutputLost", why)


@dataclasses.dataclass(frozen=True)
class _Source:
    """Bytes that are read in parts."""

    size: int
    read: Callable[[int, int], bytes]
    """At most so many bytes, from a place on: `read(start, size)`."""


def _in_memory(data: bytes) -> _Source:
    return _Source(len(data), lambda start, size: data[start : start + size])


def _matching(source: _Source, needle: bytes, start: int, room: int) -> str:
    """Lines that hold a text, one each, on at most `room` bytes; says where there are more."""
    found = list[str]()
    while (at := _place(source, needle, start)) is not None:
        shown, start = _line_at(source, at, needle)
        text = f"{at}: {shown.decode('utf-8', 'replace')}"
        room -= len(text) + 1
        if room < 0 or len(found) == _MOST_LINES:
            found.append(f"… more from byte {at} on")
            break
        found.append(text)
    return "\n".join(found)


def _place(source: _Source, needle: bytes, start: int) -> int | None:
    """Where a text is next, read in bounded pieces that overlap by all but one byte of it."""
    while piece := source.read(start, _PIECE + len(needle)):
        at = piece.find(needle)
        if at >= 0:
            return start + at
        if len(piece) < _PIECE + len(needle):
            return None
        start += _PIECE + 1
    return None


def _line_at(source: _Source, at: int, needle: bytes) -> tuple[bytes, int]:
    """The line around a place, bounded, and where to look on after it."""
    first = max(0, at - _BEFORE)
    before = source.read(first, at - first).rpartition(b"\n")[2]
    after = source.read(at, len(needle) + _AFTER)
    end = after.find(b"\n", len(needle))
    after = after if end < 0 else after[:end]
    return before + after, at + len(after)
