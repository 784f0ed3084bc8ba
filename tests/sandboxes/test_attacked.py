"""What once got through: programs inside that reached the host's own work on their files."""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import socket
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path

import anyio
import pytest

from planloop.errors import InfrastructureError, SandboxLost
from planloop.observation import Status
from planloop.sandbox import Command, Process, Sandbox, SandboxSpec
from planloop.sandboxes import open_sandbox, tree
from planloop.sandboxes.egress.serving import CONNECTIONS_AT_ONCE
from planloop.sandboxes.files import Files
from planloop.sandboxes.link_call import OomCounter

from .conftest import SMALL, python
from .modes import TESTS

pytestmark = pytest.mark.anyio

WAKES_ITSELF = """
import ctypes, os, signal, struct, time
libc = ctypes.CDLL(None)
signal.signal(signal.SIGCONT, lambda *_: None)
event = ctypes.create_string_buffer(64)
struct.pack_into("Qii", event, 0, 0, signal.SIGCONT, 0)
timers = [ctypes.c_void_p() for _ in range(20)]
for timer in timers:
    assert libc.timer_create(1, event, ctypes.byref(timer)) == 0
def wind():
    for place, timer in enumerate(timers):
        when = struct.pack("qqqq", 0, 20_000_000, 0, 1_000_000 * (1 + place))
        assert libc.timer_settime(timer, 0, when, None) == 0
wind()
open("ready", "w").close()
while True:
    open("busy", "w").close()
    time.sleep(0.004)
    wind()
"""
"""Timers send SIGCONT, so that a stop does not last: one that is due at the stop goes out, the
others do not."""

STANDS_STILL = """
import ctypes
import os
for _ in range(4):
    if not os.fork():
        while True: pass
open("ready", "w").close()
while True: os.spawnlp(os.P_WAIT, "true", "true")
"""

LEASES = """
import errno, fcntl, os, time
held = os.open("leased", os.O_RDWR | os.O_CREAT)
try:
    fcntl.fcntl(held, fcntl.F_SETLEASE, fcntl.F_WRLCK)
except OSError as error:
    print(error.errno == errno.EPERM, flush=True)
open("ready", "w").close()
time.sleep(60)
"""

QUEUES = """
import ctypes
libc = ctypes.CDLL(None)
made = 0
for members in (31, 3):
    while libc.semget(0, members, 0o1600) >= 0: made += 1
print(made)
"""

CONNECTIONS = """
import socket
listener = socket.create_server(("127.0.0.1", 0))
kept, sent = [], 0
while sent < 200 << 20 and len(kept) < 200:
    one = socket.socket()
    one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 22)
    one.connect(listener.getsockname())
    other, _ = listener.accept()
    other.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
    one.setblocking(False)
    kept.append((one, other))
    try:
        while True: sent += one.send(bytes(1 << 16))
    except BlockingIOError: pass
print(sent >> 20)
"""


CONNECTS = """
import os, socket, sys, time
kept = []
for port in sys.argv[1:]:
    for _ in range(60): kept.append(socket.create_connection(("127.0.0.1", int(port))))
open("ready", "w").close()
time.sleep(60)
"""


