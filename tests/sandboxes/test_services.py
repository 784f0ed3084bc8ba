"""Services and processes of planloop's own sandboxes, beyond the public contract."""

from __future__ import annotations

import dataclasses
import os
import signal
import uuid
from pathlib import Path

import anyio
import pytest

from planloop.errors import SandboxLost
from planloop.observation import Status
from planloop.sandbox import Command, OutputReady, PortReady, Sandbox, SandboxSpec, Service
from planloop.sandboxes import open_sandbox

from . import hostile
from .conftest import SMALL, Opened

pytestmark = pytest.mark.anyio

COUNTING = """
n = 0
while True:
    n += 1
    for number in range(50):
        with open(f"{number:02}", "r+" if n > 1 else "w") as file: file.write(f"{n:09} {number}")
    if n == 1: print("up", flush=True)
"""


def counting(*marker: str) -> Service:
    command = Command(argv=("python3", "-c", COUNTING, *marker))
    return Service(name="counter", command=command, ready=OutputReady(pattern="^up$"))


async def test_a_snapshot_is_of_one_moment_although_a_service_writes(sandbox: Sandbox) -> None:
    await sandbox.background(counting())
    for _ in range(5):
        snapshot = await sandbox.snapshot()
        before = await sandbox.read_file("00")
        with anyio.fail_after(10):
            while await sandbox.read_file("00") == before:
                await anyio.sleep(0)
        # What a restore brings back is looked at before the service writes again.
        other = await sandbox.background(
            Service(name="counter", command=Command(line="echo up; sleep 60"),
                    ready=OutputReady(pattern="up"))
        )  # fmt: skip
        assert other.alive
        await sandbox.restore(snapshot)
        numbers = [int((await sandbox.read_file(f"{n:02}"))[:9]) for n in range(50)]
        assert numbers == sorted(numbers, reverse=True)
        assert numbers[0] - numbers[-1] <= 1
        await sandbox.background(counting())


async def test_services_come_back_with_a_lost_sandbox_that_is_begun_anew(
    opened: Opened,
) -> None:
    sandbox, marker = await opened(), uuid.uuid4().hex
    state = await sandbox.background(counting(marker))
    snapshot = await sandbox.snapshot()
    os.kill(hostile.first_process_above(marker), signal.SIGKILL)
    with pytest.raises(SandboxLost):
        await sandbox.run(Command(line="sleep 5"))
    with anyio.fail_after(20):
        await sandbox.restore(snapshot)
    assert sandbox.services() == (state,)
    assert (await sandbox.run(Command(line="cat 00"))).status is Status.OK


async def test_a_service_that_cannot_come_back_is_listed_with_the_reason(
    sandbox: Sandbox,
) -> None:
    snapshot = await sandbox.snapshot()
    await sandbox.write_file("needed", b"")
    command = Command(line="cat needed && echo up && sleep 60")
    await sandbox.background(
        Service(name="x", command=command, ready=OutputReady(pattern="up"), ready_s=5)
    )
    await sandbox.restore(snapshot)
    (state,) = sandbox.services()
    assert not state.alive
    assert "needed" in state.detail


async def test_a_service_that_floods_is_ended_and_its_output_stays_bounded(
    opened: Opened,
) -> None:
    sandbox = await opened(dataclasses.replace(SMALL, kept_bytes=1_000_000, shown_bytes=2_000))
    command = Command(line="echo up; until [ -e go ]; do sleep 0.01; done; yes")
    await sandbox.background(Service(name="x", command=command, ready=OutputReady(pattern="up")))
    await sandbox.write_file("go", b"")
    with anyio.fail_after(20):
        while sandbox.services()[0].alive:
            await anyio.sleep(0.01)
    assert "output_limit" in sandbox.services()[0].detail
    assert len(sandbox.services()[0].detail) < 3_000


async def test_a_port_that_is_taken_is_said(sandbox: Sandbox) -> None:
    serve = Command(argv=("python3", "-m", "http.server", "-b", "127.0.0.1", "28999"))
    first = Service(name="one", command=serve, ready=PortReady(port=28999))
    assert (await sandbox.background(first)).alive
    second = Service(name="two", command=serve, ready=PortReady(port=28999))
    assert "already in use" in (await sandbox.background(second)).detail
    assert [state.name for state in sandbox.services()] == ["one"]


async def test_a_pattern_that_never_ends_holds_up_nobody(sandbox: Sandbox) -> None:
    command = Command(line="printf '%0200d\\n' 0; sleep 60")
    service = Service(
        name="x", command=command, ready=OutputReady(pattern="(0|0)*(0|0)*1"), ready_s=0.5
    )
    with anyio.fail_after(10):
        assert not (await sandbox.background(service)).alive
    assert (await sandbox.run(Command(line="echo on"))).stdout.text == "on\n"


async def test_closing_ends_services(opened: Opened) -> None:
    sandbox, marker = await opened(), uuid.uuid4().hex
    await sandbox.background(counting(marker))
    await sandbox.close()
    assert hostile.host_processes(marker, within_s=2) == []


async def test_a_started_call_lives_while_the_host_waits_for_nothing(tmp_path: Path) -> None:
    """Its output is taken although nobody waits: a full pipe would stop it."""
    spec = SandboxSpec(kind="bubblewrap", limits=SMALL)
    sandbox = await open_sandbox(spec, run_id="test", state_dir=tmp_path)
    assert sandbox is not None
    try:
        line = "head -c 1000000 /dev/zero; touch done"
        process = await sandbox.start(Command(line=line))
        with anyio.fail_after(10):
            while "done" not in await sandbox.scan():
                await anyio.sleep(0.01)
            assert (await process.wait()).stdout.total_bytes == 1_000_000
    finally:
        await sandbox.close()
