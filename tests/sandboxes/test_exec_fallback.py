"""Docker images without python3: calls go by the engine's exec, and the sandbox says so."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest

from planloop.errors import SandboxLost
from planloop.observation import Status
from planloop.sandbox import Command, Limits, Sandbox, SandboxSpec
from planloop.sandboxes import default_image, open_sandbox

from . import hostile
from .test_opening import HOST, ROOT

pytestmark = [pytest.mark.anyio, pytest.mark.docker]
IMAGE = "planloop-test-no-python:latest"
LIMITS = Limits(memory_bytes=96 << 20, processes=40, timeout_s=20.0, kept_bytes=1_000_000)


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
