"""planloop's sandboxes with all default limits: `boxes_of_planloop.py bubblewrap | docker`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path

from boxes import serve

from planloop.sandbox import Command, Sandbox, SandboxSpec
from planloop.sandboxes import open_sandbox

KIND = sys.argv[1]
STATE = Path(sys.argv[2])


class PlanloopBox:
    def __init__(self, sandbox: Sandbox, run_id: str) -> None:
        self.sandbox = sandbox
        self.run_id = run_id

    async def call(self, line: str, timeout_s: float) -> str:
        return (await self.sandbox.run(Command(line=line, timeout_s=timeout_s))).stdout.text

    def containers(self) -> list[str]:
        if KIND != "docker":
            return []
        command = ["docker", "ps", "-q", "--filter", f"label=planloop.run={self.run_id}"]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()

    async def close(self) -> None:
        await self.sandbox.close()


async def open_box() -> PlanloopBox:
    run_id = f"bench-{uuid.uuid4()}"
    sandbox = await open_sandbox(SandboxSpec(kind=KIND), run_id=run_id, state_dir=STATE)
    assert sandbox is not None
    return PlanloopBox(sandbox, run_id)


async def snapshot(files: int, size: int, changed: int) -> dict[str, float]:
    """Milliseconds of the first snapshot, of one with few changed files, of going back, and of
    the floor: one walk of the same tree in memory and a copy of what changed.
    """
    tree = STATE / f"tree-{uuid.uuid4()}"
    for number in range(files):
        path = tree / f"d{number // 100}" / f"f{number}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(size // files))
    box = await open_box()
    await box.sandbox.copy_in(tree)
    took = {}
    names = [f"d{number // 100}/f{number}" for number in range(0, files, files // changed)]
    await box.call("sleep 0.05", 10)  # what was written just now may be looked at twice

    started = time.perf_counter()
    first = await box.sandbox.snapshot()
    took["first"] = _since(started)
    for name in names:
        await box.sandbox.write_file(name, os.urandom(size // files))
    await box.call("sleep 0.05", 10)
    started = time.perf_counter()
    second = await box.sandbox.snapshot()
    took["next"] = _since(started)
    started = time.perf_counter()
    await box.sandbox.restore(first)
    took["restore"] = _since(started)
    await box.sandbox.restore(second)
    took["floor"] = _floor(tree, names)
    await box.close()
    shutil.rmtree(tree)
    return took


def _floor(tree: Path, names: list[str]) -> float:
    memory = Path(tempfile.mkdtemp(prefix="planloop-bench-", dir="/dev/shm"))
    try:
        shutil.copytree(tree, memory / "tree")
        (STATE / "copies").mkdir(exist_ok=True)
        started = time.perf_counter()
        _walk(str(memory / "tree"))
        for number, name in enumerate(names):
            shutil.copyfile(memory / "tree" / name, STATE / "copies" / str(number))
        return _since(started)
    finally:
        shutil.rmtree(memory)


def _walk(folder: str) -> None:
    for entry in os.scandir(folder):
        entry.stat(follow_symlinks=False)
        if entry.is_dir(follow_symlinks=False):
            _walk(entry.path)


def _since(started: float) -> float:
    return 1e3 * (time.perf_counter() - started)


if __name__ == "__main__":
    serve(open_box, snapshot=snapshot)
