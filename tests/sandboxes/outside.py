"""What the host sees of a running sandbox's processes and settings."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import anyio

from planloop.sandbox import Command, Sandbox

from .modes import CANARY

_SLEEP = f"sleep 61.{os.getpid()}"
GROUPS = (
    *("memory.limit_in_bytes", "memory.memsw.limit_in_bytes", "memory.kmem.tcp.limit_in_bytes"),
    *("memory.max", "memory.swap.max"),
)


@dataclasses.dataclass(frozen=True)
class Seen:
    """One process of a sandbox, from outside."""

    command: str
    user: int
    groups: list[int]
    session: int
    no_new_privileges: bool
    badness: int
    stdin: str
    tells_canary: bool


@dataclasses.dataclass(frozen=True)
class Outside:
    """A sandbox with a call that sleeps, from outside."""

    own_session: int
    processes: list[Seen]
    limits: dict[str, str]
    """Of its control groups: file to content."""
    container: dict[str, Any]
    """The engine's `HostConfig`."""


async def outside(sandbox: Sandbox) -> Outside:
    """The scenario: look at everything while a call runs."""
    async with anyio.create_task_group() as group:
        group.start_soon(sandbox.run, Command(line=_SLEEP, timeout_s=10))
        container: dict[str, Any] = {}
        while not (sleeping := _sleeping()):
            await anyio.sleep(0.01)
        if sandbox.kind == "docker":
            container = _container()
        seen = [one for pid in _line_of(sleeping) if (one := _seen(pid)) is not None]
        limits = _limits(sleeping)
        group.cancel_scope.cancel()
    return Outside(os.getsid(0), seen, limits, container)


def _sleeping() -> int:
    """The process that sleeps in a sandbox of ours."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if (folder / "cmdline").read_bytes() == _SLEEP.replace(" ", "\0").encode() + b"\0":
                return int(folder.name)
        except OSError:
            continue
    return 0


def _line_of(pid: int) -> list[int]:
    """A process and all above it that belong to its sandbox."""
    line = []
    while pid not in (0, 1, os.getpid()):
        line.append(pid)
        stat = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")
        pid = int(stat.rpartition(")")[2].split()[1])
    return [pid for pid in line if "containerd" not in _read(pid, "cmdline")]


def _seen(pid: int) -> Seen | None:
    status = dict(
        line.split(":\t", 1) for line in _read(pid, "status").splitlines() if ":\t" in line
    )
    try:
        stdin = os.readlink(f"/proc/{pid}/fd/0")
    except OSError:
        stdin = "hidden"
    (value,) = CANARY.values()
    return Seen(
        command=_read(pid, "cmdline").replace("\0", " "),
        user=int(status["Uid"].split()[0]),
        groups=[int(one) for one in status["Groups"].split()],
        session=int(_read(pid, "stat").rpartition(")")[2].split()[3]),
        no_new_privileges=status["NoNewPrivs"] == "1",
        badness=int(_read(pid, "oom_score_adj") or 0),
        stdin=stdin,
        tells_canary=value in _read(pid, "environ") + _read(pid, "cmdline"),
    )


def _read(pid: int, name: str) -> str:
    try:
        return Path(f"/proc/{pid}/{name}").read_text("utf-8", "replace")
    except OSError:
        return ""


def _limits(pid: int) -> dict[str, str]:
    found = {}
    for line in _read(pid, "cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        folder = Path(f"/sys/fs/cgroup/{controllers}{path}")
        for name in (*GROUPS, "pids.max"):
            if (folder / name).is_file():
                found[name] = (folder / name).read_text().strip()
    return found


def _container() -> dict[str, Any]:
    listing = ["docker", "ps", "-q", "--filter", f"label=planloop.run=attack-{os.getpid()}"]
    ran = subprocess.run(listing, check=True, capture_output=True, text=True)
    (name,) = ran.stdout.split()
    ran = subprocess.run(["docker", "inspect", name], check=True, capture_output=True, text=True)
    (known,) = json.loads(ran.stdout)
    return {**known["HostConfig"], "Healthcheck": known["Config"].get("Healthcheck")}
