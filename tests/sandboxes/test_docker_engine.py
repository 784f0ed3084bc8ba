"""The Docker engine itself: how often it is asked, what it may refuse, and how it may fail."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from planloop.errors import SandboxLost, UserError
from planloop.observation import Status
from planloop.sandbox import Command, Limits, Sandbox, SandboxSpec
from planloop.sandboxes import open_sandbox

from . import hostile
from .engine_proxy import EngineProxy, Fault, engine_proxy
from .test_opening import HOST, ROOT, plain_users_python

pytestmark = [pytest.mark.anyio, pytest.mark.docker]
SMALL = Limits(memory_bytes=96 << 20, disk_bytes=16 << 20, processes=40, timeout_s=20.0)


@pytest.fixture
def proxy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[EngineProxy]:
    """The engine of this test, reached through a proxy."""
    with engine_proxy(tmp_path) as proxy:
        monkeypatch.setenv("DOCKER_HOST", proxy.address)
        yield proxy


async def opened(tmp_path: Path, run_id: str, runtime: str | None = None) -> Sandbox:
    spec = SandboxSpec(kind="docker", limits=SMALL, runtime=runtime)
    sandbox = await open_sandbox(spec, run_id=run_id, state_dir=tmp_path / "s")
    assert sandbox is not None
    return sandbox


def containers(run_id: str) -> list[str]:
    listing = ["docker", "ps", "-aq", "--filter", f"label=planloop.run={run_id}"]
    return subprocess.run(
        listing,
        env={"PATH": os.environ["PATH"], "HOME": "/"},
        capture_output=True,
        check=True,
        text=True,
    ).stdout.split()


def gone(run_id: str, within_s: float) -> bool:
    end = time.monotonic() + within_s
    while containers(run_id):
        if time.monotonic() > end:
            return False
    return True


async def test_warm_calls_ask_the_engine_nothing(tmp_path: Path, proxy: EngineProxy) -> None:
    sandbox = await opened(tmp_path, "warm")
    assert any("/containers/create" in line for line in proxy.requests)
    cold = len(proxy.requests)
    for number in range(100):
        done = await sandbox.run(Command(line=f"echo {number} >f; cat f"))
        assert done.stdout.text == f"{number}\n"
    late = await sandbox.run(Command(line="sleep 30 & sleep 30", timeout_s=0.2))
    assert late.status is Status.TIMEOUT
    await sandbox.write_file("g", b"x" * 100_000)
    await sandbox.restore(await sandbox.snapshot())
    assert proxy.requests[cold:] == []
    await sandbox.close()
    assert not [line for line in proxy.requests if "exec" in line]
    assert containers("warm") == []


@pytest.mark.parametrize(
    "fault",
    [
        Fault("refuse"),
        Fault("cut", "/_ping"),
        Fault("nonsense", "/_ping"),
        Fault("cut", "/info"),
        Fault("nonsense", "/info"),
        Fault("nonsense", "/images/"),
        Fault("cut", "/containers/create"),
        Fault("cut", "/start"),
        Fault("cut", "/info", after_bytes=500),
        Fault("cut", "/containers/create", after_bytes=40),
    ],
    ids=str,
)
async def test_an_engine_that_breaks_at_the_start_is_one_error_and_leaves_nothing(
    fault: Fault, tmp_path: Path, proxy: EngineProxy
) -> None:
    proxy.fault = fault
    started = time.monotonic()
    run_id = uuid.uuid4().hex
    with pytest.raises((UserError, SandboxLost)) as raised:
        await opened(tmp_path, run_id)
    assert getattr(raised.value, "hint", None)
    assert time.monotonic() - started < 30
    assert gone(run_id, within_s=10)
    assert not (tmp_path / "s").exists() or list((tmp_path / "s").iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("to", ["/_ping", "/images/", "/start"])
async def test_a_silent_engine_is_given_up(to: str, tmp_path: Path, proxy: EngineProxy) -> None:
    proxy.fault = Fault("stall", to)
    started = time.monotonic()
    with pytest.raises((UserError, SandboxLost), match=r"does not answer|no Docker engine answers"):
        await opened(tmp_path, "silent")
    assert time.monotonic() - started < 90
    proxy.fault = None
    assert gone("silent", within_s=10)


async def test_a_sandbox_outlives_the_way_to_its_engine(tmp_path: Path, proxy: EngineProxy) -> None:
    """Calls go on; closing it ends everything without the engine's help, and does not hang."""
    sandbox = await opened(tmp_path, "outlives")
    proxy.fault = Fault("refuse")
    proxy.close()
    assert (await sandbox.run(Command(line="echo on"))).stdout.text == "on\n"
    started = time.monotonic()
    await sandbox.close()
    assert time.monotonic() - started < 10
    assert gone("outlives", within_s=10)
    assert list((tmp_path / "s").iterdir()) == []


async def test_an_opening_that_is_cancelled_leaves_nothing(tmp_path: Path) -> None:
    for delay_s in (0.0, 0.01, 0.03, 0.1, 0.2):
        with anyio.move_on_after(delay_s):
            sandbox = await opened(tmp_path, "cancelled")
            await sandbox.close()
        assert containers("cancelled") == []
    assert list((tmp_path / "s").iterdir()) == []


