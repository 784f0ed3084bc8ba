"""What every driver of `shapes.py` shares: its tool, and runs whose wall time is printed as JSON.

A driver is called with the address of the scripted server, its form and the shapes. Building an
agent is not timed; the first run of a process, which loads what is loaded lazily, is not counted.
Only the standard library is imported here: it runs in each peer's own environment.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import shapes_model as model

_fetched: list[tuple[str, int]] = []


async def fetch(key: str, part: int) -> str:
    """Fetch a part of what a key stands for, which takes a while.

    Args:
        key: What it is part of.
        part: Which part.
    """
    _fetched.append((key, part))
    await asyncio.sleep(model.TOOL_S)
    return model.fetched(key, part)


def fetch_blocking(key: str, part: int) -> str:
    """Fetch a part of what a key stands for, which takes a while.

    Args:
        key: What it is part of.
        part: Which part.
    """
    _fetched.append((key, part))
    time.sleep(model.TOOL_S)
    return model.fetched(key, part)


Build = Callable[[str], Callable[[], Any]]
"""Builds an agent that asks the model at this base URL; calling the result runs it once, and
returns or awaits to its answer."""


def main(build: Build) -> None:
    """Run every shape once and print the seconds of each."""
    base, form, *shapes = sys.argv[1:]
    print(json.dumps(asyncio.run(_measure(build, base, form, shapes))))


async def _measure(build: Build, base: str, form: str, shapes: list[str]) -> dict[str, float]:
    await _run(build, base, form, "1")
    return {shape: await _run(build, base, form, shape) for shape in shapes}


async def _run(build: Build, base: str, form: str, shape: str) -> float:
    _fetched.clear()
    run = build(f"{base}/{uuid.uuid4().hex}/{form}/{shape}/v1")
    began = time.perf_counter()
    answer = run()
    if inspect.isawaitable(answer):
        answer = await answer
    seconds = time.perf_counter() - began
    wanted = sorted(call for level in model.levels(shape) for call in level)
    if answer != model.ANSWER or sorted(_fetched) != wanted:
        raise SystemExit(f"{shape}: answered {answer!r} after {sorted(_fetched)}, not {wanted}")
    return seconds


__all__ = ["Build", "fetch", "fetch_blocking", "main"]
