"""The contract of processes and services that go on, and of a sandbox's own end."""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable

import anyio
import pytest

from planloop.errors import SandboxLost
from planloop.observation import Status
from planloop.sandbox import (
    Command,
    CommandReady,
    OutputReady,
    PortReady,
    Ready,
    Sandbox,
    Service,
    ServiceState,
)
from planloop.testing.contract_base import HANGS_S, Cases, living, marker, output, stubborn

Opened = Callable[..., Awaitable[Sandbox]]
PORT = 20_000 + os.getpid() % 20_000  # sandboxes may share the host's network
SERVE = f"""
import http.server
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"served")
server = http.server.HTTPServer(("127.0.0.1", {PORT}), Answer)
print("listening on", {PORT}, flush=True)
server.serve_forever()
"""
ASK = (
    f"python3 -c \"import urllib.request as u; print(u.urlopen('http://127.0.0.1:{PORT}')"
    '.read().decode())"'
)


class Processes(Cases):
    """Commands that are started and followed."""

    async def test_a_started_process_goes_on_beside_calls_until_its_end(
        self, sandbox: Sandbox
    ) -> None:
        seen: list[str] = []
        process = await sandbox.start(
            Command(line="echo up; until [ -e go ]; do sleep 0.01; done; echo down; exit 3"),
            lambda _, text: seen.append(text),
        )
        assert process.channel is None
        await sandbox.write_file("go", b"")
        with anyio.fail_after(HANGS_S):
            done = await process.wait()
            assert await process.wait() == done
            assert await process.end() == done
        assert (done.status, done.exit_code) == (Status.FAILED, 3)
        assert (done.stdout.text, "".join(seen)) == ("up\ndown\n", "up\ndown\n")

    async def test_ending_a_process_ends_its_whole_tree(self, sandbox: Sandbox) -> None:
        word, up = marker(), anyio.Event()
        process = await sandbox.start(Command(line=stubborn(word)), lambda *_: up.set())
        with anyio.fail_after(HANGS_S):
            await up.wait()
            assert await living(sandbox, word) > 0
            with anyio.move_on_after(0.05) as scope:
                await process.wait()
            assert scope.cancelled_caught, "who stops waiting must not end the process"
            assert (await process.end()).status is Status.KILLED
        assert await living(sandbox, word) == 0

    async def test_a_time_limit_holds_although_nobody_waits(self, sandbox: Sandbox) -> None:
        word = marker()
        process = await sandbox.start(Command(line=stubborn(word), timeout_s=0.5))
        with anyio.fail_after(HANGS_S):
            while await living(sandbox, word):
                await anyio.sleep(0.05)
            assert (await process.wait()).status is Status.TIMEOUT

    async def test_a_process_that_cannot_start_raises(self, sandbox: Sandbox) -> None:
        with pytest.raises(FileNotFoundError, match="no-program"):
            await sandbox.start(Command(argv=("no-program",)), channel=True)
        with pytest.raises(FileNotFoundError, match="no-folder"):
            await sandbox.start(Command(line="true", cwd="no-folder"))

    async def test_a_channel_is_descriptor_three_and_nothing_else_is_inherited(
        self, sandbox: Sandbox
    ) -> None:
        line = "read -r word <&3; echo got $word >&3; ls /proc/self/fd | grep -vc '[0-3]'"
        process = await sandbox.start(Command(line=line), channel=True)
        assert process.channel is not None
        async with await anyio.abc.SocketStream.from_socket(process.channel) as stream:
            await stream.send(b"hello\n")
            with anyio.fail_after(HANGS_S):
                assert await stream.receive() == b"got hello\n"
                done = await process.wait()
                with pytest.raises(anyio.EndOfStream):
                    await stream.receive()
        assert int(done.stdout.text) <= 1  # the listing's own descriptor

    async def test_a_restore_ends_a_started_process(self, sandbox: Sandbox) -> None:
        snapshot = await sandbox.snapshot()
        process = await sandbox.start(Command(line="sleep 60"))
        await sandbox.restore(snapshot)
        with anyio.fail_after(HANGS_S):
            assert (await process.wait()).status is Status.KILLED

    async def test_a_restore_that_keeps_what_runs_changes_the_files_under_it(
        self, sandbox: Sandbox
    ) -> None:
        await sandbox.write_file("state", b"before")
        snapshot = await sandbox.snapshot()
        await sandbox.write_file("state", b"after")
        waiting = await sandbox.start(Command(line="until grep -q go state; do :; done; cat state"))
        with anyio.fail_after(HANGS_S):
            await sandbox.restore(snapshot, keep_running=True)
            assert await sandbox.read_file("state") == b"before"
            await sandbox.write_file("state", b"go")
            done = await waiting.wait()
        assert (done.status, done.stdout.text) == (Status.OK, "go")
        assert waiting.oom_kills() == 0


