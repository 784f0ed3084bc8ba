"""What a container of planloop's holds, as seen from inside and by the engine's own account."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from planloop.observation import Status
from planloop.sandbox import Command, Limits, Sandbox, SandboxSpec
from planloop.sandboxes import open_sandbox

pytestmark = [pytest.mark.anyio, pytest.mark.docker]
LIMITS = Limits(
    memory_bytes=96 << 20, disk_bytes=24 << 20, inodes=300, processes=40, timeout_s=20.0
)
RUN = f"walls-{os.getpid()}"


@pytest.fixture
async def sandbox(tmp_path: Path) -> AsyncIterator[Sandbox]:
    spec = SandboxSpec(kind="docker", limits=LIMITS)
    sandbox = await open_sandbox(spec, run_id=RUN, state_dir=tmp_path / "s")
    assert sandbox is not None
    yield sandbox
    await sandbox.close()


async def says(sandbox: Sandbox, program: str) -> Any:
    done = await sandbox.run(Command(argv=("python3", "-c", program)))
    assert done.status is Status.OK, done.stderr.text
    return json.loads(done.stdout.text)


WRITABLE = """
import json, os
found = {}
for folder, below, _ in os.walk("/"):
    if folder.startswith("/proc"):
        below.clear()
    elif os.access(folder, os.W_OK):
        known = os.statvfs(folder)
        found[folder] = [known.f_blocks * known.f_frsize, known.f_files]
        below.clear()
print(json.dumps(found))
"""


async def test_every_place_that_can_be_written_is_bounded(sandbox: Sandbox) -> None:
    found = await says(sandbox, WRITABLE)
    assert found.pop("/dev/mqueue")  # bounded for each user by RLIMIT_MSGQUEUE, not in size
    assert found == {
        "/workspace": [LIMITS.disk_bytes, LIMITS.inodes],
        "/tmp": [LIMITS.memory_bytes // 4, LIMITS.inodes // 4],
        "/dev/shm": [LIMITS.memory_bytes // 8, LIMITS.inodes // 8],
    }


FILL = """
import errno, json, os
said = {}
for folder in ("/workspace", "/tmp", "/dev/shm"):
    file = open(f"{folder}/big", "wb", buffering=0)
    try:
        while True: file.write(bytes(1 << 12))
    except OSError as error: said[folder] = [errno.errorcode[error.errno], file.tell()]
    file.close()
    os.unlink(f"{folder}/big")
    try:
        for number in range(10_000): os.mkdir(f"{folder}/{number}")
    except OSError as error: said[folder] += [errno.errorcode[error.errno], number]
    for name in os.listdir(folder): os.rmdir(f"{folder}/{name}")
print(json.dumps(said))
"""


async def test_disk_and_inodes_end_with_no_space_and_the_sandbox_goes_on(sandbox: Sandbox) -> None:
    said = await says(sandbox, FILL)
    assert said["/workspace"] == ["ENOSPC", LIMITS.disk_bytes, "ENOSPC", LIMITS.inodes - 1]
    assert said["/tmp"][::2] == said["/dev/shm"][::2] == ["ENOSPC", "ENOSPC"]
    await sandbox.write_file("after", b"fits")


async def test_a_full_disk_leaves_the_whole_memory_to_programs(sandbox: Sandbox) -> None:
    filled = f"head -c {LIMITS.disk_bytes} /dev/zero >full && python3 -c 'bytearray(70 << 20)'"
    assert (await sandbox.run(Command(line=filled))).status is Status.OK
    over = await sandbox.run(Command(line="python3 -c 'bytearray(150 << 20)'"))
    assert over.status is Status.OOM
    assert (await sandbox.scan())["full"].size == LIMITS.disk_bytes


STANDING = """
import json, os, resource, socket
lines = open("/proc/self/status").read().splitlines()
status = dict(line.split(":\\t") for line in lines if ":\\t" in line)
names = ("CapPrm", "CapEff", "CapAmb", "NoNewPrivs", "Seccomp")
doors = ("/var/run/docker.sock", "/run/docker.sock", "/run/planloop/socket")
print(json.dumps({
    "user": [os.getresuid(), os.getresgid(), os.getgroups()],
    "status": {name: status[name] for name in names},
    "core": resource.getrlimit(resource.RLIMIT_CORE),
    "files": resource.getrlimit(resource.RLIMIT_NOFILE),
    "interfaces": sorted(os.listdir("/sys/class/net")),
    "host": socket.gethostname(),
    "group": {line.split(":", 2)[2] for line in open("/proc/self/cgroup").read().split()} == {"/"},
    "descriptors": len(os.listdir("/proc/self/fd")),
    "sockets": [door for door in doors if os.path.exists(door)],
}))
"""


async def test_calls_stand_alone_and_without_privileges(sandbox: Sandbox) -> None:
    user = os.geteuid() or 65534
    found = await says(sandbox, STANDING)
    assert found["user"] == [[user] * 3, [user] * 3, []]
    assert set(found["status"].values()) == {"0" * 16, "1", "2"}
    assert found["core"] == [0, 0]
    assert found["files"] == [16_384, 16_384]
    assert found["interfaces"] == ["lo"]
    assert found["host"] == "sandbox"
    assert found["group"]
    assert found["descriptors"] == 4  # its three streams, and the listing itself
    assert found["sockets"] == []


async def test_no_folder_of_the_host_is_shown_but_the_door(sandbox: Sandbox) -> None:
    shown = await sandbox.run(Command(line="ls -A /run/planloop; touch /run/planloop/x"))
    assert shown.stdout.text.split() == ["__pycache__", "guest.py"]
    assert "Read-only" in shown.stderr.text
    listing = ["docker", "ps", "-q", "--filter", f"label=planloop.run={RUN}"]
    ids = subprocess.run(listing, capture_output=True, check=True, text=True).stdout.split()
    (known,) = json.loads(subprocess.run(["docker", "inspect", *ids], capture_output=True).stdout)
    mounts = [(mount["Type"], mount["Destination"], mount["RW"]) for mount in known["Mounts"]]
    assert mounts == [("bind", "/run/planloop", False)]
    assert known["Config"]["Labels"]["planloop.owner"].startswith(f"{os.getpid()}.")
