"""One running statement: serves its calls, keeps its clock, measures how it ends."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import anyio
from anyio.abc import TaskGroup

from planloop.executor.programs.ending import (
    MOST_SAID,
    Answer,
    Ended,
    HowEnded,
    OnStatementOutput,
    ProgramCall,
    Raised,
    Serve,
    clean,
    failure_of,
    told,
)
from planloop.executor.programs.frames import Forged, HungUp
from planloop.observation import Failure
from planloop.plan import Statement
from planloop.sandbox import Stream
from planloop.sandboxes.capture import Capture
from planloop.values import Value

if TYPE_CHECKING:
    from planloop.executor.programs.interpreter import Interpreter

_GRACE_S = 3.0
"""What a statement that ran too long has to be ended from inside, before all is ended."""
_CALLS_AT_ONCE = 64
_MOST_NOTES = 1_000
_LARGE = 1 << 20
"""Bytes of a frame that are large: such calls are served one at a time."""
_MOST_REFUSED = 100
"""Calls of one statement that it was not granted; then the interpreter is ended."""


class Printed:
    """What a statement prints, bounded."""

    def __init__(self, shown: int, kept: int, on_output: OnStatementOutput) -> None:
        self.captures: dict[Stream, Capture] = {
            "stdout": Capture(shown, kept),
            "stderr": Capture(shown, kept),
        }
        self._on_output = on_output
        self.flooded = anyio.Event()

    def feed(self, stream: Stream, text: str) -> None:
        capture = self.captures[stream]
        if not capture.flooded:
            capture.feed(text.encode("utf-8", "replace"))
            self._on_output(stream, text)
        if capture.flooded:
            self.flooded.set()


class Running:
    """One statement while it runs."""

    def __init__(
        self,
        interpreter: Interpreter,
        statement: Statement,
        serve: Serve,
        number: int,
        timeout_s: float,
        output: Printed,
    ) -> None:
        self._interpreter = interpreter
        self._statement = statement
        self._serve = serve
        self._number = number
        self._clock = _Clock(timeout_s)
        self._output = output
        self._room = anyio.Semaphore(_CALLS_AT_ONCE)
        self._refused = 0
        self._late = False
        self._told: dict[str, Any] | None = None
        self._ended: Ended | None = None
        self.said: list[tuple[str, Value]] = []

    async def to_the_end(self) -> Ended:
        """Serve calls until the statement has ended, one way or another."""
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(self._watch_time)
                group.start_soon(self._watch_output)
                await self._listen(group)
                group.cancel_scope.cancel()
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None
        assert self._ended is not None
        return self._ended

    async def _listen(self, group: TaskGroup) -> None:
        while self._ended is None:
            try:
                frame = await self._interpreter.receive()
                self._ended = await self._hear(frame, group)
            except (Forged, ValueError, TypeError) as forged:
                self._ended = await self._forged(str(forged))
            except HungUp:
                how: HowEnded = "timeout" if self._late else "died"
                if self._output.flooded.is_set():
                    how = "output_limit"
                self._ended = await self._interpreter.given_up(how)

    async def _hear(self, frame: dict[str, Any], group: TaskGroup) -> Ended | None:
        match frame:
            case {"op": "call", "call": int(number), **rest}:
                call = self._call(number, rest)
                await self._room.acquire()
                if self._interpreter.received_bytes > _LARGE:
                    await self._answer(number, call)
                else:
                    group.start_soon(self._answer, number, call)
            case {"op": "out", "stream": ("stdout" | "stderr") as stream, "text": str(text)}:
                self._output.feed(stream, text)
            case {"op": "say", "word": ("note" | "give_up") as word, "value": str(text)}:
                self._say(word, clean(text))
            case {"op": "say", "word": "done", "value": plain}:
                self._say("done", self._interpreter.value_of(plain))
            case {"op": "ended", "id": self._number, "ok": bool()}:
                return self._has_ended(frame)
            case {"op": "back", "id": self._number, "why": ("failed" | "died" | "late") as why}:
                return self._went_back(why)
            case _:
                raise Forged(f"a frame `{str(frame.get('op'))[:40]}` that nobody asked for")
        return None

    def _say(self, word: str, value: Value) -> None:
        over = any(said != "note" for said, _ in self.said)
        long = word != "done" and len(value) > MOST_SAID
        if over or long or len(self.said) >= _MOST_NOTES:
            raise Forged("more, or longer, words than a statement may say")
        self.said.append((word, value))

    def _call(self, number: int, rest: dict[str, Any]) -> ProgramCall | None:
        """The call, or None for one that the statement was not granted."""
        match rest:
            case {
                "tool": str(tool),
                "args": list(args),
                "kwargs": dict(kwargs),
                "line": int() | None as line,
                "path": list(path),
            } if len(rest) == 5 and _is_path(path):
                pass
            case _:
                raise Forged("a call that is not well formed")
        if tool not in self._statement.grants:
            self._refused += 1
            if self._refused > _MOST_REFUSED:
                raise Forged("calls of tools that its text does not name")
            return None
        return ProgramCall(
            number=number,
            tool=tool,
            args=[self._interpreter.value_of(one) for one in args],
            kwargs={name: self._interpreter.value_of(one) for name, one in kwargs.items()},
            line=self._statement.line if line is None else line,
            path=tuple(path),
        )

    async def _answer(self, number: int, call: ProgramCall | None) -> None:
        try:
            if call is None:
                name = "PermissionError"
                answer: Answer = Raised(name, "the statement does not name this tool")
            else:
                with self._clock.paused():
                    answer = await self._serve(call)
            await self._interpreter.answer(number, answer)
        except HungUp:
            return  # whoever listens hears it too
        finally:
            self._room.release()

    def _has_ended(self, frame: dict[str, Any]) -> Ended | None:
        ended = told(frame)
        if not ended.ok and frame.get("goes_back") is True:
            self._told = frame  # a checkpoint takes its place next
            return None
        return ended

    def _went_back(self, why: str) -> Ended:
        if why == "failed" and self._told is not None:
            return told(self._told)
        how: HowEnded = "died"
        if self._output.flooded.is_set():
            how = "output_limit"
        elif why == "late" or self._late:
            how = "timeout"
        elif self._interpreter.out_of_memory():
            how = "oom"
        return Ended(how=how, error=failure_of(how))

    async def _forged(self, what: str) -> Ended:
        ended = await self._interpreter.given_up("forged")
        message = f"the program wrote into planloop's own channel: {what}"
        return dataclasses.replace(ended, error=Failure(type="Forged", message=message))

    @property
    def calls_s(self) -> float:
        """How long calls of it have run."""
        return self._clock.paused_s

    async def _watch_time(self) -> None:
        await self._clock.ran_out()
        self._late = True
        await self._hurry("timeout")

    async def _watch_output(self) -> None:
        await self._output.flooded.wait()
        await self._hurry("output_limit")

    async def _hurry(self, how: HowEnded) -> None:
        self._interpreter.hurry()
        await anyio.sleep(_GRACE_S)
        await self._interpreter.end()


class _Clock:
    """Time that a statement takes besides its calls."""

    def __init__(self, limit_s: float) -> None:
        self._left = limit_s
        self._pauses = 0
        self._since = time.monotonic()
        self._goes_on = anyio.Event()
        self.paused_s = 0.0

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Time that does not count."""
        if not self._pauses:
            self._left -= self._lap()
            self._goes_on = anyio.Event()
        self._pauses += 1
        try:
            yield
        finally:
            self._pauses -= 1
            if not self._pauses:
                self.paused_s += self._lap()
                self._goes_on.set()

    def _lap(self) -> float:
        before, self._since = self._since, time.monotonic()
        return self._since - before

    async def ran_out(self) -> None:
        """Wait until it has run out."""
        while True:
            if self._pauses:
                await self._goes_on.wait()
            left = self._left - (time.monotonic() - self._since)
            if left <= 0:
                return
            await anyio.sleep(left)


def _is_path(path: list[Any]) -> bool:
    return 0 < len(path) < 64 and all(type(one) is int for one in path)
