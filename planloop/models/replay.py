"""A recording as a model: a run repeated without a key, a network or a price."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from planloop.errors import UserError
from planloop.messages import Message, Model, OnText, Profile, Reply, Request
from planloop.models.replay_format import FREE, Exchange, Header, Said, parse, said
from planloop.text import one_line, sanitise

MAX_BYTES = 64_000_000
"""Of a replay file; larger ones are refused before they are read."""

_SHOWN_LINES = 12


class ReplayModel:
    """Answers from exchanges, in their order within each conversation.

    `differences` collects one text for each request that is not as it was recorded. In strict
    mode such a request is an error, and `finish` is one if replies are left.
    """

    def __init__(
        self,
        exchanges: Iterable[Exchange],
        *,
        name: str = "replay",
        profile: Profile = FREE,
        strict: bool = False,
        where: str = "the replay",
        executor: Header | None = None,
    ) -> None:
        self.name = name
        self.profile = profile
        self.strict = strict
        self.where = where
        self.differences: list[str] = []
        self._script: dict[str, list[Exchange]] = {}
        for one in exchanges:
            self._script.setdefault(one.conversation, []).append(one)
        self._next: dict[str, int] = {}
        self._seen = NewMessages()
        self.executor: Model | None = None
        """The model of goals and `llm` calls, if the recording says that it was another one."""
        if executor is not None:
            self.executor = _Beside(self, executor.name or name, executor.profile)

    @classmethod
    def load(cls, path: Path | str, strict: bool = False) -> ReplayModel:
        """Read a replay file.

        Raises:
            UserError: there is no such file, or a line of it is not in the format.
        """
        header, exchanges = parse(_read(Path(path)), str(path))
        name = header.name or Path(path).name
        return cls(
            exchanges,
            name=name,
            profile=header.profile,
            strict=strict,
            where=str(path),
            executor=header.executor,
        )

    def __repr__(self) -> str:
        return f"ReplayModel({self.where!r})"

    async def complete(self, request: Request, on_text: OnText | None = None) -> Reply:
        """The next recorded reply of the request's conversation.

        Raises:
            UserError: no reply is left, or in strict mode the request differs.
        """
        from anyio.lowlevel import checkpoint

        await checkpoint()
        exchange = self._take(request.conversation)
        new = said(self._seen.of(request))
        self._seen.remember(request)
        if exchange.request is not None and exchange.request not in (new, said(request.messages)):
            self._report(request.conversation, exchange, new)
        if on_text is not None:
            for piece in exchange.reply.text.splitlines(keepends=True):
                on_text(piece)
        return exchange.reply

    async def close(self) -> None:
        """Nothing to release."""

    def unused(self) -> list[str]:
        """Replies that nobody asked for, one line each, in the order of the file."""
        left = [
            (one.line, index, one)
            for conversation, script in self._script.items()
            for index, one in enumerate(script)
            if index >= self._next.get(conversation, 0)
        ]
        return [_reply_text(index, one) for _, index, one in sorted(left, key=lambda it: it[:2])]

    def finish(self) -> None:
        """Say that the run has ended.

        Raises:
            UserError: in strict mode, replies are left.
        """
        if self.strict and (left := self.unused()):
            raise UserError(
                f"the run ended with {len(left)} recorded replies unused, first {left[0]}",
                where=self.where,
                hint="record the run again, or take these lines out",
            )

    def _take(self, conversation: str) -> Exchange:
        script = self._script.get(conversation, [])
        index = self._next.get(conversation, 0)
        if index >= len(script):
            known = ", ".join(f"`{name}`" for name in self._script) or "none"
            raise UserError(
                f"no reply is left for conversation `{conversation}`: the replay holds "
                f"{len(script)} of them (its conversations: {known})",
                where=self.where,
                hint="record the run again, or add the missing replies",
            )
        self._next[conversation] = index + 1
        return script[index]

    def _report(self, conversation: str, exchange: Exchange, new: tuple[Said, ...]) -> None:
        head = f"request {self._next[conversation]} of conversation `{conversation}`"
        difference = f"{head} differs from the recording\n{first_difference(exchange, new)}"
        self.differences.append(difference)
        if self.strict:
            where = f"{self.where}, line {exchange.line}" if exchange.line else self.where
            raise UserError(difference, where=where, hint="record the run again")


class _Beside:
    """The second model of a recording: other conversations of the same file."""

    def __init__(self, recording: ReplayModel, name: str, profile: Profile) -> None:
        self.name = name
        self.profile = profile
        self._recording = recording

    async def complete(self, request: Request, on_text: OnText | None = None) -> Reply:
        """The next recorded reply of the request's conversation."""
        return await self._recording.complete(request, on_text)

    async def close(self) -> None:
        """Nothing to release."""


