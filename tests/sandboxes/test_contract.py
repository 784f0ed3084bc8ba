"""The contract of sandboxes, for every backend."""

from __future__ import annotations

import os
import signal
import time
import uuid
from pathlib import Path

import anyio
import pytest

from planloop.errors import SandboxLost
from planloop.observation import Status
from planloop.sandbox import Command, Limits, Sandbox

from . import hostile
from .conftest import SMALL, Opened

pytestmark = pytest.mark.anyio


def python(source: str, *arguments: str, timeout_s: float | None = None) -> Command:
    return Command(argv=("python3", "-c", source, *arguments), timeout_s=timeout_s)


async def test_exit_codes_are_values(sandbox: Sandbox) -> None:
    for code in (0, 1, 2, 124, 125, 126, 127, 128, 137, 143, 255):
        done = await sandbox.run(Command(line=f"exit {code}"))
        assert (done.status, done.exit_code) == (Status.OK if code == 0 else Status.FAILED, code)
        assert (done.signal, done.notes) == (None, ())


async def test_death_by_signal_is_killed_and_not_a_timeout(sandbox: Sandbox) -> None:
    for number in (signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM, signal.SIGXCPU):
        done = await sandbox.run(Command(line=f"echo x; kill -{int(number)} $$"))
        assert (done.status, done.exit_code, done.signal) == (Status.KILLED, None, number)
        assert done.stdout.text == "x\n"


async def test_streams_are_apart_and_stdin_carries_every_byte(sandbox: Sandbox) -> None:
    done = await sandbox.run(Command(line="cat; echo err >&2", stdin=b"a\0b\n" * 70_000))
    assert done.stdout.total_bytes == 280_000
    assert done.stdout.head.startswith("a\0b\n")
    assert done.stderr.text == "err\n"
    assert (await sandbox.run(Command(argv=("cat",)))).stdout.text == ""


async def test_calls_start_in_the_workspace_or_where_they_ask(sandbox: Sandbox) -> None:
    await sandbox.write_file("sub/x", b"")
    for cwd, where in ((".", "/workspace"), ("sub", "/workspace/sub"), ("/tmp", "/tmp")):
        assert (await sandbox.run(Command(line="pwd", cwd=cwd))).stdout.text == f"{where}\n"


async def test_what_cannot_be_started_raises_and_names_itself(sandbox: Sandbox) -> None:
    with pytest.raises(FileNotFoundError, match="no-folder"):
        await sandbox.run(Command(line="true", cwd="no-folder"))
    with pytest.raises(FileNotFoundError, match="no-program"):
        await sandbox.run(Command(argv=("no-program", "x")))
    await sandbox.write_file("plain", b"#!/bin/sh\n")
    with pytest.raises(NotADirectoryError):
        await sandbox.run(Command(line="true", cwd="plain"))
    with pytest.raises(PermissionError):
        await sandbox.run(Command(argv=("./plain",)))
    with pytest.raises(OSError, match="too long"):
        await sandbox.run(Command(argv=("echo", "x" * 300_000)))
    with pytest.raises(ValueError, match="directory"):
        await sandbox.run(Command(line="true", cwd="a\0b"))
    assert (await sandbox.run(Command(line="true"))).status is Status.OK


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


async def test_output_streams_while_the_command_runs(sandbox: Sandbox) -> None:
    seen: list[str] = []
    async with anyio.create_task_group() as group:
        first = anyio.Event()

        def on_output(stream: str, text: str) -> None:
            seen.append(f"{stream}:{text}")
            first.set()

        async def answer() -> None:
            await first.wait()
            await sandbox.write_file("go", b"")

        group.start_soon(answer)
        done = await sandbox.run(
            Command(line="echo one; until [ -e go ]; do sleep 0.01; done; echo two >&2"), on_output
        )
    assert done.status is Status.OK
    assert seen == ["stdout:one\n", "stderr:two\n"]


async def test_split_characters_are_joined_and_broken_ones_replaced(sandbox: Sandbox) -> None:
    seen: list[str] = []
    done = await sandbox.run(
        Command(line=r"printf '\342'; sleep 0.05; printf '\202\254 \377 \342'"),
        lambda _, text: seen.append(text),
    )
    assert done.stdout.text == "€ \ufffd \ufffd"
    assert "".join(seen) == done.stdout.text


async def test_long_output_keeps_head_and_tail_and_counts_the_rest(opened: Opened) -> None:
    sandbox = await opened(Limits(shown_bytes=1000))
    done = await sandbox.run(Command(line="seq 1 20000"))
    output = done.stdout
    assert output.head.startswith("1\n2\n")
    assert output.tail.endswith("\n20000\n")
    assert output.total_bytes == sum(len(f"{n}\n") for n in range(1, 20001))
    assert output.elided_bytes == output.total_bytes - 1000


@pytest.mark.parametrize("redirect", ["", " >&2"])
async def test_a_flood_on_either_stream_ends_the_call(opened: Opened, redirect: str) -> None:
    sandbox = await opened(Limits(kept_bytes=3_000_000, timeout_s=20))
    done = await sandbox.run(Command(line=f"yes aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa{redirect}"))
    assert (done.status, done.exit_code) == (Status.OUTPUT_LIMIT, None)
    flooded = done.stderr if redirect else done.stdout
    assert 3_000_000 < flooded.total_bytes < 6_000_000
    assert len(flooded.text) < 100_000
    assert (await sandbox.run(Command(line="true"))).status is Status.OK


