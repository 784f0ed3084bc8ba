"""Docker images without python3: calls go by the engine's exec, and the sandbox says so."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from planloop.errors import SandboxLost, UserError
from planloop.observation import Status
from planloop.sandbox import Command, Limits, Sandbox, SandboxSpec
from planloop.sandboxes import default_image, open_sandbox
from planloop.sandboxes.posture import refuse_untriable

from . import hostile
from .test_docker_engine import plain_user_says
from .test_opening import HOST, ROOT

pytestmark = [pytest.mark.anyio, pytest.mark.docker]
IMAGE = "planloop-test-no-python:latest"
LIMITS = Limits(
    memory_bytes=96 << 20,
    disk_bytes=16 << 20,
    processes=40,
    timeout_s=20.0,
    kept_bytes=1_000_000,
)


@pytest.fixture(scope="module")
def image(docker_engine: None) -> str:
    recipe = f"FROM {default_image()}\nRUN rm -f /usr/bin/python3*\n"
    build = ["docker", "build", "-q", "-t", IMAGE, "-"]
    subprocess.run(build, input=recipe.encode(), check=True, capture_output=True)
    return IMAGE


@pytest.fixture
async def sandbox(image: str, tmp_path: Path) -> AsyncIterator[Sandbox]:
    spec = SandboxSpec(kind="docker", image=image, limits=LIMITS)
    sandbox = await open_sandbox(spec, run_id="test-exec", state_dir=tmp_path)
    assert sandbox is not None
    yield sandbox
    await sandbox.close()
    assert list(tmp_path.iterdir()) == []


async def test_without_python3_limits_are_not_called_open_for_want_of_it(sandbox: Sandbox) -> None:
    with pytest.raises(UserError, match="cannot be tried: no python3"):
        await refuse_untriable(sandbox)


async def test_the_fall_back_says_what_it_cannot_tell(sandbox: Sandbox) -> None:
    assert "no python3" in sandbox.unenforced[0]
    assert "128 + N" in sandbox.unenforced[0]


async def test_codes_streams_files_and_refusals_are_as_ever(sandbox: Sandbox) -> None:
    for code in (0, 1, 125, 127, 137):
        done = await sandbox.run(Command(line=f"exit {code}"))
        assert (done.status, done.exit_code) == (Status.OK if code == 0 else Status.FAILED, code)
    await sandbox.write_file("d/f", b"file")
    done = await sandbox.run(Command(line="cat; cat f; id -u; echo e >&2", stdin=b"a\0b", cwd="d"))
    assert (done.stdout.text, done.stderr.text) == ("a\0bfile65534\n", "e\n")
    with pytest.raises(FileNotFoundError, match="no-program"):
        await sandbox.run(Command(argv=("no-program",)))
    with pytest.raises(FileNotFoundError, match="no-folder"):
        await sandbox.run(Command(line="true", cwd="no-folder"))


async def test_timeouts_floods_and_leftovers_end_the_whole_tree(sandbox: Sandbox) -> None:
    marker = f"6{uuid.uuid4().int % 10**9:09d}"
    tree = f"setsid sleep {marker} & (setsid sh -c 'trap \"\" TERM; sleep {marker}' &) ; echo up; "
    done = await sandbox.run(Command(line=tree + f"sleep {marker}", timeout_s=1))
    assert (done.status, done.stdout.text) == (Status.TIMEOUT, "up\n")
    assert hostile.host_processes(marker) == []
    done = await sandbox.run(Command(line=tree))
    assert done.status is Status.OK
    assert "background processes were ended" in done.notes[0]
    assert hostile.host_processes(marker) == []
    started = time.monotonic()
    assert (await sandbox.run(Command(line="yes"))).status is Status.OUTPUT_LIMIT
    assert (await sandbox.run(Command(line="echo on"))).stdout.text == "on\n"
    assert time.monotonic() - started < 5


async def test_a_call_ended_beside_another_leaves_that_one_alone(sandbox: Sandbox) -> None:
    statuses: list[Status] = []

    async def steady() -> None:
        statuses.append((await sandbox.run(Command(line="sleep 1 & wait"))).status)

    async with anyio.create_task_group() as group:
        group.start_soon(steady)
        short = await sandbox.run(Command(line="sleep 30", timeout_s=0.3))
    assert (short.status, statuses) == (Status.TIMEOUT, [Status.OK])


async def test_cancelling_kills_and_a_dead_container_is_lost(sandbox: Sandbox) -> None:
    marker = f"7{uuid.uuid4().int % 10**9:09d}"
    with anyio.move_on_after(10) as scope:
        await sandbox.run(Command(line=f"echo; sleep {marker}"), lambda *_: scope.cancel())
    assert hostile.host_processes(marker) == []
    for number in range(8):
        with anyio.move_on_after(number * 0.01):
            await sandbox.run(Command(line=f"sleep {marker}"))
        assert hostile.host_processes(marker) == []
    listing = ["docker", "ps", "-q", "--filter", "label=planloop.run=test-exec"]
    container = subprocess.run(listing, capture_output=True, check=True, text=True).stdout.split()
    subprocess.run(["docker", "kill", *container], check=True, capture_output=True)
    with pytest.raises(SandboxLost):
        await sandbox.run(Command(line="true"))


async def test_a_killed_host_ends_the_container(image: str, tmp_path: Path) -> None:
    marker = uuid.uuid4().hex
    with subprocess.Popen(
        [sys.executable, "-c", HOST, "docker", marker, tmp_path / "s", image],
        cwd=ROOT,
        stdout=subprocess.PIPE,
    ) as host:
        assert host.stdout is not None
        assert host.stdout.readline() == b"up\n"
        assert hostile.host_processes(marker)
        host.send_signal(signal.SIGKILL)
    assert hostile.host_processes(marker, within_s=5) == []


async def test_a_snapshot_stops_calls_and_ends_none(sandbox: Sandbox) -> None:
    line = "i=0; while [ $i -lt 40 ]; do echo $i >f; i=$((i + 1)); sleep 0.02; done; cat f"
    seen: list[bytes] = []

    async def counting() -> None:
        done = await sandbox.run(Command(line=line))
        seen.append(done.stdout.text.encode())

    async with anyio.create_task_group() as group:
        group.start_soon(counting)
        while "f" not in await sandbox.scan():
            await anyio.lowlevel.checkpoint()
        snapshot = await sandbox.snapshot()
    assert seen == [b"39\n"]
    await sandbox.restore(snapshot)
    assert int(await sandbox.read_file("f")) < 39


async def test_a_channel_is_one_clear_error(sandbox: Sandbox) -> None:
    with pytest.raises(UserError, match="no channel") as raised:
        await sandbox.start(Command(line="true"), channel=True)
    assert "python3" in str(raised.value.hint)
    assert (await sandbox.run(Command(line="echo on"))).stdout.text == "on\n"


async def test_the_workspace_is_bounded_here_too(sandbox: Sandbox) -> None:
    done = await sandbox.run(Command(line="head -c 99000000 /dev/zero >f; ulimit -c; ulimit -n"))
    assert done.stdout.text == "0\n16384\n"
    assert "No space left" in done.stderr.text
    assert (await sandbox.scan())["f"].size <= LIMITS.disk_bytes


ELSEWHERE = """
import anyio, sys
from pathlib import Path
from planloop.errors import PlanloopError
from planloop.sandbox import Command, SandboxSpec
from planloop.sandboxes import open_sandbox
async def main():
    spec = SandboxSpec(kind="docker", image=sys.argv[1])
    sandbox = await open_sandbox(spec, run_id="elsewhere", state_dir=Path(sys.argv[2]))
    print(*sandbox.unenforced, sep="\\n")
    await sandbox.write_file("f", b"file ")
    async def steady():
        done = await sandbox.run(Command(line="sleep 1 & wait; echo steady >>f"))
        print(done.status)
    async with anyio.create_task_group() as group:
        group.start_soon(steady)
        tree = "setsid sleep 77 & env -i sleep 77 & echo up; sleep 77"
        late = await sandbox.run(Command(line=tree, timeout_s=0.3))
        print(late.status, late.stdout.text, end="")
    done = await sandbox.run(Command(line="cat f; id -u; echo left: /proc/[0-9]*/fd; exit 3"))
    print(done.status, done.exit_code, done.stdout.text)
    await sandbox.close()
anyio.run(main)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can leave its process namespace")
async def test_without_a_view_of_its_processes_they_are_ended_from_inside(
    image: str, tmp_path: Path
) -> None:
    """As with an engine whose kernel is another: what it says of process ids means nothing here."""
    ran = subprocess.run(
        [
            *("unshare", "--pid", "--fork", "--mount-proc", "--kill-child"),
            *(sys.executable, "-c", ELSEWHERE, image, tmp_path),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert "disk and inode limits: none" in ran.stdout, ran.stderr
    assert "timeout up\nok\nfailed 3 file steady\n65534\n" in ran.stdout
    assert hostile.host_processes("sleep\x0077") == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
async def test_a_plain_user_of_the_engine_has_the_fall_back_too(image: str, tmp_path: Path) -> None:
    assert plain_user_says(tmp_path, image) == "file 54321\n b'new\\n' timeout\n"
