"""What every driver shares: it runs its agent as told and prints what that cost, as JSON.

A driver is called with the address of the scripted server, its form, and `rounds` or `calls`, and
gives `main` a function that builds its agent for an address; the agent is then run once. Building
is not timed: some load the world's certificates there, for connections that need none here.
Only the standard library is imported here: it runs in each peer's own environment.
"""

from __future__ import annotations

import asyncio
import gc
import inspect
import json
import sys
import time
import uuid
from collections.abc import Callable
from typing import Any

ROUNDS = (5, 20, 60)
WAIT_S = 0.2
WIDTH = 8
_used = 0


def add(a: int, b: int) -> int:
    """Add two numbers.

    Args:
        a: The first number.
        b: The second number.
    """
    _count()
    return a + b


def wait_blocking(a: int, b: int) -> int:
    """Look something up, which takes a while.

    Args:
        a: The first key.
        b: The second key.
    """
    _count()
    time.sleep(WAIT_S)
    return b


async def wait_async(a: int, b: int) -> int:
    """Look something up, which takes a while.

    Args:
        a: The first key.
        b: The second key.
    """
    _count()
    await asyncio.sleep(WAIT_S)
    return b


def _count() -> None:
    global _used
    _used += 1


Build = Callable[[str], Callable[[], Any]]
"""Builds an agent that asks the model at this base URL; calling the result runs it once, and
returns or awaits to its answer."""


def main(build: Build, *, takes_async_tools: bool = True) -> None:
    """Do what the command line says and print the result."""
    base, form, what = sys.argv[1:]
    measure = _rounds(build, base, form) if what == "rounds" else None
    if measure is None:
        measure = _calls(build, base, form, takes_async_tools)
    print(json.dumps(asyncio.run(measure)))


async def _rounds(build: Build, base: str, form: str) -> dict[str, Any]:
    """CPU and wall seconds of whole runs, by their number of rounds; the first is to warm up."""
    first = await _run(build, base, form, 3, 1, "add")
    runs = {rounds: await _run(build, base, form, rounds, 1, "add") for rounds in ROUNDS}
    return {"first": first, "runs": runs}


async def _calls(build: Build, base: str, form: str, takes_async_tools: bool) -> dict[str, Any]:
    """Wall seconds of whole runs of one round with eight independent slow calls."""
    await _run(build, base, form, 1, WIDTH, "add")
    tools = ["wait_async", "wait_blocking"] if takes_async_tools else ["wait_blocking"]
    return {tool: (await _run(build, base, form, 1, WIDTH, tool))[1] for tool in tools}


async def _run(
    build: Build, base: str, form: str, rounds: int, width: int, tool: str
) -> tuple[float, float]:
    used = _used
    url = f"{base}/{uuid.uuid4().hex}/{form}/{rounds}/{width}/{tool}/v1"
    run = build(url)
    gc.collect()
    cpu, wall = time.process_time(), time.perf_counter()
    answer = run()
    if inspect.isawaitable(answer):
        answer = await answer
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    if answer != "ready" or _used - used != rounds * width:
        raise SystemExit(f"answered {answer!r} after {_used - used} of {rounds * width} calls")
    return cpu, wall


__all__ = ["Build", "add", "main", "wait_async", "wait_blocking"]