class Services(Cases):
    """Named processes that live until the run ends."""

    @pytest.mark.parametrize(
        "ready",
        [
            PortReady(port=PORT),
            OutputReady(pattern=r"^listening on \d+$"),
            CommandReady(line=ASK),
        ],
        ids=["port", "output", "command"],
    )
    async def test_a_service_is_ready_listed_and_reachable_from_later_calls(
        self, sandbox: Sandbox, ready: Ready
    ) -> None:
        with anyio.fail_after(HANGS_S):
            state = await sandbox.background(service(ready))
        assert (state.name, state.alive) == ("web", True), state
        assert "python3" in state.what
        assert sandbox.services() == (state,)
        assert await output(sandbox, ASK) == "served\n"

    async def test_a_service_survives_snapshots_and_comes_back_after_a_restore(
        self, sandbox: Sandbox
    ) -> None:
        state = await sandbox.background(service(PortReady(port=PORT)))
        snapshot = await sandbox.snapshot()
        assert await output(sandbox, ASK) == "served\n"
        with anyio.fail_after(HANGS_S):
            await sandbox.restore(snapshot)
        assert sandbox.services() == (state,)
        assert await output(sandbox, ASK) == "served\n"

    async def test_one_that_ends_or_is_not_ready_in_time_is_ended_and_forgotten(
        self, sandbox: Sandbox
    ) -> None:
        word = marker()
        dies = Command(line=f"echo no luck >&2; sleep 60 & : {word}; exit 3")
        hangs = Command(line=f"echo waiting; sleep 60; : {word}")
        for command, said in ((dies, "no luck"), (hangs, "waiting")):
            state = await sandbox.background(
                Service(name="x", command=command, ready=PortReady(port=PORT), ready_s=1.0)
            )
            assert (state.alive, sandbox.services()) == (False, ())
            assert said in state.detail
        assert await living(sandbox, word) == 0

    async def test_a_service_that_died_is_listed_as_dead_with_its_last_words(
        self, sandbox: Sandbox
    ) -> None:
        line = "echo up; until [ -e go ]; do sleep 0.01; done; echo last words; exit 7"
        await sandbox.background(
            Service(name="x", command=Command(line=line), ready=OutputReady(pattern="up"))
        )
        await sandbox.write_file("go", b"")
        with anyio.fail_after(HANGS_S):
            while only(sandbox.services()).alive:
                await anyio.sleep(0.01)
        detail = only(sandbox.services()).detail
        assert "7" in detail
        assert "last words" in detail

    async def test_a_service_of_the_same_name_takes_the_place(self, sandbox: Sandbox) -> None:
        word = marker()
        for number in (1, 2):
            line = f"echo up {number}; sleep 60; : {word}"
            await sandbox.background(
                Service(name="x", command=Command(line=line), ready=OutputReady(pattern="up"))
            )
        assert await living(sandbox, word) == 1
        assert "up 2" in only(sandbox.services()).what

    async def test_nonsense_is_refused_before_anything_starts(self, sandbox: Sandbox) -> None:
        for ready in (OutputReady(pattern="("), PortReady(port=0), PortReady(port=70_000)):
            with pytest.raises(ValueError):
                await sandbox.background(service(ready))
        with pytest.raises(FileNotFoundError):
            await sandbox.background(
                Service(name="x", command=Command(argv=("nothing",)), ready=PortReady(port=PORT))
            )
        assert sandbox.services() == ()


class Life(Cases):
    """How a sandbox itself ends."""

    async def test_closing_ends_what_runs_and_can_be_repeated(self, opened: Opened) -> None:
        sandbox, up = await opened(), anyio.Event()
        service = await sandbox.start(Command(line="sleep 60"))

        async def doomed() -> None:
            with pytest.raises(SandboxLost):
                await sandbox.run(Command(line=stubborn(marker())), lambda *_: up.set())

        with anyio.fail_after(HANGS_S):
            async with anyio.create_task_group() as group:
                group.start_soon(doomed)
                await up.wait()
                await sandbox.close()
            await sandbox.close()
            with pytest.raises(SandboxLost):
                await service.wait()
        with pytest.raises(SandboxLost):
            await sandbox.run(Command(line="true"))
        with pytest.raises(SandboxLost):
            await sandbox.read_file("x")

    async def test_a_lost_sandbox_is_no_observation(self, opened: Opened) -> None:
        lose = type(self).lose
        if lose is None:
            pytest.skip("no way to lose such a sandbox was given")
        sandbox, up = await opened(), anyio.Event()

        async def doomed() -> None:
            with pytest.raises(SandboxLost):
                await sandbox.run(Command(line=stubborn(marker())), lambda *_: up.set())

        with anyio.fail_after(HANGS_S):
            async with anyio.create_task_group() as group:
                group.start_soon(doomed)
                await up.wait()
                await lose(sandbox)
            started = time.monotonic()
            for _ in range(2):
                with pytest.raises(SandboxLost):
                    await sandbox.run(Command(line="true"))
            with pytest.raises(SandboxLost):
                await sandbox.read_file("x")
        assert time.monotonic() - started < HANGS_S


def service(ready: Ready) -> Service:
    """A small web server."""
    return Service(name="web", command=Command(argv=("python3", "-c", SERVE)), ready=ready)


def only(states: tuple[ServiceState, ...]) -> ServiceState:
    """The one service that there is."""
    (state,) = states
    return state
