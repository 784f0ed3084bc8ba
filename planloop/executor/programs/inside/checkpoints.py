"""Checkpoints: a child sleeps with the state from before a statement, and takes over if it fails.

The parent runs the statement. Where it fails, dies, or runs too long, the child kills what is left
of it and goes on as the interpreter, with all names as they were.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from typing import NoReturn

KILL_ROUNDS = 50


class Checkpoint:
    """The sleeping child, as the process that runs the statement sees it.

    The child holds the read end of a pipe. A byte, or the pipe's end, wakes it.
    """

    def __init__(self, pid: int, write_end: int) -> None:
        self._pid = pid
        self._write_end = write_end

    def dismiss(self) -> None:
        """The statement finished: the state from before is not needed."""
        with contextlib.suppress(OSError):
            os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)
        os.close(self._write_end)

    def give_way(self) -> NoReturn:
        """Leave everything to it."""
        with contextlib.suppress(OSError):
            os.write(self._write_end, b"f")
        os._exit(0)


class Checkpoints:
    """Takes checkpoints.

    Args:
        stem: the process that only lives, whose children all others are.
        control: where the host says that a statement has run too long.
    """

    def __init__(self, stem: int, control: int) -> None:
        self._stem = stem
        self._control = control
        self._known = open_files()
        """What was open before the program began."""

    @property
    def may_be_taken(self) -> bool:
        """What the kernel knows of an open file does not roll back."""
        return open_files() <= self._known

    def take(self) -> Checkpoint | str:
        """Fork. Who goes on gets the checkpoint; the one that wakes gets the word why."""
        self._drain()
        reading, writing = os.pipe()
        worker, pid = os.getpid(), os.fork()
        if pid:
            os.close(reading)
            return Checkpoint(pid, writing)
        os.close(writing)
        why = self._sleep(reading, worker)
        os.close(reading)
        return why

    def _drain(self) -> None:
        """What the host said too late was meant for a statement that had just ended."""
        with contextlib.suppress(BlockingIOError):
            while os.read(self._control, 100):
                pass

    def _sleep(self, reading: int, worker: int) -> str:
        poll = select.poll()
        poll.register(reading, select.POLLIN)
        poll.register(self._control, select.POLLIN)
        ready = {descriptor for descriptor, _ in poll.poll()}
        late = self._control in ready
        if late and not os.read(self._control, 1):
            os._exit(0)  # the host is gone
        said = b"" if late or reading not in ready else os.read(reading, 1)
        self._end_others(worker)
        return "failed" if said else "late" if late else "died"

    def _end_others(self, worker: int) -> None:
        """Kill the process that ran the statement, and all that it left running."""
        with contextlib.suppress(OSError):
            os.kill(worker, signal.SIGKILL)
        for _ in range(KILL_ROUNDS):
            others = below(self._stem) - {os.getpid()}
            if not others:
                return
            for pid in others:
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.001)


def below(stem: int) -> set[int]:
    """Living processes that a process began, however far down."""
    parents: dict[int, int] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError), open(f"/proc/{name}/stat", "rb") as file:
                fields = file.read().rpartition(b")")[2].split()
                if fields[0] not in (b"Z", b"X"):
                    parents[int(name)] = int(fields[1])
    found: set[int] = set()
    level = {stem}
    while level:
        level = {pid for pid, parent in parents.items() if parent in level} - found
        found |= level
    return found


def open_files() -> set[tuple[str, str]]:
    """Descriptors of this process with what they are, streams aside."""
    found = set()
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2:
            with contextlib.suppress(OSError):
                target = os.readlink(f"/proc/self/fd/{name}")
                if not target.endswith("/fd"):
                    found.add((name, target))
    return found
