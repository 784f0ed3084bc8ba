"""Goals over real files, and recordings of runs with two models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from planloop import Agent, FunctionModel, ReplayModel, Request, RunStatus, Task
from planloop.events import CallEnded, CallStarted
from planloop.trace.log import read_log
from tests.goals.scripts import Script, block

pytestmark = pytest.mark.anyio


def script() -> Script:
    return Script(
        {
            "main": [
                block('write("own.txt", "1")\nx = goal("Write it.")\nexpect(x == 1, "not yet")'),
                block('restart()\nwrite("own.txt", "2")\nx = goal("Write it.")\ndone(x)'),
            ],
            "main/1.2": [block('write("a.txt", "draft")\nshell("false")'), block("done(0)")],
            "main/2.3": [block('a = llm("Say a.")\nwrite("b.txt", read("own.txt") + a)\ndone(1)')],
            "main/2.3/1.1": ["a"],
        }
    )


async def test_files_of_a_goal_go_back_with_the_plan_and_are_named(tmp_path: Path) -> None:
    wanted = script()
    agent: Agent[None, Any] = Agent(
        model=FunctionModel(wanted.answer), sandbox="bubblewrap", store=tmp_path / "store"
    )
    (tmp_path / "folder").mkdir()
    (tmp_path / "store").mkdir()
    async for event in agent.stream(Task(text="Test.", folder=tmp_path / "folder")):
        wanted.events.append(event)
    agent.close()
    result = agent.result
    assert result is not None
    assert result.changed_files == ("b.txt", "own.txt"), result.reason
    assert "+2a\n" in result.diff
    goals = [e.serial for e in wanted.events if isinstance(e, CallStarted) and e.tool == "goal"]
    ended = {e.serial: e.observation for e in wanted.events if isinstance(e, CallEnded)}
    assert [ended[serial].changed_files for serial in goals] == [("a.txt",), ("b.txt",)]
    (folder,) = (tmp_path / "store" / ".planloop" / "runs").iterdir()
    recorded, notices = read_log(folder)
    assert not notices
    assert any(getattr(one.event, "within", None) == goals[0] for one in recorded)


async def test_a_run_with_two_models_records_one_replay_that_needs_neither(tmp_path: Path) -> None:
    def small(request: Request) -> str:
        assert request.conversation.startswith("main/")
        return "7" if request.conversation == "main/1.2" else "Seven."

    def big(request: Request) -> str:
        assert request.conversation == "main"
        return block('a = goal("Say it.")\nb = llm("A number", schema="int")\ndone([a, b])')

    agent: Agent[None, Any] = Agent(
        model=FunctionModel(big), executor=FunctionModel(small), store=tmp_path
    )
    first = await agent.run("Test.")
    (folder,) = (tmp_path / ".planloop" / "runs").iterdir()
    model = ReplayModel.load(folder / "replay.jsonl", strict=True)
    again: Agent[None, Any] = Agent(model=model, executor="openai:not-there")
    result = await again.run("Test.")
    assert result.status is RunStatus.ANSWERED
    assert result.output == first.output == ["Seven.", 7]
    model.finish()
    assert model.executor is not None
    assert model.executor.name == "function"


async def test_a_program_calls_goals_in_a_loop_and_at_once() -> None:
    plan = """
found = []
for name in ("a", "b"):
    found.append(goal(f"Say {name}.", inputs={"n": len(found)}))
both = parallel(llm(f"Say {name}", schema="int") for name in ("one", "two"))
try:
    goal("Fail.")
except Exception as error:
    why = type(error).__name__
done([*found, both, why])
"""

    def answer(request: Request) -> str:
        text = request.messages[1].text
        if request.conversation == "main":
            return block(plan)
        if "Fail." in text:
            return block('give_up("cannot")')
        if "# Task" in text:
            return block("done(n)")
        return "1" if "one" in text else "2"

    agent: Agent[None, Any] = Agent(model=FunctionModel(answer), sandbox="bubblewrap")
    result = await agent.run("Test.")
    agent.close()
    assert result.output == [0, 1, [1, 2], "GaveUp"], result.reason
