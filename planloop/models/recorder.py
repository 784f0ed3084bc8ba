"""Writes down every exchange with a model, in the replay format."""

from __future__ import annotations

import os
from pathlib import Path

from planloop.errors import InfrastructureError
from planloop.messages import Model, OnText, Reply, Request
from planloop.models.replay import NewMessages
from planloop.models.replay_format import Exchange, Header, exchange_line, header_line, said


class Recorder:
    """Another model, with every exchange kept in `exchanges` and, given a path, in a file.

    The file is private to its owner, appended to, complete after every line, and never a link.
    A request that failed is not recorded.

    Raises:
        InfrastructureError: the file cannot be opened, or later written.
    """

    def __init__(
        self, model: Model, path: Path | str | None = None, executor: Model | None = None
    ) -> None:
        self.model = model
        self.executor = executor
        """Another model, whose exchanges another recorder writes into the same file."""
        self.name = model.name
        self.profile = model.profile
        self.exchanges: list[Exchange] = []
        self._seen = NewMessages()
        self._path = path
        self._file = None if path is None else self._open(path)

    def __repr__(self) -> str:
        return f"Recorder({self.model!r})"

    async def complete(self, request: Request, on_text: OnText | None = None) -> Reply:
        """Ask the model and write the exchange down before the reply is returned."""
        reply = await self.model.complete(request, on_text)
        exchange = Exchange(
            conversation=request.conversation, request=said(self._seen.of(request)), reply=reply
        )
        self._seen.remember(request)
        self.exchanges.append(exchange)
        if self._file is not None:
            self._write(self._file, exchange_line(exchange))
        return reply

    async def close(self) -> None:
        """Close the file and the model."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
        await self.model.close()

    def _open(self, path: Path | str) -> int:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
        flags |= getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
        try:
            file = os.open(path, flags, 0o600)
        except OSError as error:
            raise self._trouble("open", error) from None
        if os.fstat(file).st_size == 0:
            other = self.executor
            beside = None if other is None else Header(other.name, other.profile)
            self._write(file, header_line(self.name, self.profile, beside))
        return file

    def _write(self, file: int, line: str) -> None:
        left = memoryview(line.encode() + b"\n")
        try:
            while left:
                left = left[os.write(file, left) :]
        except OSError as error:
            raise self._trouble("write", error) from None

    def _trouble(self, verb: str, error: OSError) -> InfrastructureError:
        return InfrastructureError(f"cannot {verb} the recording `{self._path}`: {error.strerror}")
