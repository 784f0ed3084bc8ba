"""What a test session leaves behind: processes, containers and temporary folders of its own.

Its own are those that carry its mark in their environment, or that name its temporary folder, so
that another session on the same machine is not blamed.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

MARK = "PLANLOOP_TEST_SESSION"
_SETTLE_S = 5.0
"""How long what is ending may take to be gone."""


def left_behind(folder: Path) -> list[str]:
    """What is still there of the session whose temporary folder this is, one line each."""
    deadline = time.monotonic() + _SETTLE_S
    while (found := [*_processes(folder), *_containers(folder)]) and time.monotonic() < deadline:
        time.sleep(0.1)
    return [*found, *_folders(folder)]


def _processes(folder: Path) -> Iterator[str]:
    mark = f"{MARK}={folder}".encode()
    for process in Path("/proc").glob("[0-9]*"):
        if int(process.name) in (os.getpid(), os.getppid()):
            continue
        command = _bytes(process / "cmdline")
        own = os.fsencode(folder) + b"/" in command or mark in _bytes(process / "environ")
        if own and _alive(process) and b"xdist" not in command and b"execnet" not in command:
            shown = command.replace(b"\0", b" ").decode(errors="replace").strip()
            yield f"process {process.name}: {shown[:200]}"


def _alive(process: Path) -> bool:
    return b") Z " not in _bytes(process / "stat") != b""


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _containers(folder: Path) -> Iterator[str]:
    for container in _docker("ps", "-aq", "--filter", "label=planloop.run").split():
        described = _docker("inspect", container)
        for found in json.loads(described or "[]"):
            sources = [mount.get("Source", "") for mount in found.get("Mounts", ())]
            if any(source.startswith(f"{folder}/") for source in sources):
                yield f"container {container} ({found['Name']})"


def _docker(*arguments: str) -> str:
    """What the docker client says; nothing where there is none, or no engine."""
    try:
        ran = subprocess.run(["docker", *arguments], capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return ran.stdout


def _folders(folder: Path) -> Iterator[str]:
    for found in sorted(folder.glob("planloop-*")):
        yield f"folder {found}"
