"""What every driver of sandboxes shares: it does what it is told and says how long it took.

A driver gives `serve` a `Kind`: how one of its sandboxes is opened. Orders come as lines of JSON
on standard input, answers go out the same way, so that drivers live side by side and the rounds of
a benchmark can be interleaved. Only the standard library is imported here: it runs in each
peer's own environment. Times are in milliseconds unless a name says otherwise.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Protocol, TextIO

ASLEEP = "61.{}"
"""Seconds that the processes of a tree sleep; the number tells them from others."""
TREE = "sleep {0} & setsid sleep {0} & (setsid sh -c 'sleep {0} & sleep {0}' &) ; sleep {0}"
BOMB = """# {0}
import os, signal, time
for number in range(1, 32):
    if number not in (9, 19):
        try: signal.signal(number, signal.SIG_IGN)
        except (OSError, ValueError): pass
end = time.time() + 20
while time.time() < end:
    try:
        if os.fork() == 0: os.setsid()
    except OSError: time.sleep(0.01)
"""


class Box(Protocol):
    """One open sandbox."""

    async def call(self, line: str, timeout_s: float) -> str:
        """Standard output of a shell line. A call out of time may raise anything."""
        ...

    def containers(self) -> list[str]:
        """Ids of the containers that it consists of."""
        ...

    async def close(self) -> None:
        """End it."""
        ...


Open = Callable[[], Awaitable[Box]]
Order = Callable[..., Awaitable[Any]]


def serve(open_box: Open, **more: Order) -> None:
    """Obey until standard input ends. `more` are orders that only this driver knows.

    What libraries print goes to standard error: standard output is for answers.
    """
    with os.fdopen(os.dup(1), "w") as answers:
        os.dup2(2, 1)
        asyncio.run(_Driver(open_box, answers).serve(more))


class _Driver:
    def __init__(self, open_box: Open, answers: TextIO) -> None:
        self.open_box = open_box
        self.answers = answers
        self.box: Box | None = None

    async def serve(self, more: dict[str, Order]) -> None:
        loop = asyncio.get_running_loop()
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            order = json.loads(line)
            name = order.pop("do")
            self._answer(await (more.get(name) or getattr(self, name))(**order))

    async def end(self) -> None:
        """Close what is open."""
        if self.box is not None:
            await self.box.close()

    async def cold(self) -> float:
        """From nothing to a sandbox that takes calls."""
        started = time.perf_counter()
        box = await self.open_box()
        took = time.perf_counter() - started
        await _checked(box)
        await box.close()
        return 1e3 * took

    async def warm(self, calls: int) -> list[float]:
        """Trivial shell calls, one after the other, in one sandbox."""
        box = await self._one()
        for _ in range(3):
            await _checked(box)
        gc.collect()
        return [await _timed(_checked(box)) for _ in range(calls)]

    async def together(self, boxes: int, calls: int) -> float:
        """Calls a second, by `boxes` sandboxes that make `calls` calls each at the same time."""
        opened = [await self.open_box() for _ in range(boxes)]
        for box in opened:
            await _checked(box)
        took = await _timed(_all_at_once([_repeated(box, calls) for box in opened]))
        await _all_at_once([box.close() for box in opened])
        return boxes * calls / (took / 1e3)

    async def idle(self, boxes: int) -> float:
        """Megabytes of one sandbox that has served a call and waits, as proportional set size."""
        before = _descendants(os.getpid())
        opened = [await self.open_box() for _ in range(boxes)]
        for box in opened:
            await _checked(box)
        await asyncio.sleep(0.5)
        megabytes = sum(map(_proportional_kb, _processes(opened) - before)) / 1e3 / boxes
        await _all_at_once([box.close() for box in opened])
        return megabytes

    async def deadline(self, times: int, bomb: bool = False) -> dict[str, Any]:
        """How long past its deadline a call returns, and how many processes it then left."""
        box = await self._one()
        over, left = [], 0
        for number in range(times):
            sleeping = ASLEEP.format(os.getpid() * 1000 + number)
            over.append(await _overtime(box, _tree(sleeping, bomb), 0.5 if bomb else 0.15))
            left += _left(sleeping)
        return {"over": over, "left": left}

    async def hold(self) -> None:
        """Open a sandbox with a long call in it and say its processes; only a kill ends this."""
        box = await self.open_box()
        await _checked(box)
        sleeping = ASLEEP.format(os.getpid() * 1000 + 999)
        async with asyncio.TaskGroup() as group:
            group.create_task(box.call(TREE.format(sleeping), 60.0))  # type: ignore[arg-type]
            while _left(sleeping) < 5:  # noqa: ASYNC110  processes give no event
                await asyncio.sleep(0.01)
            self._answer(sorted(_processes([box])))

    def _answer(self, answer: Any) -> None:
        self.answers.write(json.dumps(answer) + "\n")
        self.answers.flush()

    async def _one(self) -> Box:
        if self.box is None:
            self.box = await self.open_box()
        return self.box


def _tree(sleeping: str, bomb: bool) -> str:
    if not bomb:
        return TREE.format(sleeping)
    return f"exec python3 -c {shlex.quote(BOMB.format(sleeping))}"


async def _overtime(box: Box, line: str, timeout_s: float) -> float:
    """Milliseconds from a call's deadline to its return."""
    started = time.perf_counter()
    try:
        await box.call(line, timeout_s)
    except Exception as error:
        if "imeout" not in f"{type(error).__name__} {error}" and "imed out" not in str(error):
            raise
    return 1e3 * (time.perf_counter() - started - timeout_s)


async def _checked(box: Box) -> None:
    said = await box.call("echo hi", 60.0)
    if said.strip() != "hi":
        raise SystemExit(f"the call said {said!r}")


async def _repeated(box: Box, calls: int) -> None:
    for _ in range(calls):
        await _checked(box)


async def _all_at_once(works: list[Awaitable[None]]) -> None:
    async with asyncio.TaskGroup() as group:
        for work in works:
            group.create_task(work)  # type: ignore[arg-type]


async def _timed(work: Awaitable[None]) -> float:
    started = time.perf_counter()
    await work
    return 1e3 * (time.perf_counter() - started)


def _left(marker: str) -> int:
    """Living processes of this machine, inside sandboxes, with a marker in their arguments."""
    found = 0
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes()
            alive = b") Z " not in (folder / "stat").read_bytes()
        except OSError:
            continue
        launcher = command.startswith((b"docker\0", b"bwrap\0"))
        found += marker.encode() in command and alive and not launcher
    return found


def _processes(boxes: list[Box]) -> set[int]:
    """What this driver has started, and what runs in the containers."""
    pids = _descendants(os.getpid())
    for first in _first_processes([name for box in boxes for name in box.containers()]):
        pids |= {first} | _descendants(first)
    return pids


def _descendants(root: int) -> set[int]:
    parents = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            stat = (folder / "stat").read_text("utf-8", "replace")
        except OSError:
            continue
        parents[int(folder.name)] = int(stat.rpartition(")")[2].split()[1])
    below = {root}
    while more := {pid for pid, parent in parents.items() if parent in below} - below:
        below |= more
    return below - {root}


def _first_processes(containers: list[str]) -> list[int]:
    if not containers:
        return []
    command = ["docker", "inspect", "-f", "{{.State.Pid}}", *containers]
    ran = subprocess.run(command, check=True, capture_output=True, text=True)
    return [int(line) for line in ran.stdout.split()]


def _proportional_kb(pid: int) -> int:
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    found = re.search(r"^Pss: +(\d+)", text, re.MULTILINE)
    return int(found[1]) if found else 0
