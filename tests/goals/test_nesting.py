"""How goals nest: depth, cancel, goals at once, goals done in parts, two models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import anyio
import pytest

from planloop import Agent, Budget, Environment, FunctionModel, Request, RunStatus, tool
from planloop.events import GoalDecomposed, ModelAsked
from planloop.tool import Tool
from tests.goals.scripts import Script, World, block, goals

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("depth", [1, 2, 3])
async def test_goals_nest_as_deep_as_the_budget_says(depth: int) -> None:
    names = ["main", *("main" + "/1.1" * level for level in range(1, depth + 1))]
    deeper = [block(f'done(goal("Deeper than {level}."))') for level in range(depth + 1)]
    script = Script({name: [deeper[n], "The bottom."] for n, name in enumerate(names)})
    result = await script.run(budget=Budget(depth=depth))
    bottom = script.told(names[-1])
    assert "unknown" in bottom[1]
    assert "goal" in bottom[1]
    assert ["def goal(" in script.openings[name] for name in names] == [*[True] * depth, False]
    assert result.output == "The bottom."
    assert {name for name, _ in script.asked} == set(names)


async def test_a_list_of_goals_at_the_bottom_is_answered_before_anything_runs() -> None:
    script = Script(
        {
            "main": [block('done(goal("Go."))')],
            "main/1.1": [goals("1. Deeper.\n2. Still deeper."), "No."],
        }
    )
    assert (await script.run(budget=Budget(depth=1))).output == "No."
    assert "goals can be nested no deeper here" in script.told("main/1.1")[1]


class Reading(Environment):
    """Two looks that must be going on at the same time."""

    def __init__(self) -> None:
        self.meeting = [anyio.Event(), anyio.Event()]

    def tools(self) -> Sequence[Tool]:
        @tool(effect="reads")
        async def meet(who: int) -> str:
            """Wait for the other."""
            self.meeting[who].set()
            await self.meeting[1 - who].wait()
            return f"met {1 - who}"

        return [meet]


async def test_goals_that_only_look_run_at_once_in_conversations_of_their_own() -> None:
    script = Script(
        {
            "main": [block('a = goal("One.")\nb = goal("Two.")\ndone([a, b])')],
            "main/1.1": [block("done(meet(0))")],
            "main/1.2": [block("done(meet(1))")],
        }
    )
    agent: Agent[None, Any] = Agent(environment=Reading(), model=FunctionModel(script.answer))
    with anyio.fail_after(10):
        result = await agent.run("Test.")
    assert result.output == ["met 1", "met 0"]
    assert "One." in script.told("main/1.1")[0]
    assert "One." not in script.told("main/1.2")[0]


async def test_goals_in_a_comprehension_have_conversations_by_their_place() -> None:
    asked = list[str]()

    def answer(request: Request) -> str:
        asked.append(request.conversation)
        plan = block('done([goal(f"Say {n}.") for n in range(2)])')
        return plan if request.conversation == "main" else request.conversation

    result = await Agent(model=FunctionModel(answer)).run("Test.")
    assert result.output == ["main/1.1.0.1.0.1", "main/1.1.0.1.1.1"]
    assert asked[0] == "main"


async def test_cancel_ends_a_nested_run_with_the_run() -> None:
    reached = anyio.Event()

    async def answer(request: Request) -> str:
        if request.conversation == "main":
            return block('goal("Wait.")')
        reached.set()
        await anyio.sleep_forever()
        return ""

    agent: Agent[None, Any] = Agent(model=FunctionModel(answer))
    with anyio.fail_after(20):
        async with anyio.create_task_group() as group:

            async def stop() -> None:
                await reached.wait()
                agent.cancel()

            group.start_soon(stop)
            result = await agent.run("Test.")
    assert result.status is RunStatus.INTERRUPTED


async def test_goals_and_questions_go_to_the_executor_and_plans_to_the_planner() -> None:
    asked: list[tuple[str, str]] = []

    def model(name: str, replies: list[str]) -> FunctionModel:
        def answer(request: Request) -> str:
            asked.append((name, request.conversation))
            return replies.pop(0)

        return FunctionModel(answer, name=name)

    plan = block('x = goal("Say x.")\ny = llm("Say y.")\ndone(x + y)')
    agent: Agent[None, Any] = Agent(model=model("big", [plan]), executor=model("small", ["x", "y"]))
    assert (await agent.run("Test.")).output in ("xy", "yx")
    assert sorted(asked) == [("big", "main"), ("small", "main/1.1"), ("small", "main/1.2")]


# ---------------------------------------------------------------- done in parts

FAILING = block('goal("Order a and b.")\ndone("good")')
GAVE_UP = block('give_up("too much")')
PARTS = goals("1. Order a.\n2. Order b.")


async def test_a_goal_that_fails_twice_is_done_in_parts_and_only_then() -> None:
    world = World()
    script = Script(
        {
            "main": [FAILING, FAILING],
            "main/1.1": [GAVE_UP],
            "main/2.1": [GAVE_UP],
            "main/2.1/parts": [PARTS],
            "main/2.1/parts.1": [block('done(order("a"))')],
            "main/2.1/parts.2": [block('done(part_1 + order("b"))')],
        }
    )
    result = await script.run(world, on_fail="decompose")
    assert (result.status, result.output) == (RunStatus.ANSWERED, "good")
    assert world.orders == [("a", 1), ("b", 1)]
    assert [e.parts for e in script.events if isinstance(e, GoalDecomposed)] == [
        ("Order a.", "Order b.")
    ]
    names = [e.conversation for e in script.events if isinstance(e, ModelAsked)]
    assert names.index("main/2.1") < names.index("main/2.1/parts")
    assert [name for name in names if name.endswith("/parts")] == ["main/2.1/parts"]
    assert "too much" in script.told("main/2.1/parts")[0]


@pytest.mark.parametrize("options", [{}, {"on_fail": "tell"}])
async def test_nothing_is_done_in_parts_where_nobody_asked_for_it(options: dict[str, Any]) -> None:
    script = Script(
        {"main": [FAILING, FAILING, "No."], "main/1.1": [GAVE_UP], "main/2.1": [GAVE_UP]}
    )
    assert (await script.run(**options)).output == "No."
    assert not any(isinstance(event, GoalDecomposed) for event in script.events)


async def test_a_goal_that_succeeds_is_never_done_in_parts() -> None:
    again = block('goal("Say it.", again=True)\nexpect(False, "again")')
    script = Script(
        {"main": [again, again, "No."], "main/1.1": ["a"], "main/2.1": ["a"], "main/3.1": ["a"]}
    )
    await script.run(on_fail="decompose")
    assert not any(name.endswith("/parts") for name, _ in script.asked)


async def test_an_external_call_that_fails_twice_is_done_in_parts() -> None:
    world = World()
    world.broken = {"a"}
    plan = block('x = order("a")\ndone(x)')
    script = Script(
        {
            "main": [plan, plan],
            "main/2.1/parts": [goals("1. Order b in its place.")],
            "main/2.1/parts.1": [block('done(order("b"))')],
        }
    )
    result = await script.run(world, on_fail="decompose")
    assert result.output == "bx1"
    assert world.orders == [("b", 1)]


async def test_a_part_that_fails_fails_the_call_and_says_which() -> None:
    script = Script(
        {
            "main": [FAILING, FAILING, "No."],
            "main/2.1/parts": ["Hm.", PARTS],
            "main/2.1/parts.1": ["yes"],
        }
    )
    await script.run(on_fail="decompose")
    assert "part 2 of 2" in script.told("main")[2]
