"""What every driver of interpreters shares: it does what it is told and says how long it took.

A driver gives `serve` a function that opens one of its worlds: a place in which statements run one
after the other, with the tools `echo` and `report`. Orders come as lines of JSON on standard
input, answers go out the same way, so that drivers live side by side and the turns of a benchmark
can be interleaved. Only the standard library is imported here: it runs in each peer's own
environment. Times are in milliseconds.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TextIO

LISTS_A_MEGABYTE = 270
"""Lists of 100 numbers of their own; each takes about 3.7 kB."""
BUILD = "live = [list(range(k, k + 100)) for k in range(1000, 1000 + {lists})]"
CHANGE = "for k in range(10):\n    live[k].append(-1)"
FAIL = "for k in range(10):\n    live[k].append(1 // (k - 5))"
UNTOUCHED = "assert [len(one) for one in live[:10]] == [100] * 10"
CALLS = """import time
text, took = "x" * {size}, []
for k in range({count}):
    started = time.perf_counter()
    answer = echo(text)
    took.append(time.perf_counter() - started)
assert answer == text
report(took)
"""
"""The calls are timed by the program that makes them."""


class World(Protocol):
    """An interpreter that keeps its state."""

    async def run(self, source: str) -> bool:
        """Run a statement; whether it went well."""
        ...

    async def close(self) -> None:
        """End it."""
        ...


Open = Callable[[], Awaitable[World]]
Order = Callable[..., Awaitable[Any]]

reported: list[float] = []
"""What the last program reported, in seconds."""


def echo(text: str) -> str:
    """The text as it came."""
    return text


def report(seconds: list[float]) -> int:
    """Take down times."""
    reported[:] = seconds
    return len(seconds)


def serve(open_world: Open, *, can_undo: bool, **more: Order) -> None:
    """Obey until standard input ends. `more` are orders that only this driver knows, or knows
    better.

    What libraries print goes to standard error: standard output is for answers.
    """
    with os.fdopen(os.dup(1), "w") as answers:
        os.dup2(2, 1)
        asyncio.run(_Driver(open_world, can_undo, answers).serve(more))


class _Driver:
    def __init__(self, open_world: Open, can_undo: bool, answers: TextIO) -> None:
        self.open_world = open_world
        self.can_undo = can_undo
        self.answers = answers
        self.world: World | None = None

    async def serve(self, more: dict[str, Order]) -> None:
        loop = asyncio.get_running_loop()
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            order = json.loads(line)
            name = order.pop("do")
            answer = await (more.get(name) or getattr(self, name))(**order)
            self.answers.write(json.dumps(answer) + "\n")
            self.answers.flush()

    async def end(self) -> None:
        """Close what is open."""
        if self.world is not None:
            await self.world.close()

    async def statements(self, count: int) -> list[float]:
        """Trivial statements, one after the other."""
        world = await self._one()
        await checked(world, "n = 0")
        gc.collect()
        took = [await checked(world, "n = n + 1") for _ in range(count)]
        await checked(world, f"assert n == {count}")
        return took

    async def calls(self, count: int, size: int) -> list[float]:
        """Calls of a tool that returns a text of so many bytes, from inside one program."""
        await checked(await self._one(), CALLS.format(size=size, count=count))
        return [1e3 * seconds for seconds in reported]

    async def undo(self, megabytes: int, times: int) -> dict[str, list[float]]:
        """A loop over live data: where it goes well, and where it fails and is undone.

        A world that cannot undo begins anew and makes the data again.
        """
        took: dict[str, list[float]] = {"well": [], "undone": []}
        build = BUILD.format(lists=LISTS_A_MEGABYTE * megabytes)
        world = await self.open_world()
        await checked(world, build)
        for _ in range(times):
            started = time.perf_counter()
            assert not await world.run(FAIL), "it should have failed"
            if not self.can_undo:
                await world.close()
                world = await self.open_world()
                await checked(world, build)
            took["undone"].append(1e3 * (time.perf_counter() - started))
            await checked(world, UNTOUCHED)
        for _ in range(times):
            took["well"].append(await checked(world, CHANGE))
        await world.close()
        return took

    async def _one(self) -> World:
        if self.world is None:
            self.world = await self.open_world()
        return self.world


async def checked(world: World, source: str) -> float:
    """Run what has to go well; how long it took."""
    started = time.perf_counter()
    went_well = await world.run(source)
    took = 1e3 * (time.perf_counter() - started)
    if not went_well:
        raise SystemExit(f"failed: {source}")
    return took
