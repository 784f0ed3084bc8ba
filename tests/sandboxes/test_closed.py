"""What planloop's own sandboxes hold beyond the public contract: closed, and not to be forged."""

from __future__ import annotations

import os
import signal
import uuid
from pathlib import Path

import anyio
import pytest

from planloop.errors import SandboxLost
from planloop.observation import Status
from planloop.sandbox import Command, Sandbox

from . import hostile
from .conftest import SMALL, Opened, python

pytestmark = pytest.mark.anyio


async def test_environment_is_five_names_and_what_the_call_adds(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    listing = python("import os; print(sorted(os.environ))")
    names = (await sandbox.run(listing)).stdout.text
    ours = {"HOME", "LANG", "PATH", "PYTHONDONTWRITEBYTECODE", "TMPDIR"}
    assert set(eval(names)) - {"LC_CTYPE"} == ours
    done = await sandbox.run(Command(line='echo "$A"', env={"A": "b c"}))
    assert done.stdout.text == "b c\n"


async def test_an_edit_is_never_hidden_by_what_python_compiled_before(sandbox: Sandbox) -> None:
    """Same length, same second: nothing but the content tells the two sources apart."""
    line = "printf 'x = %s' {} > m.py; touch -d @1000 m.py; python3 -c 'import m; print(m.x)'"
    assert (await sandbox.run(Command(line=line.format(1)))).stdout.text == "1\n"
    assert (await sandbox.run(Command(line=line.format(2)))).stdout.text == "2\n"
    assert not any("__pycache__" in path for path in await sandbox.scan())


async def test_no_process_inside_shows_our_environment(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    canary = f"canary-{uuid.uuid4()}"
    monkeypatch.setenv("PLANLOOP_TEST_SECRET", canary)
    sandbox = await opened()
    done = await sandbox.run(
        Command(line="cat /proc/*/environ /proc/*/cmdline 2>/dev/null | tr '\\0' '\\n'; env")
    )
    assert "TMPDIR" in done.stdout.text
    assert canary not in done.stdout.text


async def test_what_a_call_leaves_running_is_ended_and_counted(sandbox: Sandbox) -> None:
    marker = uuid.uuid4().hex
    done = await sandbox.run(python(hostile.DAEMON, marker))
    assert (done.status, done.stdout.text) == (Status.OK, "parent done\n")
    assert done.notes == ("1 background process was ended",)
    assert hostile.host_processes(marker) == []
    done = await sandbox.run(Command(line="sleep 50 & sleep 50 & echo x"))
    assert done.notes == ("2 background processes were ended",)
    assert done.duration_s < 5


async def test_the_process_limit_holds_a_fork_bomb(opened: Opened) -> None:
    sandbox = await opened()
    proof = (await sandbox.run(python(hostile.HOW_MANY_PROCESSES))).stdout.text.split()
    assert proof[1] == "True", "no process limit: a bomb would take the machine down"
    assert int(proof[0]) < SMALL.processes
    marker = uuid.uuid4().hex
    done = await sandbox.run(python(hostile.FORK_BOMB, marker, timeout_s=1.5))
    assert done.status is Status.TIMEOUT
    assert hostile.host_processes(marker) == []
    again = await sandbox.run(Command(line="python3 -c 'print(1)'"))
    assert (again.status, again.stdout.text) == (Status.OK, "1\n")


async def test_too_much_memory_is_oom_where_the_kernel_counts_it(sandbox: Sandbox) -> None:
    done = await sandbox.run(python(hostile.MEMORY_BOMB))
    child = await sandbox.run(python(hostile.MEMORY_BOMB_CHILD))
    assert child.stdout.text == "child True\n"
    if "memory limit: per process only" in sandbox.unenforced:
        assert (done.status, "MemoryError" in done.stderr.text) == (Status.FAILED, True)
    else:
        assert (done.status, done.notes) == (Status.OOM, ("oom_kills=1",))
        assert (child.status, child.notes) == (Status.OK, ("oom_kills=1",))
    assert (await sandbox.run(Command(line="echo 1"))).stdout.text == "1\n"


async def test_the_network_is_closed(sandbox: Sandbox) -> None:
    async with await anyio.create_tcp_listener(local_host="0.0.0.0") as listener:
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        probe = f"""
import socket
for host in ("127.0.0.1", "172.17.0.1", "169.254.169.254"):
    try: socket.create_connection((host, {port}), 1); print("REACHED", host)
    except OSError as error: print("closed")
print([name for _, name in socket.if_nameindex()])
try: socket.getaddrinfo("localhost.example", 80); print("RESOLVED")
except OSError: print("closed")
"""
        done = await sandbox.run(python(probe))
    assert done.stdout.text.splitlines() == ["closed"] * 3 + ["['lo']", "closed"]


async def test_posture_no_root_no_capabilities_no_strange_descriptors(sandbox: Sandbox) -> None:
    probe = """
import os
status = dict(l.split(":\\t") for l in open("/proc/self/status").read().splitlines() if ":\\t" in l)
print(os.getuid() != 0, os.geteuid() != 0, os.getgid() != 0, 0 in os.getgroups())
print([int(status[k], 16) for k in ("CapInh", "CapPrm", "CapEff", "CapAmb")], status["NoNewPrivs"])
print([fd for fd in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{fd}")])
for path in ("/x", "/usr/x", "/etc/x", "/run/x", "/proc/sys/kernel/core_pattern", "/dev/x"):
    try: open(path, "w"); print("WROTE", path)
    except OSError: pass
for path in ("/workspace/x", "/tmp/x", "/dev/shm/x"): open(path, "w").write("x")
"""
    lines = (await sandbox.run(python(probe))).stdout.text.splitlines()
    assert lines[0] == "True True True False"
    assert lines[1] == "[0, 0, 0, 0] 1"
    assert lines[2:] == ["['0', '1', '2']"]


async def test_tmp_is_private_and_files_of_the_host_are_not_there(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    for folder in ("/tmp", "/home", "/root", str(tmp_path), "/var/run/docker.sock"):
        done = await sandbox.run(Command(line=f"ls -A {folder}"))
        assert done.stdout.text == "", folder
    assert (await sandbox.run(Command(line="hostname"))).stdout.text != f"{os.uname().nodename}\n"


async def test_nothing_inside_can_forge_an_outcome(sandbox: Sandbox) -> None:
    done = await sandbox.run(python(hostile.FORGERIES))
    assert done.stdout.text == ""
    assert done.status in (Status.FAILED, Status.KILLED)
    assert (await sandbox.run(Command(line="echo fine"))).stdout.text == "fine\n"


async def test_killing_everything_reachable_is_killed_and_never_ok(sandbox: Sandbox) -> None:
    kill_all = "import os\nfor n in (15, 2, 1, 11, 6, 9):\n os.kill(1, n) if os.getuid() else 0\n"
    for source in ("import os; os.kill(-1, 9)", kill_all):
        done = await sandbox.run(python(source + "\nimport os; os._exit(3)"))
        assert done.status in (Status.FAILED, Status.KILLED)
        assert (await sandbox.run(Command(line="echo fine"))).stdout.text == "fine\n"


async def test_a_call_ended_while_it_starts_does_not_start_afterwards(sandbox: Sandbox) -> None:
    marker = uuid.uuid4().hex
    for number in range(60):
        with anyio.move_on_after(number * 0.0001):
            await sandbox.run(Command(argv=("sh", "-c", "sleep 60", marker)))
        assert hostile.host_processes(marker) == []
    assert (await sandbox.run(Command(line="echo fine"))).stdout.text == "fine\n"
    assert hostile.host_processes(marker) == []


async def test_a_dead_sandbox_is_lost_and_not_an_observation(sandbox: Sandbox) -> None:
    marker = uuid.uuid4().hex

    def kill_first(stream: str, text: str) -> None:
        os.kill(hostile.first_process_above(marker), signal.SIGKILL)

    with pytest.raises(SandboxLost):
        await sandbox.run(python(hostile.STUBBORN_TREE, marker), kill_first)
    assert hostile.host_processes(marker, within_s=2) == []
    with pytest.raises(SandboxLost):
        await sandbox.run(Command(line="true"))
    with pytest.raises(SandboxLost):
        await sandbox.read_file("x")