async def test_a_container_that_is_killed_is_a_lost_sandbox_and_restore_begins_another(
    tmp_path: Path,
) -> None:
    sandbox = await opened(tmp_path, "killed")
    await sandbox.write_file("f", b"kept")
    snapshot = await sandbox.snapshot()
    subprocess.run(["docker", "kill", *containers("killed")], check=True, capture_output=True)
    with pytest.raises(SandboxLost):
        await sandbox.run(Command(line="sleep 5"))
    await sandbox.restore(snapshot)
    assert (await sandbox.run(Command(line="cat f"))).stdout.text == "kept"
    await sandbox.close()
    assert containers("killed") == []


async def test_a_killed_host_leaves_no_process_after_a_second_and_no_container(
    tmp_path: Path,
) -> None:
    marker = uuid.uuid4().hex
    with subprocess.Popen(
        [sys.executable, "-c", HOST, "docker", marker, tmp_path / "s"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
    ) as host:
        assert host.stdout is not None
        assert host.stdout.readline() == b"up\n"
        assert hostile.host_processes(marker)
        host.send_signal(signal.SIGKILL)
    assert hostile.host_processes(marker, within_s=1) == []
    assert gone(marker, within_s=5)


@pytest.mark.parametrize(
    ("words", "sentence", "looks", "seen"),
    [
        (
            (b'"MemoryLimit":true', b'"MemoryLimit":null'),
            "memory limit: per process only",
            "ulimit -v",
            f"{SMALL.memory_bytes >> 10}\n",
        ),
        (
            (b"name=seccomp", b"name=another"),
            "system calls: this engine filters none",
            "unshare -r true || echo refused",
            "refused\n",
        ),
    ],
    ids=["memory", "filter"],
)
async def test_an_engine_that_holds_less_than_most_is_served_another_container(
    words: tuple[bytes, bytes],
    sentence: str,
    looks: str,
    seen: str,
    tmp_path: Path,
    proxy: EngineProxy,
) -> None:
    """The first one is made while the engine is still being asked what it holds."""
    proxy.fault = Fault("other words", "/info", words=words)
    sandbox = await opened(tmp_path, "less")
    assert sum("/containers/create" in line for line in proxy.requests) == 2
    assert len(containers("less")) == 1
    assert sentence in sandbox.unenforced
    assert (await sandbox.run(Command(line=looks))).stdout.text == seen
    await sandbox.close()
    assert containers("less") == []


async def test_a_runtime_that_the_engine_lacks_is_one_error_that_lists_those_it_has(
    tmp_path: Path,
) -> None:
    with pytest.raises(UserError, match="no runtime `runsc`") as raised:
        await opened(tmp_path, "runtime", runtime="runsc")
    assert "`runc`" in str(raised.value.hint)
    assert list((tmp_path / "s").iterdir()) == [] if (tmp_path / "s").exists() else True


async def test_a_runtime_that_the_engine_has_is_used_and_said(tmp_path: Path) -> None:
    shim = "io.containerd.runc.v2"
    sandbox = await opened(tmp_path, "runtime", runtime=shim)
    (container,) = containers("runtime")
    template = ["docker", "inspect", "-f", "{{.HostConfig.Runtime}}", container]
    assert subprocess.run(template, capture_output=True, text=True).stdout == f"{shim}\n"
    assert any(f"runtime `{shim}`" in sentence for sentence in sandbox.unenforced)
    assert (await sandbox.run(Command(line="echo in"))).stdout.text == "in\n"
    await sandbox.close()


PLAIN = """
import anyio, os, sys
from pathlib import Path
from planloop.sandbox import Command, SandboxSpec
from planloop.sandboxes import open_sandbox
async def main():
    spec = SandboxSpec(kind="docker", image=(sys.argv[2:] or [None])[0])
    sandbox = await open_sandbox(spec, run_id="plain", state_dir=Path(sys.argv[1]))
    await sandbox.write_file("d/f", b"file ")
    done = await sandbox.run(Command(line="cat d/f; id -u; echo new >d/g"))
    late = await sandbox.run(Command(line="sleep 60 & sleep 60", timeout_s=0.5))
    print(done.stdout.text, await sandbox.read_file("d/g"), late.status)
    await sandbox.close()
anyio.run(main)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
async def test_a_plain_user_of_the_engine_runs_calls_as_that_user(tmp_path: Path) -> None:
    said = plain_user_says(tmp_path)
    assert said == "file 54321\n b'new\\n' timeout\n"
    assert containers("plain") == []


def plain_user_says(folder: Path, *image: str) -> str:
    """What `PLAIN` prints where an ordinary member of the engine's group runs it."""
    state = folder / "state"
    state.mkdir()
    for one in (folder, *folder.parents[:2]):
        one.chmod(one.stat().st_mode | 0o011)
    os.chown(state, 54321, 54321)
    ran = subprocess.run(
        [plain_users_python(), "-c", PLAIN, state, *image],
        cwd=ROOT,
        env={
            "PATH": os.defpath,
            "HOME": "/",
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONPATH": f"{ROOT}:{Path(pytest.__file__).parents[1]}",
        },
        user=54321,
        group=54321,
        extra_groups=(Path("/var/run/docker.sock").stat().st_gid,),
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    assert list(state.iterdir()) == []
    return ran.stdout


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can hide a folder from the engine")
async def test_an_engine_that_does_not_see_this_machines_files_is_one_error(tmp_path: Path) -> None:
    hidden = 'mount -t tmpfs tmpfs "$1" && exec "$2" -c "$3" "$1"'
    ran = subprocess.run(
        ["unshare", "--mount", "sh", "-c", hidden, "sh", tmp_path, sys.executable, PLAIN],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert "UserError: sandbox `docker` cannot run" in ran.stderr
    assert "hint: the engine must see this machine's files" in ran.stderr
    assert containers("plain") == []
