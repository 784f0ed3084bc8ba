"""Calls by engine exec, for images without python3: slower, and less is known of their ends.

The same orders as `Link`, which is to be preferred. The engine's exec tells an exit code only, so
that a death by signal N looks like exit code 128 + N. Processes are ended by the host itself,
which therefore must share the engine's kernel; every process of the calls' user that no other
living call has marked as its own is ended with a call.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import secrets
import select
import signal
import socket
import struct
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anyio

from planloop.errors import SandboxLost
from planloop.sandboxes.engine import Engine
from planloop.sandboxes.link import END_DEADLINE_S, Ending, read_ending

_MARK = "PLANLOOP_CALL"
_FRAME = struct.Struct(">BxxxL")
_LOOK_S = 0.02
"""How often the engine is asked whether a quiet call has ended."""


class ExecLink:
    """Orders to a container by the engine's exec.

    Args:
        group: the folder of a control group that lists the container's processes.
        user: the user of calls, which no other process in the container is.
        lifeline: keeps the container alive as long as it is open.
    """

    def __init__(
        self, engine: Engine, container: str, group: Path, user: int, lifeline: Any
    ) -> None:
        self._engine = engine
        self._container = container
        self._group = group
        self._user = user
        self._lifeline = lifeline
        self._ids = itertools.count(1)
        self._marks: dict[int, str] = {}
        self._made: dict[int, str] = {}

    async def start(
        self, request: Mapping[str, Any], stdin: int, stdout: int, stderr: int
    ) -> tuple[int, int]:
        """As `Link.start`."""
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
        pump = _Pump(self._engine, made, channel, ours, writing)
        threading.Thread(target=pump.run, name="planloop-exec", daemon=True).start()
        return call, reading

    async def ending(self, status: int) -> Ending:
        """As `Link.ending`."""
        return await read_ending(status)

    async def end(self, call: int | None) -> int:
        """As `Link.end`."""
        if call is None:
            self._marks.clear()
        else:
            self._marks.pop(call, None)
        kept = {f"{_MARK}={mark}".encode() for mark in self._marks.values()}
        ended: set[int] = set()
        with anyio.move_on_after(END_DEADLINE_S):
            while True:
                found = self._killed(kept)
                ended |= found
                if not found and await self._is_over(call):
                    return len(ended)
                await anyio.sleep(0.002)
        raise SandboxLost(f"processes did not end within {END_DEADLINE_S:g} s")

    def close(self) -> None:
        """Let go of the container, whose first process then ends."""
        _hang_up(self._lifeline)

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

    def _killed(self, kept: set[bytes]) -> set[int]:
        """Send SIGKILL to every process that no living call owns; returns which there were.

        All are stopped first, so that none of them can start another meanwhile.
        """
        try:
            pids = [int(line) for line in (self._group / "cgroup.procs").read_text().split()]
        except OSError:
            raise SandboxLost("its container ended") from None
        found = {pid for pid in pids if self._may_go(pid, kept)}
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for pid in found:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, number)
        return found

    def _may_go(self, pid: int, kept: set[bytes]) -> bool:
        try:
            status = Path("/proc", str(pid), "status").read_text("utf-8", "replace")
            environment = Path("/proc", str(pid), "environ").read_bytes()
        except OSError:
            return False
        fields = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
        dead = fields["State"].strip()[:1] in "ZX"
        ours = fields["Uid"].split()[0] == str(self._user)
        return ours and not dead and not kept & set(environment.split(b"\0"))


class _Pump:
    """Carries one call's streams between the engine and pipes, in a thread of its own."""

    def __init__(
        self, engine: Engine, made: str, channel: Any, streams: list[int], status: int
    ) -> None:
        self._engine = engine
        self._made = made
        self._channel = channel
        self._socket = getattr(channel, "_sock", channel)
        self._streams = streams
        self._status = status
        self._first_words = b""

    def run(self) -> None:
        """Until the command's own process has ended, or the host has stopped listening."""
        try:
            self._send_stdin()
            with contextlib.suppress(BrokenPipeError):
                self._carry()
            self._report()
        except Exception:  # the engine went away: the host sees a status without a word
            pass
        finally:
            _hang_up(self._channel)
            for descriptor in (*self._streams, self._status):
                os.close(descriptor)

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


def _hang_up(channel: Any) -> None:
    """End a stream of the SDK at once: while it waits for us, the engine sees no other exit."""
    connection = getattr(channel, "_sock", None)
    if connection is not None:
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)
        connection.close()
    channel.close()
