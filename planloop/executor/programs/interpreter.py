"""The host's end of an interpreter: starts it, and runs statements in it one at a time.

The program inside is hostile. It may forge frames: at most, one calls a tool that the present
statement names. How a statement ended is told by the program's own process and concerns only the
plan itself; time, memory and death are measured here.
"""

from __future__ import annotations

import contextlib
import dataclasses
import socket
import time
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import anyio

from planloop.errors import SandboxLost, UserError
from planloop.executor.programs.ending import (
    Answer,
    Ended,
    HowEnded,
    OnStatementOutput,
    PlanOver,
    Raised,
    Returned,
    Serve,
    failure_of,
)
from planloop.executor.programs.frames import Forged, Frames, HungUp
from planloop.executor.programs.running import Printed, Running
from planloop.plan import Statement
from planloop.sandbox import Command, Completed, Process, Sandbox, Stream
from planloop.values import Handle, Value, decode, encode

_VALUES_DEADLINE_S = 60.0


class NoPython(Exception):
    """There is no python3 in the sandbox, or no way to speak with one."""


class Interpreter:
    """A live interpreter in a sandbox. One statement at a time."""

    def __init__(self, process: Process, frames: Frames, control: socket.socket) -> None:
        self._process = process
        self._frames = frames
        self._control = control
        self._handles: dict[int, Handle] = {}
        self._tools: set[str] = set()
        self._numbers = 0
        self._output: Printed | None = None
        self.alive = True

    @classmethod
    async def start(cls, sandbox: Sandbox) -> Interpreter:
        """Start one.

        Raises:
            NoPython: no interpreter of 3.8 or later can be started in this sandbox.
            SandboxLost: the sandbox ended.
        """
        made: list[Interpreter] = []

        def on_output(stream: Stream, text: str) -> None:
            if made:
                made[0]._heard(stream, text)

        command = Command(
            argv=("python3", "-c", _BOOTSTRAP),
            env={"PYTHONHASHSEED": "0"},
            timeout_s=float("inf"),
        )
        try:
            process = await sandbox.start(command, on_output, channel=True)
        except (OSError, UserError) as error:
            raise NoPython from error
        channel = process.channel
        assert channel is not None  # it was asked for
        ours, theirs = socket.socketpair()
        with theirs, contextlib.suppress(BrokenPipeError):
            socket.send_fds(channel, [b"\0"], [theirs.fileno()])
        interpreter = cls(process, Frames(channel), ours)
        made.append(interpreter)
        with contextlib.suppress(HungUp):
            await interpreter._tell({"modules": _package()})
        await interpreter.values(())
        if not interpreter.alive:
            raise NoPython  # it is too old, or no Python at all
        return interpreter

    async def teach(self, stubs: Mapping[str, str]) -> None:
        """Give tools as functions, by the source of their stubs."""
        new = {name: stub for name, stub in stubs.items() if name not in self._tools}
        if new:
            self._tools |= set(new)
            await self._tell({"op": "tools", "tools": new})

    async def bind(self, names: Mapping[str, Value]) -> None:
        """Bind names to values of the host."""
        if names:
            values = {name: self._plain(value) for name, value in names.items()}
            await self._tell({"op": "names", "values": values})

    async def begin(self, file: str, source: str) -> None:
        """A plan begins: its text is what tracebacks show."""
        await self._tell({"op": "plan", "file": file, "source": source})

    async def seed(self, number: int) -> None:
        """Begin the random numbers of a lineage (R10)."""
        await self._tell({"op": "seed", "number": number})

    async def run(
        self,
        statement: Statement,
        file: str,
        serve: Serve,
        *,
        timeout_s: float,
        shown_bytes: int,
        kept_bytes: int,
        on_output: OnStatementOutput,
    ) -> Ended:
        """Run one statement to its end.

        Args:
            serve: answers its calls; several may run at once.
            timeout_s: what it may take besides its calls.
            shown_bytes, kept_bytes: bounds of each stream of its output.
        """
        self._numbers += 1
        self._output = Printed(shown_bytes, kept_bytes, on_output)
        running = Running(self, statement, serve, self._numbers, timeout_s, self._output)
        order = {
            "op": "run",
            "id": self._numbers,
            "file": file,
            "line": statement.line,
            "source": statement.source,
            "mark": statement.undo,
            "settled": list(statement.settled),
        }
        started = time.monotonic()
        try:
            await self._tell(order)
            ended = await running.to_the_end()
        except (HungUp, SandboxLost):
            ended = await self._gone("died")
        except BaseException:
            await self.end()
            raise
        finally:
            output, self._output = self._output, None
        return dataclasses.replace(
            ended,
            said=tuple(running.said),
            stdout=output.captures["stdout"].output(),
            stderr=output.captures["stderr"].output(),
            duration_s=time.monotonic() - started,
            calls_s=running.calls_s,
        )

    def lives(self) -> bool:
        """Whether it still does, as far as can be seen without waiting."""
        return self.alive and not self._frames.is_over()

    async def values(self, names: Collection[str]) -> tuple[dict[str, Value], dict[str, str]]:
        """What names hold, and the types of those that have no value form.

        Names that share containers with these come too; those that are not bound are left out.
        All are lost if the interpreter does not answer.
        """
        lost = dict.fromkeys(names, "unknown")
        found: dict[str, Any] | None = None
        try:
            await self._tell({"op": "values", "names": list(names)})
            with anyio.move_on_after(_VALUES_DEADLINE_S):
                while (found := await self._frames.receive()).get("op") != "values":
                    found = None
            if found is not None:
                return self._read_values(found, lost)
        except (HungUp, Forged, ValueError, TypeError):
            pass  # also what no value can be read from
        await self.end()
        return {}, lost

    async def end(self) -> Completed | None:
        """End it and everything that it left running. Safe to call twice."""
        if not self.alive:
            return None
        self.alive = False
        completed = None
        with anyio.CancelScope(shield=True), contextlib.suppress(SandboxLost):
            completed = await self._process.end()
        self._frames.close()
        self._control.close()
        return completed

    # ------------------------------------------------------------ for a running statement

    async def receive(self) -> dict[str, Any]:
        """The next frame from inside."""
        return await self._frames.receive()

    @property
    def received_bytes(self) -> int:
        """Size of the newest frame."""
        return self._frames.received_bytes

    async def answer(self, call: int, answer: Answer) -> None:
        """Answer a call."""
        match answer:
            case Returned(value):
                await self._tell({"op": "result", "call": call, "value": self._plain(value)})
            case Raised(kind, message, value):
                told = {"type": kind, "message": message, "value": self._plain(value)}
                await self._tell({"op": "failure", "call": call, **told})
            case PlanOver(why):
                await self._tell({"op": "stop", "call": call, "why": why})

    def value_of(self, plain: Any) -> Value:
        """A value from inside; handles of the host are found again."""
        return decode(plain, self._handles)

    def hurry(self) -> None:
        """Tell whoever watches inside that the statement has run too long."""
        try:
            self._control.send(b"x", socket.MSG_DONTWAIT)
        except OSError:
            return

    async def given_up(self, how: HowEnded) -> Ended:
        """End the whole interpreter because of a statement."""
        return await self._gone(how)

    def out_of_memory(self) -> bool:
        """Whether the kernel ended something of it for want of memory since it was last asked."""
        kills = self._process.oom_kills()
        before, self._oom_kills = self._oom_kills, kills
        return kills > before

    _oom_kills = 0

    async def _gone(self, how: HowEnded) -> Ended:
        completed = await self.end()
        if how == "died" and completed is not None and _names_memory(completed):
            how = "oom"
        return Ended(how=how, error=failure_of(how), undone=False, alive=False)

    async def _tell(self, frame: Mapping[str, Any]) -> None:
        await self._frames.send(frame)

    def _heard(self, stream: Stream, text: str) -> None:
        if self._output is not None:
            self._output.feed(stream, text)

    def _plain(self, value: Value) -> Any:
        for handle in _handles_in(value):
            self._handles[handle.id] = handle
        return encode(value)

    def _read_values(
        self, frame: Mapping[str, Any], lost: dict[str, str]
    ) -> tuple[dict[str, Value], dict[str, str]]:
        values, unknown = frame.get("values"), frame.get("lost")
        if not isinstance(values, dict) or not isinstance(unknown, dict):
            raise Forged("values that are none")
        found = {name: self.value_of(value) for name, value in values.items()}
        missing = {name: str(unknown[name])[:200] for name in lost if name in unknown}
        return found, missing


def _names_memory(completed: Completed) -> bool:
    return any(note.startswith("oom_kills=") for note in completed.notes)


def _handles_in(value: Value) -> list[Handle]:
    if isinstance(value, Handle):
        return [value]
    if isinstance(value, dict):
        return [handle for item in value.values() for handle in _handles_in(item)]
    if isinstance(value, list):
        return [handle for item in value for handle in _handles_in(item)]
    return []


def _package() -> dict[str, str]:
    """The modules of the interpreter, by name: they run inside, and are never imported here."""
    return {path.stem: path.read_text("utf-8") for path in _INSIDE.glob("*.py")}


_INSIDE = Path(__file__).parent / "inside"
_BOOTSTRAP = (_INSIDE / "bootstrap.py").read_text("utf-8")
