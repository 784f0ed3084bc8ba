"""Server-sent events, as bytes arrive."""

from __future__ import annotations

from collections.abc import Iterator


class EventBuffer:
    """Cuts a stream into the data of its events.

    Comments, names, ids and empty data yield nothing: they keep a connection open and say
    nothing.
    """

    def __init__(self) -> None:
        self._open_line: list[bytes] = []
        self._data: list[bytes] = []

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """The data of every event that `chunk` completes."""
        if b"\n" not in chunk:
            self._open_line.append(chunk)
            return
        self._open_line.append(chunk)
        *lines, rest = b"".join(self._open_line).split(b"\n")
        self._open_line = [rest] if rest else []
        for line in lines:
            yield from self._line(line.rstrip(b"\r"))

    def _line(self, line: bytes) -> Iterator[bytes]:
        if line.startswith(b"data:"):
            self._data.append(line[5:].lstrip(b" "))
        elif not line and self._data:
            data, self._data = b"\n".join(self._data).strip(), []
            if data:
                yield data


def looks_like_events(start: bytes) -> bool:
    """Whether a body that no header calls a stream of events is one."""
    return start.lstrip().startswith((b"data:", b"event:", b":"))