class NewMessages:
    """Finds the messages that a request adds to the last one of its conversation."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[int, Message]] = {}

    def of(self, request: Request) -> tuple[Message, ...]:
        """What is new; everything, if the conversation was started over."""
        count, last = self._last.get(request.conversation, (0, None))
        grown = 0 < count <= len(request.messages) and request.messages[count - 1] is last
        return request.messages[count:] if grown else request.messages

    def remember(self, request: Request) -> None:
        """The request was answered."""
        if request.messages:
            last = (len(request.messages), request.messages[-1])
            self._last[request.conversation] = last


def first_difference(exchange: Exchange, new: tuple[Said, ...]) -> str:
    """A short unified diff of the first message that differs."""
    recorded = exchange.request or ()
    for index, (before, now) in enumerate(zip(recorded, new, strict=False), start=1):
        if before.role != now.role:
            return f"message {index}: was of role `{before.role}`, now `{now.role}`"
        if before.text != now.text:
            return "\n".join((f"message {index} ({now.role}):", *_diff(before.text, now.text)))
    extra = new[len(recorded) :] or recorded[len(new) :]
    side = "is new" if len(new) > len(recorded) else "is missing"
    return f"message {min(len(recorded), len(new)) + 1} {side}: {one_line(extra[0].text)}"


def _diff(before: str, now: str) -> Iterator[str]:
    import difflib

    old, new = before.splitlines(), now.splitlines()
    start = 0
    while start < min(len(old), len(new)) and old[start] == new[start]:
        start += 1
    # The compare is quadratic: only the neighbourhood of the first difference goes in.
    around = slice(max(0, start - 2), start + _SHOWN_LINES)
    lines = list(difflib.unified_diff(old[around], new[around], "recorded", "now", "", "", 2, ""))
    for line in lines[: _SHOWN_LINES + 2]:
        yield f"@@ line {start + 1} @@" if line.startswith("@@") else sanitise(line[:160])
    if len(lines) > _SHOWN_LINES + 2:
        yield "…"


def _reply_text(index: int, exchange: Exchange) -> str:
    place = f"line {exchange.line}: " if exchange.line else ""
    shown = one_line(exchange.reply.text, 60)
    return f"{place}reply {index + 1} of conversation `{exchange.conversation}`: {shown}"


def _read(path: Path) -> str:
    try:
        # Non-blocking: opening a named pipe would wait for its writer.
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        with open(handle, "rb") as file:
            status = os.fstat(handle)
            if not stat.S_ISREG(status.st_mode):
                raise UserError(f"`{path}` is no regular file", hint="`replay:` takes a file")
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise UserError(
            f"cannot read the replay `{path}`: {error.strerror}",
            hint="in a task file it is relative to the file's folder, elsewhere to the current one",
        ) from None
    if len(content) > MAX_BYTES:
        raise UserError(f"the replay `{path}` is larger than {MAX_BYTES // 10**6} MB")
    return _decoded(content, path)


def _decoded(content: bytes, path: Path) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UserError("the replay is not UTF-8 text", where=f"{path}, line {line}") from None
