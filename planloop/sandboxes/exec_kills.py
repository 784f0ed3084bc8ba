"""Ending the processes of calls that go by engine exec, and finding their workspace."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio

from planloop.errors import SandboxLost
from planloop.sandbox import WORKSPACE
from planloop.sandboxes import tree
from planloop.sandboxes.cgroup import own_cgroup
from planloop.sandboxes.engine import Engine, hang_up

_LOOK_S = 0.005
_START_DEADLINE_S = 10.0
_AT_MOST = 100
"""Processes that an exit code can count."""
_SWEEP = """
found=0
for process in /proc/[0-9]*; do
  id=${process#/proc/}
  [ "$id" != "$$" ] && [ -O "$process" ] || continue
  kept=
  while IFS= read -r line || [ -n "$line" ]; do
    case $line in KEPT) kept=1 ;; esac
  done 2>/dev/null <"$process/environ"
  [ -n "$kept" ] && continue
  read -r _ _ state _ 2>/dev/null <"$process/stat" || continue
  [ "$state" = Z ] && continue
  kill -9 "$id" 2>/dev/null
  [ "$found" -lt MOST ] && found=$((found + 1))
done
exit "$found"
"""


class KillsFromHere:
    """By the host, which sees the container's processes.

    Args:
        group: the folder of a control group that lists them.
        user: whose processes are those of calls.
    """

    def __init__(self, group: Path, user: int) -> None:
        self._group = group
        self._user = user

    async def kill(self, kept: set[bytes]) -> set[int]:
        """As `Kills.kill`. All are stopped first, so that none can start another meanwhile."""
        try:
            pids = [int(line) for line in (self._group / "cgroup.procs").read_text().split()]
        except OSError:
            raise SandboxLost("its container ended") from None
        found = {pid for pid in pids if self._may_go(pid, kept)}
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for pid in found:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, number)
        return found

    def _may_go(self, pid: int, kept: set[bytes]) -> bool:
        try:
            status = Path("/proc", str(pid), "status").read_text("utf-8", "replace")
            environment = Path("/proc", str(pid), "environ").read_bytes()
        except OSError:
            return False
        fields = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
        dead = fields["State"].strip()[:1] in "ZX"
        ours = fields["Uid"].split()[0] == str(self._user)
        return ours and not dead and not kept & set(environment.split(b"\0"))


class KillsFromInside:
    """By a shell inside, where the engine's kernel is another one.

    Calls may stop that shell, for they have its user. Then they are not proven to be gone, and
    the sandbox is lost.
    """

    def __init__(self, engine: Engine, container: str, user: int) -> None:
        self._engine = engine
        self._container = container
        self._user = user

    async def kill(self, kept: set[bytes]) -> set[int]:
        """As `Kills.kill`, but the ids are only as many as there were processes, up to 100."""
        patterns = "|".join(f"*{word.decode()}*" for word in kept) or "''"
        sweep = _SWEEP.replace("KEPT", patterns).replace("MOST", str(_AT_MOST))
        return set(range(await _run(self._engine, self._container, self._user, sweep)))


async def has_shell(engine: Engine, container: str, user: int) -> bool:
    """Whether `/bin/sh` runs in a container, which by now may have ended for want of it."""
    from docker.errors import APIError

    with contextlib.suppress(APIError, TimeoutError), anyio.fail_after(_START_DEADLINE_S):
        return await _run(engine, container, user, "exit 7") == 7
    return False


async def _run(engine: Engine, container: str, user: int, line: str) -> int:
    """Run a shell line inside; returns its exit code. Nothing that it prints goes anywhere."""
    made = await engine.ask(lambda client: _started(client, container, user, line))
    while True:
        known = await engine.ask(_inspection(made))
        if not known["Running"]:
            return int(known["ExitCode"])
        await anyio.sleep(_LOOK_S)


def _started(client: Any, container: str, user: int, line: str) -> str:
    made = client.exec_create(
        container,
        ["/bin/sh", "-c", line],
        stdout=False,
        stderr=False,
        user=f"{user}:{user}",
    )["Id"]
    client.exec_start(made, detach=True)
    return str(made)


@dataclasses.dataclass(frozen=True)
class Group:
    """The control group of a container, as the host sees it."""

    first: int
    """Id of its first process."""
    folder: Path


async def find_group(engine: Engine, container: str) -> Group | None:
    """The control group of a running container; None where its processes are not seen from here.

    Raises:
        SandboxLost: it does not run any more.
    """
    known = await engine.ask(lambda client: client.inspect_container(container))
    first = int(known["State"]["Pid"])
    if not known["State"]["Running"] or not first:
        raise SandboxLost("its container ended")
    folder = own_cgroup(first, "memory")
    return Group(first, folder) if folder is not None and known["Id"] in str(folder) else None


async def open_workspace(engine: Engine, container: str, user: int) -> int:
    """A descriptor of the folder of a process that should stand in the workspace.

    The process is the workspace's owner, so that a host who is that user may look. The shell is
    the image's: see what the folder is.

    Raises:
        SandboxLost: there is no such process.
    """
    made, channel = await engine.ask(lambda client: _standing(client, container, user))
    try:
        with anyio.fail_after(_START_DEADLINE_S):
            pid = await _pid(engine, made)
        return tree.open_root(f"/proc/{pid}/cwd")
    except (TimeoutError, OSError):
        raise SandboxLost("its workspace cannot be opened") from None
    finally:
        hang_up(channel)


def _standing(client: Any, container: str, user: int) -> tuple[str, Any]:
    made = client.exec_create(
        container,
        ["/bin/sh", "-c", "read -r _"],
        workdir=WORKSPACE,
        user=f"{user}:{user}",
        stdin=True,
    )["Id"]
    return str(made), client.exec_start(made, socket=True)


async def _pid(engine: Engine, made: str) -> int:
    while True:
        if pid := int((await engine.ask(_inspection(made)))["Pid"]):
            return pid
        await anyio.sleep(_LOOK_S)


def _inspection(made: str) -> Callable[[Any], Any]:
    return lambda client: client.exec_inspect(made)
