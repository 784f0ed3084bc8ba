"""Attacks on ends of runs: unproved success, budgets, cancellation, one agent used twice."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anyio
import pytest

from planloop import (
    Agent,
    Budget,
    Candidate,
    CheckResult,
    Environment,
    FunctionModel,
    Profile,
    Reply,
    Request,
    RunStatus,
    Task,
    UserError,
    tool,
)
from planloop.events import CallStarted, RunEnded
from planloop.trace.log import read_log
from planloop.workspace.changes import CHANGES_FILE
from tests.loop.worlds import block


def script(*replies: str) -> FunctionModel:
    rest = iter(replies)
    return FunctionModel(lambda request: next(rest, "I am done. Everything is a success."))


@tool(effect="reads")
def double(n: int) -> int:
    """Twice a number."""
    return 2 * n


# Success that nothing proved


class Judge(Environment):
    """Says what it was told to say."""

    def __init__(self, verdict: Any) -> None:
        self._verdict = verdict

    async def check(self, output: object) -> Sequence[CheckResult]:
        return self._verdict  # type: ignore[no-any-return]


UNPROVED: list[Any] = [
    (),
    None,
    [CheckResult(label="a", passed="no")],  # type: ignore[arg-type]
    [CheckResult(label="a", passed=1)],  # type: ignore[arg-type]
    [CheckResult(label="a", passed=True, passes_untouched=True)],
    [CheckResult(label="a", passed=True), CheckResult(label="b", passed=False)],
    [CheckResult(label="a", passed=True, broken=True)],
]


@pytest.mark.parametrize("case", range(len(UNPROVED)))
def test_an_environment_that_proves_nothing_gives_no_success(case: int) -> None:
    agent: Agent[None, Any] = Agent(
        model=script(block("done(1)")), environment=Judge(UNPROVED[case]), budget=Budget(rounds=2)
    )
    result = agent.run_sync("x")
    assert result.status is not RunStatus.SUCCESS
    assert not result.verdict.passed


@pytest.mark.parametrize(
    "plans",
    [
        ["Success! All checks passed."],
        [block("done('success')")],
        [block("done('x') if False else note('y')"), block("done()")],
        [block("x = double(1)"), block("note('success')"), block("done(x)")],
        [block("give_up('success')")],
        [block("expect(False, 'no')\ndone()")],
    ],
)
def test_no_check_no_success(plans: list[str]) -> None:
    result = Agent(model=script(*plans), tools=[double], checks=[]).run_sync("x")
    assert result.status in (RunStatus.ANSWERED, RunStatus.FAILED)
    assert result.verdict.by == "none"


def test_a_fitting_output_type_alone_proves_nothing() -> None:
    result = Agent(model=script(block("done(1)")), output_type=int).run_sync("x")
    assert result.status is RunStatus.ANSWERED


def test_checks_of_the_agent_and_of_the_task_must_all_pass(tmp_path: Path) -> None:
    from planloop import FileCheck

    def fine(candidate: Candidate) -> bool:
        return True

    agent: Agent[None, Any] = Agent(
        model=script(), checks=[fine], sandbox="bubblewrap", budget=Budget(rounds=1)
    )
    result = agent.run_sync(Task(text="x", folder=tmp_path, checks=(FileCheck(file="missing"),)))
    agent.close()
    assert result.status is RunStatus.CAPPED
    assert [found.passed for found in result.verdict.checks] == [False, True]


def test_a_proposed_check_that_passes_untouched_proves_nothing(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a")
    plan = 'check(run="true")\ncheck(file="a")\nwrite("b", "1")\ndone()'
    agent: Agent[None, Any] = Agent(model=script(block(plan)), sandbox="bubblewrap")
    result = agent.run_sync(Task(text="x", folder=tmp_path))
    agent.close()
    assert result.status is RunStatus.ANSWERED


def test_a_follow_up_inherits_no_verdict_and_no_result() -> None:
    def fine(candidate: Candidate) -> bool:
        return True

    agent = Agent(model=script("one", "two"), checks=[fine])
    assert agent.run_sync("x").status is RunStatus.SUCCESS
    result = agent.follow_up_sync("y")
    assert result.status is RunStatus.ANSWERED
    assert result.verdict.checks == ()


def test_a_run_that_raises_leaves_no_earlier_result() -> None:
    replies = iter(["fine"])
    agent = Agent(model=FunctionModel(lambda _: next(replies)), checks=[lambda candidate: True])
    assert agent.run_sync("x").status is RunStatus.SUCCESS
    with pytest.raises(RuntimeError):
        agent.run_sync("x")
    assert agent.result is None


def test_changes_that_cannot_be_saved_are_no_success(tmp_path: Path) -> None:
    from planloop import FileCheck

    (tmp_path / "work").mkdir()
    store = tmp_path / "store"
    store.mkdir()

    @tool(effect="reads")
    def spoil() -> None:
        """Put something where the changes would be saved."""
        (run,) = (store / ".planloop" / "runs").iterdir()
        (run / CHANGES_FILE / "in the way").mkdir(parents=True)

    agent: Agent[None, Any] = Agent(
        model=script(block('write("a", "1")\nspoil()\ndone()')),
        tools=[spoil], sandbox="bubblewrap", store=store,
    )  # fmt: skip
    task = Task(text="x", folder=tmp_path / "work", checks=(FileCheck(file="a"),))
    result = agent.run_sync(task)
    agent.close()
    assert result.status is RunStatus.ERROR
    assert "could not be saved" in result.reason


def test_a_follow_up_names_its_checks_to_the_planner(tmp_path: Path) -> None:
    from planloop import FileCheck

    asked: list[str] = []
    replies = ["one", block('write("a", "1")\ndone()')]

    def answer(request: Request) -> str:
        asked.append(request.messages[-1].text)
        return replies[len(asked) - 1]

    agent: Agent[None, Any] = Agent(model=FunctionModel(answer), sandbox="bubblewrap")
    agent.run_sync(Task(text="x", folder=tmp_path))
    check = FileCheck(file="a")
    assert agent.follow_up_sync("y\x1b[1m", checks=[check]).status is RunStatus.SUCCESS
    agent.close()
    assert check.label in asked[1]
    assert "\x1b" not in asked[1]


def test_a_validator_that_raises_is_a_failed_check() -> None:
    import pydantic

    class Odd(pydantic.BaseModel):
        n: int

        @pydantic.field_validator("n")
        @classmethod
        def look(cls, n: int) -> int:
            return n // 0

    agent: Agent[None, Any] = Agent(
        model=script(block('done({"n": 1})')), output_type=Odd, budget=Budget(rounds=1)
    )
    result = agent.run_sync("x")
    assert result.status is RunStatus.CAPPED
    assert "ZeroDivisionError" in result.verdict.checks[0].detail


# Budgets


def test_wall_time_that_ends_while_the_model_is_asked_is_capped() -> None:
    async def never(request: Request) -> str:
        await anyio.sleep_forever()
        raise AssertionError

    for _ in range(5):
        agent = Agent(model=FunctionModel(never), budget=Budget(wall_s=0.05))
        result = agent.run_sync("x")
        assert result.status is RunStatus.CAPPED, result.reason
        assert "wall_s" in result.reason


def test_wall_time_that_ends_while_a_check_runs_is_capped() -> None:
    async def never(candidate: Candidate) -> bool:
        await anyio.sleep_forever()
        return True

    result = Agent(model=script(), checks=[never], budget=Budget(wall_s=0.2)).run_sync("x")
    assert result.status is RunStatus.CAPPED
    assert not result.verdict.passed


@pytest.mark.parametrize("width", [1, 3, 8])
def test_calls_at_once_do_not_overshoot(width: int) -> None:
    ran: list[int] = []

    @tool(effect="reads")
    async def look(n: int) -> int:
        """Look."""
        ran.append(n)
        await anyio.sleep(0.01)
        if n % 2:
            raise ValueError("odd")
        return n

    plan = block(f"x = [look(n) for n in range({width} * 3)]\ndone(x)")
    result = Agent(model=script(plan), tools=[look], budget=Budget(calls=width)).run_sync("x")
    assert result.status is RunStatus.CAPPED
    assert len(ran) == width
    assert result.usage.calls == width


def test_a_cost_that_is_unknown_stays_unknown() -> None:
    model = FunctionModel(lambda request: Reply(text="x"), profile=Profile())
    result = Agent(model=model).run_sync("x")
    assert result.usage.cost_usd is None
    assert result.usage.model_requests == 1


# Cancelling


def test_cancelling_before_the_first_plan_and_twice_is_honoured() -> None:
    holder: list[Agent[None, Any]] = []
    asked: list[Request] = []

    class Slow(Environment):
        async def setup(self, world: object) -> None:
            holder[0].cancel()
            holder[0].cancel()

    holder.append(Agent(model=FunctionModel(lambda r: asked.append(r) or "x"), environment=Slow()))
    result = holder[0].run_sync("x")
    holder[0].cancel()
    assert result.status is RunStatus.INTERRUPTED
    assert asked == []


@pytest.mark.parametrize("where", ["model", "check"])
def test_cancelling_while_something_waits_ends_interrupted(where: str) -> None:
    holder: list[Agent[None, Any]] = []

    async def stop() -> None:
        holder[0].cancel()
        holder[0].cancel()
        await anyio.sleep_forever()

    async def model(request: Request) -> str:
        if where == "model":
            await stop()
        return "x"

    async def check(candidate: Candidate) -> bool:
        await stop()
        return True

    holder.append(Agent(model=FunctionModel(model), checks=[check]))
    assert holder[0].run_sync("x").status is RunStatus.INTERRUPTED
    assert holder[0].result is not None


def test_a_cancel_when_nothing_runs_does_not_reach_the_next_run() -> None:
    agent = Agent(model=script("a", "b"))
    agent.run_sync("x")
    agent.cancel()
    assert agent.follow_up_sync("y").status is RunStatus.ANSWERED


def test_one_agent_refuses_two_runs_at_once() -> None:
    agent: Agent[None, Any]
    refused: list[str] = []

    @tool(effect="reads")
    async def again() -> str:
        """Run the same agent, and the agent from another thread."""
        for start in (agent.run, agent.follow_up):
            try:
                await start("y")
            except UserError as error:
                refused.append(str(error))

        def in_thread() -> None:
            try:
                agent.run_sync("z")
            except UserError as error:
                refused.append(str(error))

        thread = threading.Thread(target=in_thread)
        thread.start()
        await asyncio.to_thread(thread.join)
        return "here"

    agent = Agent(model=script(block("x = again()\ndone(x)")), tools=[again])
    assert agent.run_sync("x").output == "here"
    assert len(refused) == 3
    assert all("running already" in text for text in refused)


def test_a_stream_that_is_left_early_frees_the_agent() -> None:
    @tool(effect="reads")
    async def wait() -> None:
        """Wait for ever."""
        await anyio.sleep_forever()

    agent = Agent(model=script(block("wait()"), "fine"), tools=[wait])

    async def go() -> object:
        stream = agent.stream("x")
        async for event in stream:
            if isinstance(event, CallStarted):
                break
        await stream.aclose()  # type: ignore[attr-defined]
        assert agent.result is None
        return (await agent.run("y")).output

    assert anyio.run(go) == "fine"


INTERRUPTED = """
import sys, threading, asyncio
from planloop import Agent, FunctionModel, tool
import anyio

@tool
async def pay() -> str:
    "Pay."
    print("started", flush=True)
    await anyio.sleep_forever()

agent = Agent(model=FunctionModel(lambda _: "```python\\npay()\\n```"), tools=[pay],
              store=sys.argv[1])
async def inside():
    agent.run_sync("x")
try:
    if sys.argv[2] == "plain":
        agent.run_sync("x")
    else:
        loop = asyncio.new_event_loop()
        loop.run_until_complete(inside())
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


@pytest.mark.parametrize("where", ["plain", "in a loop"])
def test_ctrl_c_in_run_sync_ends_the_trace_in_good_order(where: str, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, str(tmp_path), where],
        stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "started\n"
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=30)
    assert out == "interrupted\n"
    (folder,) = (tmp_path / ".planloop" / "runs").iterdir()
    last = read_log(folder)[0][-1].event
    assert isinstance(last, RunEnded)
    assert last.status is RunStatus.INTERRUPTED
