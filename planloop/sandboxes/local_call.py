"""One command on the bare host, its processes known by a mark in their environment."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import anyio
import anyio.to_thread

from planloop.errors import SandboxLost
from planloop.marks import mark
from planloop.sandbox import Command
from planloop.sandboxes.link import Ending, news

_MARK = "PLANLOOP_CALL"
_END_DEADLINE_S = 10.0
_WITH_CHANNEL = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
if sys.argv[1] != "3": os.close(int(sys.argv[1]))
os.execv(sys.argv[2], sys.argv[3:])
"""


class LocalCall:
    """A `RunningCall` of this machine.

    Args:
        cwd: where it starts, on this machine.
        channel: becomes descriptor 3 of the command.

    Raises:
        OSError: the folder or the program does not exist or may not be used.
    """

    def __init__(
        self,
        command: Command,
        cwd: str,
        environment: dict[str, str],
        channel: socket.socket | None = None,
    ) -> None:
        name = mark("call")
        self._mark = f"{_MARK}={name}".encode()
        argv = list(command.argv) if command.line is None else ["/bin/sh", "-c", command.line]
        if not argv:
            raise ValueError("a command needs a line or arguments")
        if channel is not None:
            argv = _with_channel(argv, environment, cwd, channel)
        with contextlib.ExitStack() as kept, contextlib.ExitStack() as given:
            stdin = given.enter_context(_stdin(command.stdin))
            self.stdout, out = _pipe(kept, given)
            self.stderr, err = _pipe(kept, given)
            self._process = subprocess.Popen(
                argv,
                cwd=cwd,
                env={**environment, _MARK: name},
                stdin=stdin,
                stdout=out,
                stderr=err,
                start_new_session=True,
                pass_fds=() if channel is None else (channel.fileno(),),
            )
            self.status, told = _pipe(kept, contextlib.ExitStack())
            kept.pop_all()
        threading.Thread(target=self._tell, args=(told,), daemon=True).start()

    @property
    def alive(self) -> bool:
        return True

    def news(self) -> Ending | None:
        return news(self.status)

    def hurry(self) -> None:
        for pid in self._living():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)

    async def end(self) -> int:
        deadline = time.monotonic() + _END_DEADLINE_S
        ended: set[int] = set()
        while found := await anyio.to_thread.run_sync(self._living):
            ended |= found
            self.hurry()
            if time.monotonic() > deadline:
                raise SandboxLost(f"{len(found)} processes on the bare host could not be ended")
            await anyio.sleep(0.002)
        return len(ended)

    def oom_kills(self) -> int:
        return 0

    def remarks(self) -> tuple[str, ...]:
        return ()

    def close(self) -> None:
        for descriptor in (self.stdout, self.stderr, self.status):
            os.close(descriptor)

    def _tell(self, told: int) -> None:
        code = self._process.wait()
        wait_status = -code if code < 0 else code << 8
        with contextlib.suppress(OSError):  # nobody may be listening any more
            os.write(told, b"exited %d 1" % wait_status)
        os.close(told)

    def _living(self) -> set[int]:
        """Processes of this call; without /proc only its own, which leads a group."""
        if not Path("/proc/self/environ").exists():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
            return set() if self._process.poll() is not None else {self._process.pid}
        found = {int(name) for name in os.listdir("/proc") if name.isdigit() and self._marked(name)}
        # While it becomes another program, a process has no environment to be known by.
        return found if self._process.poll() is not None else found | {self._process.pid}

    def _marked(self, name: str) -> bool:
        try:
            return self._mark in Path("/proc", name, "environ").read_bytes().split(b"\0")
        except OSError:
            return False


def _with_channel(
    argv: list[str], environment: dict[str, str], cwd: str, channel: socket.socket
) -> list[str]:
    """The command behind a Python that puts the channel where it belongs."""
    path = environment.get("PATH", os.defpath)
    found = os.path.join(cwd, argv[0]) if "/" in argv[0] else shutil.which(argv[0], path=path)
    if found is None or not os.path.exists(found):
        raise FileNotFoundError(2, os.strerror(2), argv[0])
    number = str(channel.fileno())
    return [sys.executable, "-I", "-S", "-c", _WITH_CHANNEL, number, found, *argv]


@contextlib.contextmanager
def _stdin(data: bytes) -> Iterator[int]:
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.seek(0)
        yield file.fileno()


def _pipe(kept: contextlib.ExitStack, given: contextlib.ExitStack) -> tuple[int, int]:
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    kept.callback(os.close, reading)
    given.callback(os.close, writing)
    return reading, writing
