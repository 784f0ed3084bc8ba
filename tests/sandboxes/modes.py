"""Ways in which a host runs sandboxes, and processes that live in each.

A house is a process of a mode. It runs *scenarios*: async functions of a module here, which get an
open sandbox. After each it looks at what the sandbox is like, closes it, and says what is left.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from planloop.sandbox import Completed, Limits

TESTS = Path(__file__).resolve().parent.parent
PLAIN_USER = 12345
TIGHT = Limits(
    memory_bytes=96 << 20, processes=64, disk_bytes=24 << 20, inodes=2000, timeout_s=20.0
)
"""The limits that the attacks were made for."""
CANARY = {"PLANLOOP_TEST_CANARY_KEY": "canary-of-the-host"}
"""In the environment of every house, and nowhere else."""
_GROUPS = Path("/sys/fs/cgroup")


@dataclasses.dataclass(frozen=True)
class Mode:
    """A kind of sandbox, and who runs it with what."""

    name: str
    kind: str
    plain: bool = False
    """Whether a user without any privilege runs it."""
    cgroup: bool = True
    """Whether control groups can be made."""

    def __str__(self) -> str:
        return self.name


MODES = (
    Mode("bubblewrap, root", "bubblewrap"),
    Mode("bubblewrap, root, no cgroup", "bubblewrap", cgroup=False),
    Mode("bubblewrap, plain user", "bubblewrap", plain=True, cgroup=False),
    Mode("bubblewrap, plain user, cgroup", "bubblewrap", plain=True),
    Mode("docker, root", "docker"),
)

Scenario = Callable[..., Awaitable[Any]]


@dataclasses.dataclass(frozen=True)
class After:
    """The state of things after a scenario."""

    result: Any
    """What it returned."""
    next_call: Completed
    """A call that takes 24 MB and prints 1; in a sandbox begun anew if it was lost."""
    processes: int
    """Processes in the sandbox besides the first, the keeper and the one that counts."""
    lost: str | None
    """Why the sandbox was lost, if it was."""
    left: tuple[str, ...]
    """What is left once it is closed: processes, containers, files; one line each."""
    unenforced: tuple[str, ...]


class House:
    """A process of a mode, asked to run one scenario after the other."""

    def __init__(self, mode: Mode, process: subprocess.Popen[bytes], wire: Connection) -> None:
        self.mode = mode
        self.pid = process.pid
        self._process = process
        self._wire = wire

    def run(self, scenario: Scenario, *arguments: Any, limits: Limits = TIGHT) -> After:
        """Run a scenario in a fresh sandbox.

        Raises:
            HouseError: the scenario raised.
        """
        self._wire.send((scenario, arguments, limits))
        try:
            worked, said = self._wire.recv()
        except EOFError:
            raise HouseError(f"the house of `{self.mode}` fell: {self._process.wait()}") from None
        if not worked:
            raise HouseError(said)
        assert isinstance(said, After)
        return said


class HouseError(Exception):
    """A scenario raised in its house; the text is its traceback."""


@contextlib.contextmanager
def house(
    mode: Mode, folder: Path, environment: Mapping[str, str] | None = None
) -> Iterator[House]:
    """A process of a mode, with a folder of its own for files, ended afterwards."""
    ours, theirs = socket.socketpair()
    place = folder / f"house-{os.getpid()}-{time.monotonic_ns()}"
    place.mkdir(parents=True)
    with theirs, _cgroup(mode, place.name) as groups:
        process = subprocess.Popen(
            _command(mode, place, theirs.fileno(), groups),
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            env={**os.environ, **CANARY, "PYTHONPATH": str(TESTS), **(environment or {})},
            cwd=TESTS,
        )
        theirs.close()
        with Connection(ours.detach()) as wire:
            try:
                yield House(mode, process, wire)
            finally:
                wire.close()
                _ended(process)
                shutil.rmtree(place, ignore_errors=True)


def why_not(mode: Mode) -> str | None:
    """Why a mode cannot be had here."""
    if os.geteuid() != 0 and (not mode.plain or mode.cgroup or mode.kind == "docker"):
        return "needs root"
    if mode.cgroup and mode.kind == "bubblewrap" and not os.access(_GROUPS, os.R_OK):
        return "no control groups"
    return None


def _ended(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _command(mode: Mode, place: Path, wire: int, groups: list[Path]) -> list[str]:
    living = [sys.executable, "-m", "sandboxes.living", mode.kind, str(place), str(wire)]
    if os.geteuid() != 0:
        return living
    entering = [sys.executable, "-m", "sandboxes.entering", ",".join(map(str, groups))]
    user = str(PLAIN_USER) if mode.plain else "0"
    hidden = "" if mode.cgroup or mode.plain else str(_GROUPS)
    alone = ["unshare", "--mount", "--propagation", "private"]
    return [*alone, *entering, user, str(place), hidden, *living]


@contextlib.contextmanager
def _cgroup(mode: Mode, name: str) -> Iterator[list[Path]]:
    """Control groups given over to the plain user, as a service manager does."""
    groups: list[Path] = []
    if mode.plain and mode.cgroup:
        version_2 = (_GROUPS / "cgroup.controllers").is_file()
        parents = [_GROUPS] if version_2 else [_GROUPS / "memory", _GROUPS / "pids"]
        groups = [parent / f"planloop-test-{name}" for parent in parents]
    try:
        for group in groups:
            group.mkdir()
            for path in (group, *group.iterdir()):
                os.chown(path, PLAIN_USER, PLAIN_USER)
        yield groups
    finally:
        for group in groups:
            _remove(group)


def _remove(group: Path) -> None:
    deadline = time.monotonic() + 5
    while group.is_dir() and time.monotonic() < deadline:
        for inner in (*group.glob("*/"), group):
            with contextlib.suppress(OSError):
                inner.rmdir()
        time.sleep(0.01)
