"""What bubblewrap's walls hold, in each mode of host: by programs that run against them."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from planloop.observation import Status
from planloop.sandbox import Command, Completed, Limits, Sandbox

from .hostile import host_processes
from .houses import Houses
from .modes import MODES, TESTS, House, HouseError, house

BUBBLEWRAP = [mode for mode in MODES if mode.kind == "bubblewrap"]
in_every_mode = pytest.mark.parametrize("mode", [mode.name for mode in BUBBLEWRAP])

POSTURE = """
import ctypes, fcntl, json, os, resource, socket, stat
seen = {}
def attempt(name, work):
    try: seen[name] = work()
    except Exception as error: seen[name] = type(error).__name__
def status(): return dict(line.split(":\\t", 1) for line in open("/proc/self/status"))
def rooms():
    found = {}
    for folder in ("/workspace", "/tmp", "/dev/shm"):
        room = os.statvfs(folder)
        found[folder] = [room.f_blocks * room.f_frsize, room.f_files]
    return found
attempt("rooms", rooms)
attempt("capabilities", lambda: [status()[f"Cap{one}"].strip() for one in ("Eff", "Prm", "Amb")])
attempt("privileges", lambda: status()["NoNewPrivs"].strip())
attempt("filtered", lambda: status()["Seccomp"].strip())
attempt("environment", lambda: dict(os.environ))
attempt("first's environment", lambda: open("/proc/1/environ").read())
attempt("first's memory", lambda: open("/proc/1/mem", "rb"))
attempt("first's files", lambda: os.listdir("/proc/1/fd"))
attempt("first's words", lambda: open("/proc/1/cmdline").read())
attempt("terminal", lambda: os.open("/dev/tty", os.O_RDWR))
attempt("open files", lambda: sorted(int(name) for name in os.listdir("/proc/self/fd"))[:-1])
attempt("core", lambda: resource.getrlimit(resource.RLIMIT_CORE)[1])
attempt("switches", lambda: open("/proc/sys/kernel/core_pattern", "w"))
attempt("namespaces", lambda: open("/proc/sys/user/max_user_namespaces", "w"))
attempt("root", lambda: open("/planted", "w"))
attempt("system", lambda: open("/usr/planted", "w"))
attempt("devices", lambda: open("/dev/planted", "w"))
attempt("mounts", lambda: open("/proc/self/mountinfo").read())
attempt("interfaces", lambda: [name for _, name in socket.if_nameindex()])
attempt("users", lambda: open("/proc/self/uid_map").read().split())
attempt("host name", socket.gethostname)
print(json.dumps(seen))
"""

FILL = """
import os, sys
def full(work):
    done = 0
    try:
        while done < 10**6: work(done); done += 1
    except OSError as error: return done, error.strerror
    return done, None
folder = sys.argv[1]
def name(number): return os.path.join(folder, str(number))
def write(number):
    with open(name("big"), "ab", buffering=0) as file:
        if file.write(bytes(1 << 20)) < 1 << 20: raise OSError(28, os.strerror(28))
print("bytes", *full(write), flush=True)
os.unlink(name("big"))
print("names", *full(lambda number: os.close(os.open(name(number), os.O_CREAT))), flush=True)
"""

TAKEOVER = """
import os, signal, time
for number in range(1, 65):
    if number != signal.SIGCHLD:
        try: os.kill(1, number)
        except (OSError, ValueError): pass
open("tried", "w").close()
time.sleep(0.2)
"""


def python(source: str, *arguments: str, timeout_s: float = 20.0) -> Command:
    return Command(argv=("python3", "-c", source, *arguments), timeout_s=timeout_s)


async def posture(sandbox: Sandbox) -> dict[str, Any]:
    done = await sandbox.run(python(POSTURE))
    assert done.status is Status.OK, done.stderr.text
    found: dict[str, Any] = json.loads(done.stdout.text)
    return found


async def filled(sandbox: Sandbox, folder: str) -> str:
    return (await sandbox.run(python(FILL, folder))).stdout.text


async def taken_over(sandbox: Sandbox) -> tuple[Completed, Completed]:
    return await sandbox.run(python(TAKEOVER)), await sandbox.run(Command(line="test -e tried"))


async def worked_with(sandbox: Sandbox) -> tuple[bytes, Status, bytes, list[str]]:
    """Files both ways, a call that is killed, and files again: the whole of a plain user's day."""
    await sandbox.write_file("in", b"from the host")
    await sandbox.run(Command(line="cat in > out; mkdir d; ln -s ../in d/link"))
    killed = await sandbox.run(Command(line="echo half > cut; exec sleep 60", timeout_s=0.3))
    out, cut = await sandbox.read_file("out"), await sandbox.read_file("cut")
    return out, killed.status, cut, sorted(await sandbox.scan())


@in_every_mode
def test_a_call_finds_closed_doors(houses: Houses, mode: str) -> None:
    limits = Limits(
        memory_bytes=96 << 20, processes=64, disk_bytes=24 << 20, inodes=2000, timeout_s=20.0
    )
    after = houses[mode].run(posture, limits=limits)
    seen = after.result
    assert seen["rooms"] == {
        "/workspace": [24 << 20, 2000],
        "/tmp": [24 << 20, 500],
        "/dev/shm": [12 << 20, 250],
    }
    assert seen["capabilities"] == ["0000000000000000"] * 3
    assert (seen["privileges"], seen["filtered"]) == ("1", "2")
    for door in ("first's environment", "first's memory", "first's files"):
        assert seen[door] == "PermissionError"
    for place in ("switches", "namespaces", "root", "system", "devices"):
        assert seen[place] in ("PermissionError", "OSError"), place
    assert seen["terminal"] == "OSError"
    assert seen["open files"] == [0, 1, 2]
    assert seen["core"] == 0
    assert seen["interfaces"] == ["lo"]
    assert seen["host name"] == "sandbox"
    assert seen["users"][0] == "1000"
    assert seen["users"][2] == "1"
    assert not after.left


