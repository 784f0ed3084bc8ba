"""Calls by engine exec, where a container's first process cannot serve: slower, and less is known
of their ends.

The same orders as `Link`, which is to be preferred. The engine's exec tells an exit code only, so
that a death by signal N looks like exit code 128 + N. Processes are ended by the host where it
sees them, else by a shell inside; every process of the calls' user that no other living call has
marked as its own is ended with a call.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import secrets
import select
import socket
import struct
import threading
from collections.abc import Mapping
from typing import Any, Protocol

import anyio

from planloop.errors import SandboxLost, UserError
from planloop.sandboxes.engine import Engine, hang_up
from planloop.sandboxes.link import END_DEADLINE_S

WAITER = ("/bin/sh", "-c", "read -r _")
"""A first process that ends when its input does."""
_MARK = "PLANLOOP_CALL"
_FRAME = struct.Struct(">BxxxL")
_LOOK_S = 0.02
"""How often the engine is asked whether a quiet call has ended."""


class Kills(Protocol):
    """How processes of calls are ended."""

    async def kill(self, kept: set[bytes]) -> set[int]:
        """Send SIGKILL to every process of calls whose environment holds none of `kept`.

        Returns which there were: nothing, once all are gone. Those that were killed may be there
        for a moment.

        Raises:
            SandboxLost: the container ended.
        """
        ...


class ExecLink:
    """Orders to a container by the engine's exec.

    Args:
        user: the user of calls, which no other process in the container is.
        kills: how they are ended.
        lifeline: keeps the container alive as long as it is open.
    """

    def __init__(
        self, engine: Engine, container: str, user: int, kills: Kills, lifeline: Any
    ) -> None:
        self._engine = engine
        self._container = container
        self._user = user
        self._kills = kills
        self._lifeline = lifeline
        self._ids = itertools.count(1)
        self._marks: dict[int, str] = {}
        self._made: dict[int, str] = {}
        self._goes_on = anyio.Event()
        self._goes_on.set()

    @classmethod
    async def attach(cls, engine: Engine, container: str, user: int, kills: Kills) -> ExecLink:
        """Take hold of a container whose first process is `WAITER`.

        Raises:
            APIError: the engine refused.
            SandboxLost: the engine does not answer.
        """
        lifeline = await engine.ask(
            lambda client: client.attach_socket(container, params={"stdin": 1, "stream": 1})
        )
        return cls(engine, container, user, kills, lifeline)

    async def start(
        self,
        request: Mapping[str, Any],
        stdin: int,
        stdout: int,
        stderr: int,
        channel: int | None = None,
    ) -> tuple[int, int]:
        """As `Link.start`.

        Raises:
            UserError: a channel is asked for; the engine's exec has none.
        """
        if channel is not None:
            raise UserError(
                "this sandbox's calls go by engine exec, which gives them no channel to the host",
                hint="add python3 (3.8 or later) to the image",
            )
        await self._goes_on.wait()
        call, mark = next(self._ids), secrets.token_hex(8)
        reading, writing = os.pipe()
        os.set_blocking(reading, False)
        ours = [os.dup(descriptor) for descriptor in (stdin, stdout, stderr)]
        self._marks[call] = mark
        try:
            with anyio.CancelScope(shield=True):
                made, channel = await self._engine.ask(lambda c: self._executed(c, request, mark))
        except BaseException as error:
            for descriptor in (reading, writing, *ours):
                os.close(descriptor)
            raise self._refusal(error) from None
        self._made[call] = made
        pump = _Pump(self._engine, made, channel, ours, writing, tell=bool(request.get("tell")))
        threading.Thread(target=pump.run, name="planloop-exec", daemon=True).start()
        return call, reading

    def hurry(self, call: int) -> None:
        """Nothing: by exec, only `end` can."""

    async def end(self, call: int | None) -> int:
        """As `Link.end`."""
        if self._goes_on.is_set():
            return await self._end(call)
        await self.resume()
        try:
            return await self._end(call)
        finally:
            if call is not None:
                await self.pause()

    async def pause(self) -> int:
        """As `Link.pause`."""
        self._goes_on = anyio.Event()
        await self._engine.ask(lambda client: client.pause(self._container))
        return 0

    async def resume(self) -> int:
        """As `Link.resume`: the engine's pause is the kernel's own, which nothing wakes from."""
        await self._engine.ask(lambda client: client.unpause(self._container))
        self._goes_on.set()
        return 0

    async def _end(self, call: int | None) -> int:
        if call is None:
            self._marks.clear()
        else:
            self._marks.pop(call, None)
        kept = {f"{_MARK}={mark}".encode() for mark in self._marks.values()}
        ended: set[int] = set()
        with anyio.move_on_after(END_DEADLINE_S):
            while True:
                found = await self._kills.kill(kept)
                ended |= found
                if not found and await self._is_over(call):
                    return len(ended)
                await anyio.sleep(0.002)
        raise SandboxLost(f"processes did not end within {END_DEADLINE_S:g} s")

    def close(self) -> None:
        """Let go of the container, whose first process then ends."""
        hang_up(self._lifeline)

    def _executed(self, client: Any, request: Mapping[str, Any], mark: str) -> tuple[str, Any]:
        made = client.exec_create(
            self._container,
            request["argv"],
            environment={**request["env"], _MARK: mark},
            workdir=request["cwd"],
            user=f"{self._user}:{self._user}",
            stdin=True,
        )["Id"]
        return made, client.exec_start(made, socket=True)

    def _refusal(self, error: BaseException) -> BaseException:
        from docker.errors import APIError

        return SandboxLost("its container ended") if isinstance(error, APIError) else error

    async def _is_over(self, call: int | None) -> bool:
        """Whether the engine says so; a call that has not even started yet is not over."""
        for made in list(self._made.values()) if call is None else [self._made[call]]:
            if await self._exit_code(made) is None:
                return False
        if call is None:
            self._made.clear()
        else:
            del self._made[call]
        return True

    async def _exit_code(self, made: str) -> int | None:
        found = await self._engine.ask(lambda client: client.exec_inspect(made))
        return None if found["ExitCode"] is None else int(found["ExitCode"])


class _Pump:
    """Carries one call's streams between the engine and pipes, in a thread of its own."""

    def __init__(
        self,
        engine: Engine,
        made: str,
        channel: Any,
        streams: list[int],
        status: int,
        *,
        tell: bool,
    ) -> None:
        self._engine = engine
        self._tell = tell
        self._made = made
        self._channel = channel
        self._socket = getattr(channel, "_sock", channel)
        self._streams = streams
        self._status = status
        self._first_words = b""

    def run(self) -> None:
        """Until the command's own process has ended, or the host has stopped listening."""
        try:
            if self._tell:
                self._tell_start()
            self._send_stdin()
            with contextlib.suppress(BrokenPipeError):
                self._carry()
            self._report()
        except Exception:  # the engine went away: the host sees a status without a word
            pass
        finally:
            hang_up(self._channel)
            for descriptor in (*self._streams, self._status):
                os.close(descriptor)

    def _tell_start(self) -> None:
        """Say that the command runs, once the engine knows its process."""
        found = self._inspected()
        while found["Running"] and not found["Pid"]:
            threading.Event().wait(_LOOK_S)
            found = self._inspected()
        if found["Pid"]:
            os.write(self._status, b"started ")

    def _send_stdin(self) -> None:
        with contextlib.suppress(OSError):
            while piece := os.read(self._streams[0], 1 << 16):
                self._socket.sendall(piece)
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    def _carry(self) -> None:
        while True:
            if select.select([self._socket], [], [], _LOOK_S)[0]:
                if not self._carry_frame():
                    return
            elif not self._inspected()["Running"] and not self._waiting():
                return

    def _waiting(self) -> bool:
        return bool(select.select([self._socket], [], [], 0)[0])

    def _carry_frame(self) -> bool:
        header = self._exactly(_FRAME.size)
        if len(header) < _FRAME.size:
            return False
        stream, size = _FRAME.unpack(header)
        data = memoryview(self._exactly(size))
        self._first_words = self._first_words or bytes(data[:2000])
        while data:
            data = data[os.write(self._streams[2 if stream == 2 else 1], data) :]
        return True

    def _exactly(self, size: int) -> bytes:
        pieces = b""
        while len(pieces) < size and (piece := self._socket.recv(size - len(pieces))):
            pieces += piece
        return pieces

    def _report(self) -> None:
        found = self._inspected()
        while found["Running"]:
            threading.Event().wait(_LOOK_S)
            found = self._inspected()
        never_ran = found["ExitCode"] in (126, 127) and not found["Pid"]
        # The engine may say that it is over before its reason has arrived.
        if never_ran and not self._first_words and select.select([self._socket], [], [], 2.0)[0]:
            self._carry_frame()
        words = self._refusal() if never_ran else f"exited {int(found['ExitCode']) << 8} 1"
        os.write(self._status, words.encode())

    def _refusal(self) -> str:
        """What the engine itself said, where nothing ran that could have said it."""
        said = self._first_words.decode("utf-8", "replace")
        numbers = {"permission denied": errno.EACCES, "not a directory": errno.ENOTDIR}
        number = next((n for words, n in numbers.items() if words in said), errno.ENOENT)
        return f"refused {number} {'cwd' if 'cwd' in said else 'program'}"

    def _inspected(self) -> dict[str, Any]:
        return self._engine.ask_blocking(lambda client: client.exec_inspect(self._made))
