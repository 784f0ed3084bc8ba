"""Goals: nested runs, what they are given, what comes back, and how they fail."""

from __future__ import annotations

import pytest

from planloop import RunStatus
from tests.goals.scripts import Script, World, block, goals

pytestmark = pytest.mark.anyio


async def test_a_goal_is_a_nested_run_whose_answer_is_its_value() -> None:
    world = World()
    script = Script(
        {
            "main": [block('x = goal("Order a.", inputs={"n": 2})\ndone(x)')],
            "main/1.1": [block('done(order("a", n))')],
        }
    )
    result = await script.run(world)
    assert (result.status, result.output) == (RunStatus.ANSWERED, "ax2")
    assert world.orders == [("a", 2)]
    assert script.left == {}


async def test_a_numbered_list_runs_in_order_with_the_earlier_results_in_view() -> None:
    world = World()
    script = Script(
        {
            "main": [goals("1. Find the price.\n2. Order a,\n   once."), "It is done."],
            "main/1.1": [block("done(9)")],
            "main/1.2": [block('done(order("a", result_1))')],
        }
    )
    result = await script.run(world)
    assert result.output == "It is done."
    assert world.orders == [("a", 9)]
    told = script.told("main/1.2")[0]
    assert "once." in told
    assert "- result_1: Find the price." in told
    assert "result_1 = 9" in told


async def test_a_goal_that_gives_up_is_a_failed_call_that_says_why() -> None:
    script = Script(
        {
            "main": [block('goal("Fly.")\norder("b")'), "So be it."],
            "main/1.1": [block('give_up("no wings")')],
        }
    )
    world = World()
    result = await script.run(world)
    assert result.output == "So be it."
    assert world.orders == []
    assert "no wings" in script.told("main")[1]


async def test_prose_ends_a_goal_and_nobody_runs_it() -> None:
    script = Script({"main": [block('done(goal("Say it."))')], "main/1.1": ["order('a')"]})
    world = World()
    assert (await script.run(world)).output == "order('a')"
    assert world.orders == []
