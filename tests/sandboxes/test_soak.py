"""Many calls over many sandboxes, with kills, time-outs and floods at random: nothing adds up."""

from __future__ import annotations

import collections
import dataclasses
import gc
import os
import random
import signal
import subprocess
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
import pytest

from planloop.errors import SandboxLost
from planloop.observation import Status
from planloop.sandbox import Command, Completed, Sandbox, SandboxSpec
from planloop.sandboxes import open_sandbox

from .attacks import assert_well
from .houses import Houses
from .modes import TIGHT, Mode
from .test_attacks_posture import by_mode

SEED = 20_261
LIMITS = dataclasses.replace(TIGHT, kept_bytes=1 << 20)
ROUNDS = 5
"""Between them memory is measured; in each, so many sandboxes live at the same time."""
_TREE = "sleep 30 & setsid sleep 30 & sleep 30"
_FLOOD = "exec cat /dev/zero"
_BOMB = "import os\nwhile True:\n try: os.fork()\n except OSError: pass"
_HEAP = "held = []\nwhile True: held.append(bytearray(8 << 20))"


@dataclasses.dataclass
class Soaked:
    """What a soak found."""

    calls: int = 0
    wrong: list[str] = dataclasses.field(default_factory=list)
    kinds: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    resident: list[int] = dataclasses.field(default_factory=list)
    """Bytes of this process after each round."""
    descriptors: list[int] = dataclasses.field(default_factory=list)
    left: list[str] = dataclasses.field(default_factory=list)


