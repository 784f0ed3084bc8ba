"""The contract of `Sandbox.run`: outcomes, streams, limits, ends."""

from __future__ import annotations

import signal
import time
from collections.abc import Awaitable, Callable

import anyio
import pytest

from planloop.observation import Status
from planloop.sandbox import Command, Limits, Sandbox
from planloop.testing.contract_base import Cases, living, marker, output, stubborn

Opened = Callable[..., Awaitable[Sandbox]]


class Outcomes(Cases):
    """How a command ended, and what it was given."""

    async def test_exit_codes_are_values(self, sandbox: Sandbox) -> None:
        for code in (0, 1, 2, 124, 125, 126, 127, 128, 137, 143, 255):
            done = await sandbox.run(Command(line=f"exit {code}"))
            wanted = Status.OK if code == 0 else Status.FAILED
            assert (done.status, done.exit_code, done.signal) == (wanted, code, None)

    async def test_a_fast_death_by_signal_is_killed_and_no_timeout(self, sandbox: Sandbox) -> None:
        for number in (signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM, signal.SIGXCPU):
            done = await sandbox.run(Command(line=f"echo x; kill -{int(number)} $$"))
            assert (done.status, done.exit_code, done.signal) == (Status.KILLED, None, number)
            assert done.stdout.text == "x\n"

    async def test_stdin_carries_every_byte_and_streams_stay_apart(self, sandbox: Sandbox) -> None:
        done = await sandbox.run(Command(line="cat; echo err >&2", stdin=b"a\0b\n" * 70_000))
        assert done.stdout.total_bytes == 280_000
        assert done.stdout.head.startswith("a\0b\n")
        assert done.stderr.text == "err\n"
        assert (await sandbox.run(Command(argv=("cat",)))).stdout.text == ""
        assert (await sandbox.run(Command(line="true", stdin=b"x" * 300_000))).status is Status.OK

    async def test_a_command_starts_in_the_workspace_or_where_it_asks(
        self, sandbox: Sandbox
    ) -> None:
        await sandbox.write_file("sub/x", b"")
        await sandbox.run(Command(line="echo here >y", cwd="sub"))
        assert await sandbox.read_file("sub/y") == b"here\n"
        assert await output(sandbox, "cat sub/y") == "here\n"
        done = await sandbox.run(Command(line="pwd", cwd="/tmp"))
        assert done.stdout.text == "/tmp\n"

    async def test_what_cannot_be_started_raises_and_names_itself(self, sandbox: Sandbox) -> None:
        with pytest.raises(FileNotFoundError, match="no-folder"):
            await sandbox.run(Command(line="true", cwd="no-folder"))
        with pytest.raises(FileNotFoundError, match="no-program"):
            await sandbox.run(Command(argv=("no-program", "x")))
        await sandbox.write_file("plain", b"#!/bin/sh\n")
        with pytest.raises(NotADirectoryError):
            await sandbox.run(Command(line="true", cwd="plain"))
        with pytest.raises(PermissionError):
            await sandbox.run(Command(argv=("./plain",)))
        with pytest.raises(ValueError, match="directory"):
            await sandbox.run(Command(line="true", cwd="a\0b"))
        assert (await sandbox.run(Command(line="true"))).status is Status.OK

    async def test_the_environment_is_the_sandboxes_own_and_what_the_call_adds(
        self, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("SECRET_OF_THE_CALLER", "canary")
        assert "canary" not in await output(sandbox, "env; cat /proc/$$/environ")
        done = await sandbox.run(Command(line='echo "$A"', env={"A": "b c"}))
        assert done.stdout.text == "b c\n"
        assert await output(sandbox, 'echo "$A"') == "\n"


class Streams(Cases):
    """What is seen and kept of the output."""

    async def test_output_streams_while_the_command_runs(self, sandbox: Sandbox) -> None:
        seen: list[str] = []
        first = anyio.Event()

        def on_output(stream: str, text: str) -> None:
            seen.append(f"{stream}:{text}")
            first.set()

        async def answer() -> None:
            await first.wait()
            await sandbox.write_file("go", b"")

        line = "echo one; until [ -e go ]; do sleep 0.01; done; echo two >&2"
        async with anyio.create_task_group() as group:
            group.start_soon(answer)
            done = await sandbox.run(Command(line=line), on_output)
        assert (done.status, seen) == (Status.OK, ["stdout:one\n", "stderr:two\n"])

    async def test_split_characters_are_joined_and_broken_ones_replaced(
        self, sandbox: Sandbox
    ) -> None:
        seen: list[str] = []
        done = await sandbox.run(
            Command(line=r"printf '\342'; sleep 0.05; printf '\202\254 \377 \342'"),
            lambda _, text: seen.append(text),
        )
        assert done.stdout.text == "€ \ufffd \ufffd"
        assert "".join(seen) == done.stdout.text

    async def test_long_output_keeps_head_and_tail_and_counts_the_rest(
        self, opened: Opened
    ) -> None:
        sandbox = await opened(Limits(shown_bytes=1000))
        shown = (await sandbox.run(Command(line="seq 1 20000"))).stdout
        assert shown.head.startswith("1\n2\n")
        assert shown.tail.endswith("\n20000\n")
        assert shown.total_bytes == sum(len(f"{n}\n") for n in range(1, 20001))
        assert shown.elided_bytes == shown.total_bytes - 1000

    @pytest.mark.parametrize("redirect", ["", " >&2"])
    async def test_a_flood_on_either_stream_ends_the_call(
        self, opened: Opened, redirect: str
    ) -> None:
        sandbox = await opened(Limits(kept_bytes=3_000_000, timeout_s=20))
        done = await sandbox.run(Command(line=f"yes aaaaaaaaaaaaaaaaaaaaaaaa{redirect}"))
        assert (done.status, done.exit_code) == (Status.OUTPUT_LIMIT, None)
        flooded = done.stderr if redirect else done.stdout
        assert 3_000_000 < flooded.total_bytes < 6_000_000
        assert len(flooded.text) < 100_000
        assert (await sandbox.run(Command(line="true"))).status is Status.OK

    async def test_an_error_of_the_listener_ends_the_call_and_comes_out(
        self, sandbox: Sandbox
    ) -> None:
        def fail(stream: str, text: str) -> None:
            raise LookupError("listener")

        word = marker()
        with pytest.raises(LookupError, match="listener"):
            await sandbox.run(Command(line=stubborn(word)), fail)
        assert await living(sandbox, word) == 0


class Ends(Cases):
    """Nothing of a call outlives it."""

    async def test_a_timeout_ends_the_whole_stubborn_tree_and_keeps_output(
        self, sandbox: Sandbox
    ) -> None:
        word, started = marker(), time.monotonic()
        done = await sandbox.run(Command(line=stubborn(word), timeout_s=1.0))
        assert 0.9 < time.monotonic() - started < 3
        assert (done.status, done.exit_code, done.signal) == (Status.TIMEOUT, None, None)
        assert done.stdout.text == "up\n"
        assert await living(sandbox, word) == 0

    async def test_a_stopped_process_times_out(self, sandbox: Sandbox) -> None:
        done = await sandbox.run(Command(line="kill -STOP $$", timeout_s=0.5))
        assert done.status is Status.TIMEOUT

    async def test_what_a_call_leaves_running_is_ended_with_it(self, sandbox: Sandbox) -> None:
        word, started = marker(), time.monotonic()
        leave = f"(setsid sh -c 'sleep 50; : {word}' &); sh -c 'sleep 50; : {word}' & echo x"
        done = await sandbox.run(Command(line=leave))
        assert (done.status, done.stdout.text) == (Status.OK, "x\n")
        assert time.monotonic() - started < 10
        assert await living(sandbox, word) == 0

    async def test_cancelling_kills_the_tree_before_it_goes_on(self, sandbox: Sandbox) -> None:
        word = marker()
        with anyio.move_on_after(10) as scope:
            await sandbox.run(Command(line=stubborn(word)), lambda *_: scope.cancel())
        assert scope.cancelled_caught
        assert await living(sandbox, word) == 0

    async def test_a_call_cancelled_while_it_starts_does_not_start_afterwards(
        self, sandbox: Sandbox
    ) -> None:
        word = marker()
        for number in range(20):
            with anyio.move_on_after(number * 0.0003):
                await sandbox.run(Command(argv=("sh", "-c", "sleep 60", word)))
            assert await living(sandbox, word) == 0

    async def test_calls_run_side_by_side_and_end_alone(self, sandbox: Sandbox) -> None:
        results: dict[int, str] = {}

        async def one(number: int) -> None:
            done = await sandbox.run(Command(line=f"sleep 0.3 & wait; echo {number}"))
            results[number] = done.stdout.text

        async with anyio.create_task_group() as group:
            for number in range(8):
                group.start_soon(one, number)
            short = await sandbox.run(Command(line="sleep 30", timeout_s=0.1))
        assert short.status is Status.TIMEOUT
        assert results == {number: f"{number}\n" for number in range(8)}

    async def test_many_sandboxes_see_nothing_of_each_other(self, opened: Opened) -> None:
        sandboxes = [await opened() for _ in range(4)]
        for number, sandbox in enumerate(sandboxes):
            await sandbox.write_file("who", str(number).encode())
        for number, sandbox in enumerate(sandboxes):
            assert await output(sandbox, "cat who; ls") == f"{number}who\n"