@contextlib.contextmanager
def descriptors_left(count: int) -> Iterator[None]:
    """This process may open so many more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(map(int, os.listdir("/proc/self/fd")))
    gaps = [os.open(os.devnull, os.O_RDONLY)]
    while gaps[-1] <= highest:
        gaps.append(os.open(os.devnull, os.O_RDONLY))
    resource.setrlimit(resource.RLIMIT_NOFILE, (gaps[-1] + 1 + count, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for one in gaps:
            os.close(one)


MANY = "[open(f'file-{n}', 'w').close() for n in range(1500)]"
"""So many files that a look at them takes longer than the next timer."""


def held() -> int:
    """Descriptors of this process."""
    return len(os.listdir("/proc/self/fd"))


async def started(sandbox: Sandbox, source: str, *arguments: str) -> Process:
    """A program inside that has said that it is ready."""
    process = await sandbox.start(python(source, *arguments))
    with anyio.fail_after(10):
        while "ready" not in await sandbox.scan():
            await anyio.sleep(0.01)
    return process


async def again_and_again(work: Callable[[], Awaitable[object]]) -> None:
    for _ in range(20):
        await work()


async def test_who_wakes_from_a_pause_is_no_part_of_a_snapshot(sandbox: Sandbox) -> None:
    await sandbox.run(python(MANY))
    before = await sandbox.snapshot()
    await started(sandbox, WAKES_ITSELF)
    with pytest.raises(SandboxLost, match="stand still"):
        await again_and_again(sandbox.snapshot)
    await sandbox.restore(before)
    assert len(await sandbox.scan()) == 1500


async def test_who_wakes_from_a_pause_does_not_race_a_restore(sandbox: Sandbox) -> None:
    await sandbox.run(python(MANY))
    before = await sandbox.snapshot()
    await started(sandbox, WAKES_ITSELF)
    with pytest.raises(SandboxLost, match="stand still"):
        await again_and_again(partial(sandbox.restore, before, keep_running=True))


async def test_busy_programs_stand_still(sandbox: Sandbox) -> None:
    process = await started(sandbox, STANDS_STILL)
    for _ in range(20):
        await sandbox.restore(await sandbox.snapshot(), keep_running=True)
    assert (await process.end()).status is Status.KILLED


async def test_no_lease_keeps_the_host_from_a_file(sandbox: Sandbox) -> None:
    process = await started(sandbox, LEASES)
    await sandbox.snapshot()
    assert (await process.end()).stdout.text == "True\n"


async def test_a_file_larger_than_any_of_the_host_is_told(sandbox: Sandbox) -> None:
    before = await sandbox.snapshot()
    await sandbox.run(python("import os; open('x', 'w').close(); os.truncate('x', 7 << 60)"))
    with pytest.raises(SandboxLost, match="no room"):
        await sandbox.snapshot()
    await sandbox.restore(before)
    await sandbox.snapshot()


async def test_a_host_without_descriptors_blames_no_program(sandbox: Sandbox) -> None:
    await sandbox.write_file("kept", b"1")
    process = await sandbox.start(Command(line="exec sleep 60"))
    with descriptors_left(2), pytest.raises(InfrastructureError, match="no descriptor"):
        await sandbox.run(Command(line="true"))
    with descriptors_left(0):
        for work in (
            sandbox.start(Command(line="true"), channel=True),
            sandbox.read_file("kept"),
        ):
            with pytest.raises(InfrastructureError, match="no descriptor"):
                await work
    assert (await process.end()).status is Status.KILLED
    assert (await sandbox.run(Command(line="cat kept"))).stdout.text == "1"


async def test_a_call_waits_for_descriptors_that_others_give_back(sandbox: Sandbox) -> None:
    async with anyio.create_task_group() as group:
        with descriptors_left(2):
            group.start_soon(sandbox.run, Command(line="true"))
            await anyio.sleep(0)
            await anyio.wait_all_tasks_blocked()


async def test_what_must_end_ends_once_there_are_descriptors(sandbox: Sandbox) -> None:
    ended: list[Status] = []

    async def end(process: Process) -> None:
        ended.append((await process.end()).status)

    async with anyio.create_task_group() as group:
        process = await sandbox.start(Command(line="exec sleep 60"))
        with descriptors_left(0):
            group.start_soon(end, process)
            await anyio.wait_all_tasks_blocked()
    assert ended == [Status.KILLED]


async def test_connections_of_a_sandbox_are_bounded_together(kind: str, tmp_path: Path) -> None:
    with contextlib.ExitStack() as stack:
        servers = [socket.create_server(("127.0.0.1", 0), backlog=100) for _ in range(3)]
        ports = [str(stack.enter_context(one).getsockname()[1]) for one in servers]
        places = tuple(f"127.0.0.1:{port}" for port in ports)
        spec = SandboxSpec(kind=kind, network=places, limits=SMALL)
        sandbox = await open_sandbox(spec, run_id=f"test-{os.getpid()}", state_dir=tmp_path / "s")
        assert sandbox is not None
        before = held()
        await started(sandbox, CONNECTS, *ports)
        with anyio.fail_after(10):
            while held() < before + 2 * len(ports) * (CONNECTIONS_AT_ONCE // 4):
                await anyio.sleep(0.01)
        for _ in range(5):
            await sandbox.run(Command(line="true"))
        most = held()
        await sandbox.close()
    assert most <= before + 2 * CONNECTIONS_AT_ONCE + 10


def test_a_counter_that_cannot_be_read_tells_no_kill() -> None:
    readings = iter([1, 0, 1, 0, 2])
    counter = OomCounter(lambda: next(readings))
    assert [counter.since_now(alone=False)() for _ in range(2)] == [0, 0]
    assert counter.since_now(alone=True)() == 1
    assert len(list(readings)) == 0


async def test_semaphores_that_stay_take_no_room_from_the_next_call(sandbox: Sandbox) -> None:
    assert int((await sandbox.run(python(QUEUES))).stdout.text) > 1000
    after = await sandbox.run(python("held = bytearray(80 << 20)"))
    assert after.status is Status.OK, after.notes


async def test_what_waits_in_connections_is_bounded(sandbox: Sandbox) -> None:
    held = await sandbox.run(python(CONNECTIONS))
    assert held.status is not Status.OK or int(held.stdout.text) < 96


FULL = """
import os, sys
from pathlib import Path
import anyio
from planloop.errors import InfrastructureError
from planloop.sandbox import SandboxSpec
from planloop.sandboxes import open_sandbox