class Soak:
    """A number of sandboxes, each with as many calls, a few at the same time."""

    def __init__(self, kind: str, sandboxes: int, calls: int) -> None:
        self.kind = kind
        self.sandboxes = sandboxes
        self.calls = calls
        self.random = random.Random(SEED)
        self.found = Soaked()
        self.state = Path(tempfile.mkdtemp(prefix="soak-"))

    async def run(self) -> Soaked:
        """Do it all."""
        self.state.chmod(0o711)
        for number in range(ROUNDS):
            async with anyio.create_task_group() as group:
                for one in range(self.sandboxes // ROUNDS):
                    group.start_soon(self._live, 100 * number + one)
            self._measure()
        self.found.left = self._left()
        return self.found

    async def _live(self, number: int) -> None:
        sandbox = await self._open(number)
        try:
            for _ in range(self.calls):
                await self._call(sandbox)
        finally:
            await sandbox.close()

    async def _open(self, number: int) -> Sandbox:
        spec = SandboxSpec(kind=self.kind, limits=LIMITS)
        run_id = f"soak-{os.getpid()}-{number}"
        sandbox = await open_sandbox(spec, run_id=run_id, state_dir=self.state)
        assert sandbox is not None
        return sandbox

    async def _call(self, sandbox: Sandbox) -> None:
        names, weights = zip(*_WEIGHTS.items(), strict=True)
        (name,) = self.random.choices(names, weights)
        token = f"{self.random.getrandbits(64):x}"
        self.found.calls += 1
        self.found.kinds[name] += 1
        try:
            with anyio.fail_after(30):
                right = await _KINDS[name](sandbox, token, self.random)
        except (SandboxLost, OSError, TimeoutError) as error:
            self.found.wrong.append(f"{name}: {type(error).__name__} {error}")
        else:
            if right is not True:
                self.found.wrong.append(f"{name}: {right}")

    def _measure(self) -> None:
        gc.collect()
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        self.found.resident.append(pages * os.sysconf("SC_PAGESIZE"))
        self.found.descriptors.append(len(os.listdir("/proc/self/fd")))

    def _left(self) -> list[str]:
        mark = f"soak-{os.getpid()}-"
        left = [str(path) for path in self.state.glob("planloop-*")]
        left += [str(path) for path in Path("/sys/fs/cgroup").glob(f"*/planloop-{mark}*")]
        if self.kind == "docker":
            command = ["docker", "ps", "-a", "--format", "{{.Names}}"]
            ran = subprocess.run(command, check=True, capture_output=True, text=True)
            left += [name for name in ran.stdout.split() if mark in name]
        return left


Right = bool | str | Completed


def _is(done: Completed, status: Status, *, code: int | None = None) -> Right:
    return True if (done.status, done.exit_code) == (status, code) else done


async def _echo(sandbox: Sandbox, token: str, _: random.Random) -> Right:
    done = await sandbox.run(Command(line=f"echo {token}; echo e-{token} >&2"))
    said = (done.stdout.text, done.stderr.text) == (f"{token}\n", f"e-{token}\n")
    return _is(done, Status.OK, code=0) if said else done


async def _exit(sandbox: Sandbox, _: str, chance: random.Random) -> Right:
    code = chance.choice((1, 2, 124, 125, 126, 127, 137, 143, 255))
    done = await sandbox.run(Command(line=f"exit {code}"))
    return _is(done, Status.FAILED, code=code)


async def _file(sandbox: Sandbox, token: str, _: random.Random) -> Right:
    await sandbox.write_file("file", token.encode() * 1000)
    done = await sandbox.run(Command(line="wc -c < file"))
    return int(done.stdout.text) == 1000 * len(token) or done


async def _die(sandbox: Sandbox, _: str, chance: random.Random) -> Right:
    number = chance.choice((6, 9, 11, 15))
    done = await sandbox.run(Command(line=f"kill -{number} $$"))
    return _is(done, Status.KILLED) if done.signal == number else done


async def _late(sandbox: Sandbox, _: str, chance: random.Random) -> Right:
    done = await sandbox.run(Command(line=_TREE, timeout_s=0.05 + 0.2 * chance.random()))
    return _is(done, Status.TIMEOUT)


async def _flood(sandbox: Sandbox, _: str, __: random.Random) -> Right:
    return _is(await sandbox.run(Command(line=_FLOOD)), Status.OUTPUT_LIMIT)


async def _background(sandbox: Sandbox, _: str, __: random.Random) -> Right:
    done = await sandbox.run(Command(line="sleep 30 & echo x"))
    return done.notes == ("1 background process was ended",) or done


async def _bomb(sandbox: Sandbox, _: str, __: random.Random) -> Right:
    done = await sandbox.run(Command(argv=("python3", "-c", _BOMB), timeout_s=0.4))
    return _is(done, Status.TIMEOUT)


async def _heap(sandbox: Sandbox, _: str, __: random.Random) -> Right:
    done = await sandbox.run(Command(argv=("python3", "-c", _HEAP)))
    if any("memory limit" in sentence for sentence in sandbox.unenforced):
        return _is(done, Status.FAILED, code=1)
    return _is(done, Status.OOM)


async def _give_up(sandbox: Sandbox, _: str, chance: random.Random) -> Right:
    """Cancelled in mid-call, from the host."""
    with anyio.move_on_after(0.2 * chance.random()) as scope:
        await sandbox.run(Command(line=_TREE))
    return scope.cancelled_caught


async def _suicide(sandbox: Sandbox, _: str, __: random.Random) -> Right:
    """The whole sandbox is lost, and begun anew by going back."""
    before = await sandbox.snapshot()
    await _kill_first(sandbox)
    with pytest.raises(SandboxLost):
        await sandbox.run(Command(line="sleep 5"))
    await sandbox.restore(before)
    await sandbox.forget(before)
    return _is(await sandbox.run(Command(line="exit 0")), Status.OK, code=0)


async def _kill_first(sandbox: Sandbox) -> None:
    """Kill, from the host, the first process of a sandbox in which a marked call runs."""
    marker = f"77.{random.getrandbits(48)}"
    async with anyio.create_task_group() as group:
        group.start_soon(_lost, sandbox, marker)
        while not (pid := _first_above(f"sleep\0{marker}\0".encode())):
            await anyio.sleep(0.005)
        os.kill(pid, signal.SIGKILL)


async def _lost(sandbox: Sandbox, marker: str) -> None:
    with pytest.raises(SandboxLost):
        await sandbox.run(Command(line=f"sleep {marker}"))


def _first_above(command: bytes) -> int:
    """The process two above the shell of a command: its keeper's parent."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if (folder / "cmdline").read_bytes() == command:
                shell = _parent(int(folder.name))
                above = shell if b"guest" in _command(shell) else _parent(shell)
                return _parent(above)
        except OSError:
            continue
    return 0


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def _command(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


_KINDS: dict[str, Callable[[Sandbox, str, random.Random], Awaitable[Right]]] = {
    "echo": _echo,
    "exit": _exit,
    "file": _file,
    "die": _die,
    "late": _late,
    "flood": _flood,
    "background": _background,
    "bomb": _bomb,
    "heap": _heap,
    "give up": _give_up,
    "suicide": _suicide,
}
_WEIGHTS = {
    "echo": 40,
    "exit": 10,
    "file": 10,
    "die": 8,
    "late": 8,
    "flood": 8,
    "background": 6,
    "give up": 4,
    "heap": 3,
    "bomb": 2,
    "suicide": 1,
}


async def soak(_: Sandbox, kind: str, sandboxes: int, calls: int) -> Soaked:
    """The scenario."""
    return await Soak(kind, sandboxes, calls).run()


def check(found: Soaked, calls: int) -> None:
    """Nothing wrong, nothing left, nothing grown."""
    assert found.wrong == []
    assert found.calls == calls
    assert set(found.kinds) == set(_KINDS)
    assert found.left == []
    early, last = found.resident[1], found.resident[-1]
    assert last - early < 8 << 20, f"memory grew: {found.resident}"
    assert found.descriptors[-1] <= found.descriptors[1] + 2, found.descriptors


@pytest.mark.slow
@by_mode
def test_two_thousand_calls_over_fifty_sandboxes(houses: Houses, mode: Mode) -> None:
    after = houses[mode.name].run(soak, mode.kind, 50, 40)
    assert_well(after)
    check(after.result, 2000)
