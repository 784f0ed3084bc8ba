"""The process of a house: runs the scenarios that come, each in a sandbox of its own."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
import traceback
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread

from planloop.errors import SandboxLost
from planloop.sandbox import Command, Completed, Limits, Sandbox, SandboxSpec
from planloop.sandboxes import open_sandbox

from .modes import After, Scenario

_NEXT = "held = bytearray(24 << 20); print(1)"
"""A call like any other: with a little memory."""
_COUNT = "import os; print(sum(name.isdigit() for name in os.listdir('/proc')))"
_OWN = 3
"""The first process, the keeper, and the one that counts."""


def main() -> None:
    kind, place, wire = sys.argv[1:]
    os.environ["TMPDIR"] = place
    _be_careless()
    with Connection(int(wire)) as connection:
        anyio.run(_serve, kind, Path(place), connection)


def _be_careless() -> None:
    """What no sandbox may inherit: core files without bound, files that a group may change."""
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
    os.umask(0o002)


async def _serve(kind: str, place: Path, wire: Connection) -> None:
    while True:
        try:
            scenario, arguments, limits = await anyio.to_thread.run_sync(wire.recv)
        except EOFError:
            return
        try:
            wire.send((True, await _lived(kind, place, limits, scenario, arguments)))
        except BaseException:
            wire.send((False, traceback.format_exc()))


async def _lived(
    kind: str, place: Path, limits: Limits, scenario: Scenario, arguments: tuple[Any, ...]
) -> After:
    run_id = f"attack-{os.getpid()}"
    spec = SandboxSpec(kind=kind, limits=limits)
    before = _descendants()
    sandbox = await open_sandbox(spec, run_id=run_id, state_dir=place / "state")
    assert sandbox is not None
    try:
        snapshot = await sandbox.snapshot()
        result = await scenario(sandbox, *arguments)
        try:
            next_call, lost = await _next(sandbox), None
        except SandboxLost as loss:
            lost = str(loss)
            await sandbox.restore(snapshot)
            next_call = await _next(sandbox)
        counted = await sandbox.run(Command(argv=("python3", "-c", _COUNT)))
        processes = int(counted.stdout.text) - _OWN
    finally:
        await sandbox.close()
    return After(
        result=result,
        next_call=next_call,
        processes=processes,
        lost=lost,
        left=(*_processes(before), *_containers(kind, run_id), *_files(place / "state")),
        unenforced=sandbox.unenforced,
    )


async def _next(sandbox: Sandbox) -> Completed:
    return await sandbox.run(Command(argv=("python3", "-c", _NEXT)))


def _processes(before: set[int]) -> list[str]:
    """Descendants of this process that it did not have before, once they have had a moment."""
    deadline = time.monotonic() + 2
    while (left := _descendants() - before) and time.monotonic() < deadline:
        time.sleep(0.01)
    return [f"process {pid}" for pid in left]


def _descendants() -> set[int]:
    parents = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text("utf-8", "replace").rpartition(")")[2].split()
        except OSError:
            continue
        parents[int(folder.name)] = int(fields[1])
    below = {os.getpid()}
    while more := {pid for pid, parent in parents.items() if parent in below} - below:
        below |= more
    return below - {os.getpid()}


def _containers(kind: str, run_id: str) -> list[str]:
    if kind != "docker":
        return []
    command = ["docker", "ps", "-aq", "--filter", f"label=planloop.run={run_id}"]
    ran = subprocess.run(command, check=True, capture_output=True, text=True)
    return [f"container {line}" for line in ran.stdout.split()]


def _files(state: Path) -> list[str]:
    return [f"file {path}" for path in state.glob("planloop-*")]


if __name__ == "__main__":
    main()
