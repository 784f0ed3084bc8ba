"""A sandbox that dies is our trouble, never the planner's to debug."""

from __future__ import annotations

import contextlib
import os
import signal
import tempfile
from pathlib import Path
from typing import Any

import pytest

from planloop import Agent, Command, Context, FunctionModel, Request, Result, RunStatus, Task, tool
from tests.loop.worlds import block


def end_own_sandboxes() -> None:
    """Kill the processes of every sandbox that this test started, as a lack of memory would."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                parents[int(entry.name)] = int(fields[1])
    for pid in parents:
        above = pid
        while above in parents and above != os.getpid():
            above = parents[above]
        if above == os.getpid() and pid != above:
            with contextlib.suppress(OSError):
                if b"guest.py" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    os.kill(pid, signal.SIGKILL)


@tool(effect="workspace", needs_sandbox=True)
async def break_sandbox(context: Context[Any], times: int) -> str:
    """Lose the sandbox in mid-call; `times` tells calls apart."""
    end_own_sandboxes()
    await context.run(Command(line="sleep 30"))
    return "never"


def run(replies: list[str], folder: Path) -> tuple[Result, list[str]]:
    told: list[str] = []
    rest = iter(replies)

    def answer(request: Request) -> str:
        told.append(request.messages[-1].text)
        return next(rest, block('give_up("over")'))

    agent = Agent(model=FunctionModel(answer), tools=[break_sandbox], sandbox="bubblewrap")
    result = agent.run_sync(Task(text="x", folder=folder))
    agent.close()
    return result, told


@pytest.mark.rule("R7")
def test_a_lost_sandbox_is_brought_back_at_its_last_snapshot_and_the_run_goes_on(
    tmp_path: Path,
) -> None:
    (tmp_path / "a.txt").write_text("a\n")
    replies = [
        block('write("b.txt", "b")'),
        block("break_sandbox(1)"),
        block('done(shell("ls").stdout)'),
    ]
    result, told = run(replies, tmp_path)
    assert result.status is RunStatus.ANSWERED
    assert result.output == "a.txt\nb.txt\n"
    assert "killed" in told[2]
    assert "sandbox lost" in told[2]


def test_a_second_loss_by_an_equal_call_ends_the_run_as_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a\n")
    replies = [block("break_sandbox(1)"), block("break_sandbox(1)")]
    result, told = run(replies, tmp_path)
    assert result.status is RunStatus.ERROR
    assert len(told) == 2


def test_a_run_of_many_rounds_holds_few_snapshots(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a\n")
    held: list[int] = []

    def count(plan: object) -> None:
        kept = Path(tempfile.gettempdir()).glob("planloop-*/sandbox-*/planloop-*/contents/*")
        held.append(len([path for path in kept if b"many rounds" in path.read_bytes()]))

    plans = [block(f'x = shell("echo many rounds {n} > n").exit + 0') for n in range(8)]
    replies = iter([*plans, "Done."])
    agent = Agent(model=FunctionModel(lambda _: next(replies)), sandbox="bubblewrap", approve=count)
    agent.run_sync(Task(text="x", folder=tmp_path))
    agent.close()
    assert 1 <= max(held) <= 4