async def test_a_timeout_ends_the_whole_stubborn_tree_and_keeps_output(sandbox: Sandbox) -> None:
    marker = uuid.uuid4().hex
    started = time.monotonic()
    done = await sandbox.run(python(hostile.STUBBORN_TREE, marker, timeout_s=1.0))
    assert 0.9 < time.monotonic() - started < 1.9
    assert (done.status, done.exit_code, done.signal) == (Status.TIMEOUT, None, None)
    assert done.stdout.text == "started\n"
    assert hostile.host_processes(marker) == []


async def test_a_stopped_process_times_out(sandbox: Sandbox) -> None:
    done = await sandbox.run(Command(line="kill -STOP $$", timeout_s=0.5))
    assert done.status is Status.TIMEOUT


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


async def test_calls_run_side_by_side_in_one_sandbox(sandbox: Sandbox) -> None:
    results: dict[int, str] = {}

    async def one(number: int) -> None:
        done = await sandbox.run(Command(line=f"sleep 0.3; echo {number}"))
        results[number] = done.stdout.text

    started = time.monotonic()
    async with anyio.create_task_group() as group:
        for number in range(8):
            group.start_soon(one, number)
    assert results == {number: f"{number}\n" for number in range(8)}
    assert time.monotonic() - started < 2


async def test_ending_one_call_leaves_the_others_alone(sandbox: Sandbox) -> None:
    async with anyio.create_task_group() as group:
        statuses: list[Status] = []

        async def steady() -> None:
            done = await sandbox.run(Command(line="sleep 1 & wait; echo done"))
            statuses.append(done.status)

        group.start_soon(steady)
        for _ in range(3):
            short = await sandbox.run(Command(line="sleep 30", timeout_s=0.1))
            assert short.status is Status.TIMEOUT
    assert statuses == [Status.OK]


async def test_several_sandboxes_live_at_once_and_see_nothing_of_each_other(
    opened: Opened,
) -> None:
    sandboxes = [await opened() for _ in range(4)]
    for number, sandbox in enumerate(sandboxes):
        await sandbox.write_file("who", str(number).encode())
    for number, sandbox in enumerate(sandboxes):
        assert (await sandbox.run(Command(line="cat who"))).stdout.text == str(number)


async def test_cancelling_kills_the_tree_before_it_goes_on(sandbox: Sandbox) -> None:
    marker = uuid.uuid4().hex
    started = anyio.Event()
    with anyio.move_on_after(10) as scope:

        def cancel(stream: str, text: str) -> None:
            started.set()
            scope.cancel()

        await sandbox.run(python(hostile.STUBBORN_TREE, marker), cancel)
    assert started.is_set()
    assert hostile.host_processes(marker) == []
    assert (await sandbox.run(Command(line="echo fine"))).stdout.text == "fine\n"


async def test_a_call_ended_while_it_starts_does_not_start_afterwards(sandbox: Sandbox) -> None:
    marker = uuid.uuid4().hex
    for number in range(60):
        with anyio.move_on_after(number * 0.0001):
            await sandbox.run(Command(argv=("sh", "-c", "sleep 60", marker)))
        assert hostile.host_processes(marker) == []
    assert (await sandbox.run(Command(line="echo fine"))).stdout.text == "fine\n"
    assert hostile.host_processes(marker) == []


async def test_an_error_of_the_listener_ends_the_call_and_comes_through(sandbox: Sandbox) -> None:
    marker = uuid.uuid4().hex

    def fail(stream: str, text: str) -> None:
        raise LookupError("listener")

    with pytest.raises(LookupError, match="listener"):
        await sandbox.run(python(hostile.STUBBORN_TREE, marker), fail)
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


async def test_close_ends_what_runs_and_can_be_repeated(opened: Opened) -> None:
    sandbox = await opened()
    marker = uuid.uuid4().hex
    async with anyio.create_task_group() as group:
        started = anyio.Event()

        async def doomed() -> None:
            with pytest.raises(SandboxLost):
                await sandbox.run(python(hostile.STUBBORN_TREE, marker), lambda *_: started.set())

        group.start_soon(doomed)
        await started.wait()
        await sandbox.close()
    await sandbox.close()
    assert hostile.host_processes(marker) == []
    with pytest.raises(SandboxLost, match="closed"):
        await sandbox.run(Command(line="true"))


async def test_a_forgotten_snapshot_is_gone_and_others_stay(sandbox: Sandbox) -> None:
    await sandbox.write_file("f", b"1")
    first = await sandbox.snapshot()
    await sandbox.write_file("f", b"2")
    second = await sandbox.snapshot()
    await sandbox.forget(first)
    await sandbox.forget(first)
    with pytest.raises(ValueError, match="no snapshot"):
        await sandbox.restore(first)
    await sandbox.write_file("f", b"3")
    await sandbox.restore(second)
    assert await sandbox.read_file("f") == b"2"