async def main():
    before = len(os.listdir("/proc/self/fd"))
    spec, folder = SandboxSpec(kind=sys.argv[1]), Path(sys.argv[2])
    try:
        await open_sandbox(spec, run_id="full", state_dir=folder)
    except InfrastructureError as error:
        print(error)
    children = Path("/proc/self/task", str(os.getpid()), "children").read_text()
    print(len(os.listdir("/proc/self/fd")) - before, repr(children))

anyio.run(main)
"""


def test_a_full_disk_is_no_error_of_a_sandbox(kind: str, tmp_path: Path) -> None:
    tmp_path.chmod(0o700)  # closed to the user of a bubblewrap, so that only snapshots go there
    alone = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--user", "--map-root-user"])]
    full = 'mount -t tmpfs -o nr_inodes=1 tmpfs "$0" && exec "$@"'
    script = [sys.executable, "-c", FULL, kind, str(tmp_path)]
    done = subprocess.run(
        [*alone, "/bin/sh", "-c", full, str(tmp_path), *script],
        capture_output=True,
        text=True,
        check=False,
        cwd=TESTS.parent,
    )
    assert done.stdout.splitlines() == ["this machine's disk is full", "0 ''"], done.stderr


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A file of the host that nothing below may change."""
    made = tmp_path / "outside"
    made.write_text("mine")
    made.chmod(0o640)
    return made


def test_a_link_put_in_a_folder_s_place_is_not_followed(tmp_path: Path, outside: Path) -> None:
    root = tmp_path / "root"
    (root / "inner" / "full").mkdir(parents=True)
    (root / "inner" / "link").symlink_to(outside)
    with swapping(root / "inner" / "full", root / "inner" / "link"):
        for _ in range(3000):
            opened = tree.open_root(root / "inner")
            try:
                tree._let_in("full", opened)
            except NotADirectoryError:
                pass
            finally:
                os.close(opened)
    assert outside.stat().st_mode & 0o777 == 0o640


def test_a_link_is_copied_as_it_was_judged(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "link").symlink_to("harmless")
    (root / "other").symlink_to("/etc/passwd")
    files = Files(tree.open_root(root), None)
    with swapping(root / "link", root / "other"):
        for number in range(1500):
            target = tmp_path / f"copy{number}"
            target.mkdir()
            files.copy_out(target, 1 << 20, 10)
            assert {os.readlink(one) for one in target.iterdir()} <= {"harmless"}
    files.close()


class swapping:
    """Two names of a folder trade places for the length of the block, as fast as can be."""

    def __init__(self, one: Path, other: Path) -> None:
        self._names = os.fsencode(one), os.fsencode(other)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._swap)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _swap(self) -> None:
        exchange, here = 2, -100
        libc = ctypes.CDLL(None)
        one, other = self._names
        while not self._stop.is_set():
            for _ in range(50):
                libc.renameat2(here, one, here, other, exchange)