@in_every_mode
def test_nothing_of_the_hosts_shows_inside(houses: Houses, mode: str) -> None:
    seen = houses[mode].run(posture).result
    shown = json.dumps([seen["environment"], seen["first's words"], seen["mounts"]])
    assert "planloop-" not in shown  # the names of folders of the host
    assert str(Path.home()) not in shown.replace("/home", "")
    assert set(seen["environment"]) <= {
        *("PATH", "HOME", "LANG", "TMPDIR", "PYTHONDONTWRITEBYTECODE", "LC_CTYPE"),
    }


@in_every_mode
@pytest.mark.parametrize(
    ("folder", "most_bytes", "most_names"),
    [("/workspace", 24, 2000), ("/tmp", 24, 500), ("/dev/shm", 12, 250)],
)
def test_folders_are_full_at_their_bounds(
    houses: Houses, mode: str, folder: str, most_bytes: int, most_names: int
) -> None:
    by_bytes, by_names = houses[mode].run(filled, folder).result.splitlines()
    assert by_bytes == f"bytes {most_bytes} No space left on device"
    kind, names, *why = by_names.split()
    assert (kind, why) == ("names", ["No", "space", "left", "on", "device"])
    assert most_names - 20 < int(names) < most_names


@in_every_mode
def test_signals_do_not_reach_the_first_process(houses: Houses, mode: str) -> None:
    tried, then = houses[mode].run(taken_over).result
    assert (tried.status, then.status) == (Status.OK, Status.OK)


@in_every_mode
def test_files_and_calls_work_in_every_mode(houses: Houses, mode: str) -> None:
    after = houses[mode].run(worked_with)
    out, killed, cut, names = after.result
    assert (out, killed, cut) == (b"from the host", Status.TIMEOUT, b"half\n")
    assert names == ["cut", "d/link", "in", "out"]
    assert not after.left


@in_every_mode
def test_each_mode_says_what_it_cannot_enforce(houses: Houses, mode: str) -> None:
    said = houses[mode].run(worked_with).unenforced
    (asked,) = (one for one in BUBBLEWRAP if one.name == mode)
    memory = (
        "memory limit: per process only, and not for memory files and what waits in pipes and "
        "sockets, as no control group can be had"
    )
    assert said == (() if asked.cgroup else (memory,))


async def waiting(sandbox: Sandbox, marker: str) -> None:
    await sandbox.run(Command(line=f"setsid sleep {marker} & sleep {marker}"))


@pytest.mark.parametrize("mode", BUBBLEWRAP[::2], ids=str)
def test_a_killed_host_leaves_no_process(mode: Any, tmp_path: Path) -> None:
    marker = f"7{os.getpid()}{time.monotonic_ns() % 1000}"
    with house(mode, tmp_path) as lived_in:
        living = threading.Thread(target=_live, args=(lived_in, marker))
        living.start()
        deadline = time.monotonic() + 10
        while len([one for one in host_processes(marker) if "bwrap" not in one]) < 2:
            assert time.monotonic() < deadline
        os.kill(lived_in.pid, signal.SIGKILL)
        killed = time.monotonic()
        assert host_processes(marker, within_s=5.0) == []
        assert time.monotonic() - killed < 1.0
        living.join()


def _live(lived_in: House, marker: str) -> None:
    with contextlib.suppress(HouseError):
        lived_in.run(waiting, marker, limits=Limits(timeout_s=60.0))


SPOILED = """
import os, sys
from pathlib import Path
import anyio
from planloop.sandbox import Command, Limits, SandboxSpec
from planloop.sandboxes import open_sandbox

async def main():
    spec = SandboxSpec(kind="bubblewrap", limits=Limits(disk_bytes=8 << 20))
    sandbox = await open_sandbox(spec, run_id="spoiled", state_dir=Path(sys.argv[1]))
    done = await sandbox.run(Command(line="head -c 20M /dev/zero > big; stat -c %s big; id -u"))
    print(*sandbox.unenforced, sep="|")
    print(done.stdout.text.replace("\\n", " "))
    await sandbox.close()
    print(os.listdir(sys.argv[1]))

anyio.run(main)
"""


@contextlib.contextmanager
def _spoiled(program: str, substitute: str) -> Iterator[list[str]]:
    """A command prefix under which a program of the system is another one."""
    spoil = f'mount --bind {substitute} {program} && exec "$@"'
    yield ["unshare", "--mount", "--propagation", "private", "/bin/sh", "-c", spoil, "spoil"]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
@pytest.mark.parametrize(
    ("program", "substitute", "why"),
    [
        ("/usr/bin/setpriv", "/dev/null", "util-linux is missing"),
        ("/usr/bin/setpriv", "/usr/bin/false", "it did not start"),
    ],
)
def test_where_nothing_can_be_laid_out_it_is_said(
    program: str, substitute: str, why: str, tmp_path: Path
) -> None:
    state = Path("/tmp") / f"planloop-test-{os.getpid()}-{time.monotonic_ns()}"
    with _spoiled(program, substitute) as prefix:
        script = [sys.executable, "-c", SPOILED, str(state)]
        ran = subprocess.run(
            [*prefix, *script], capture_output=True, text=True, cwd=TESTS.parent, check=False
        )
    try:
        said, seen, left = ran.stdout.splitlines()
    finally:
        state.rmdir()
    assert said == f"inode limit: not enforced, as nothing can be laid out: {why}"
    assert seen.split() == [str(8 << 20), "1000"]
    assert left == "[]"
