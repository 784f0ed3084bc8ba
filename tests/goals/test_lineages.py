"""What a nested run has done is not done again (L4, L9): goals that come again, also reworded."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planloop import Agent, Budget, FunctionModel, Request, RunStatus
from planloop.events import CallServed
from tests.goals.scripts import Script, World, block
from tests.loop.test_ledger_rules import mending

pytestmark = pytest.mark.anyio


@pytest.mark.rule("L9")
async def test_a_finished_goal_is_served_whole_when_the_plan_comes_again() -> None:
    world = World()
    world.broken = {"gone"}
    plan = block('x = goal("Order a.")\nlook("gone")\ndone(x)')
    script = Script({"main": [plan, plan], "main/1.1": [block('done(order("a"))')]})
    result = await script.run(world, approve=mending(world))
    assert result.output == "ax1"
    assert world.orders == [("a", 1)]
    assert [e.within for e in script.events if isinstance(e, CallServed)] == [None]


@pytest.mark.rule("L2")
@pytest.mark.rule("L9")
async def test_a_goal_that_failed_takes_what_it_had_done_when_it_comes_again() -> None:
    world = World()
    script = Script(
        {
            "main": [block('x = goal("Order a and b.")\ndone(x)')] * 2,
            "main/1.1": [block('order("a")'), block('give_up("no b")')],
            "main/2.1": [block('x = order("a")\ny = order("b")\ndone([x, y])')],
        }
    )
    result = await script.run(world)
    assert result.output == ["ax1", "bx1"]
    assert world.orders == [("a", 1), ("b", 1)]
    told = script.told("main/2.1")[0]
    assert "An earlier attempt at this goal has made these calls outside" in told
    assert 'order({"qty":1,"sku":"a"}) -> ' in told


@pytest.mark.rule("L4")
@pytest.mark.rule("L9")
async def test_a_reworded_goal_is_asked_about_what_is_done() -> None:
    world = World()
    world.broken = {"gone"}
    script = Script(
        {
            "main": [
                block('x = goal("Order a.")\nlook("gone")\ndone(x)'),
                block('y = goal("Please get me an a.")\ndone(y)'),
            ],
            "main/1.1": [block('done(order("a"))')],
            "main/2.1": [block('done(order("a"))'), block('keep()\ndone("had it")')],
        }
    )
    result = await script.run(world)
    assert result.output == "had it"
    assert world.orders == [("a", 1)]
    assert "already done" in script.told("main/2.1")[1]


@pytest.mark.rule("L3")
@pytest.mark.rule("L9")
async def test_a_changed_call_of_a_goal_that_failed_is_asked_about() -> None:
    world = World()
    script = Script(
        {
            "main": [block('goal("Order a.")'), block('goal("Order a.")'), "Done."],
            "main/1.1": [block('order("a", 2)'), block('give_up("tired")')],
            "main/2.1": [block('order("a", 3)'), block('keep()\ndone("two it is")')],
        }
    )
    await script.run(world)
    assert world.orders == [("a", 2)]
    assert "diverged" in script.told("main/2.1")[1]


@pytest.mark.rule("L9")
async def test_the_plan_itself_does_not_repeat_what_a_failed_goal_has_done() -> None:
    world = World()
    script = Script(
        {
            "main": [block('goal("Order a.")'), block('order("a", 3)'), block('order("a", 2)')],
            "main/1.1": [block('order("a", 2)'), block('give_up("tired")')],
        }
    )
    await script.run(world)
    assert world.orders == [("a", 2)]
    assert "a goal has done that call" in script.told("main")[2]


@pytest.mark.rule("R5")
@pytest.mark.rule("L9")
async def test_a_goal_that_changed_files_runs_again_when_they_went_back() -> None:
    world = World()
    world.broken = {"gone"}
    again = block('restart()\nput("g", "2")\nx = goal("Do it.")\nlook("gone")\ndone(x)')
    work = block('put("f", "1")\ndone(order("a"))')
    script = Script(
        {
            "main": [block('put("g", "1")\nx = goal("Do it.")\nlook("gone")\ndone(x)'), again],
            "main/1.2": [work],
            "main/2.3": [work],
        }
    )

    def approve(plan: object) -> None:
        world.broken -= set(world.looks)

    result = await script.run(world, approve=approve)
    assert result.output == "ax1"
    assert world.orders == [("a", 1)]
    assert world.files == {"g": "2", "f": "1"}


@pytest.mark.rule("R6")
@pytest.mark.parametrize("first", ['put("g", "1")', 'note("nothing yet")'])
async def test_what_a_goal_that_failed_has_changed_stays_and_the_run_can_still_go_back(
    first: str,
) -> None:
    world = World()
    script = Script(
        {
            "main": [
                block(f'{first}\ngoal("Do it.")'),
                block("restart()\nnote(get('f'))\ndone()"),
            ],
            "main/1.2": [block('put("f", "1")'), block('give_up("tired")')],
        }
    )
    seen: list[dict[str, str]] = []

    def approve(plan: object) -> None:
        seen.append(dict(world.files))

    await script.run(world, approve=approve)
    assert seen[-1] == {**({"g": "1"} if "put" in first else {}), "f": "1"}
    assert world.files == {}


@pytest.mark.rule("L4")
async def test_a_goal_is_asked_about_what_its_own_plan_has_just_done() -> None:
    world = World()
    script = Script(
        {
            "main": [block('x = [order("a"), goal("Order a.")]\ndone(x[1])')],
            "main/1.1.1.1": [block('order("a")\ndone()'), block('keep()\ndone("had it")')],
        }
    )
    result = await script.run(world)
    assert world.orders == [("a", 1)], script.asked
    assert result.output == "had it"


ITEMS = ("a", "b", "c")
WAYS = ("same", "reworded", "restarted", "wrapped", "alone")


def goal_text(items: tuple[str, ...], words: int) -> str:
    return f"{'Please o' if words else 'O'}rder {' and '.join(items)}{'!' * words}."


def revised(way: str, plan: list[tuple[str, ...]], words: int) -> str:
    calls = [
        f"x{n} = [goal({goal_text(items, words)!r})]" if way == "wrapped"
        else f"x{n} = goal({goal_text(items, words)!r})"
        for n, items in enumerate(plan)
    ]  # fmt: skip
    if way == "alone":
        items_once = dict.fromkeys(item for items in plan for item in items)
        calls = [f"order({item!r})" for item in items_once]
    head = ["restart()"] if way == "restarted" else []
    return block("\n".join([*head, *calls, 'must(len(look("end")) > 0)', "done()"]))


@pytest.mark.rule("L4")
@pytest.mark.rule("L9")
@settings(max_examples=150, deadline=None)
@given(
    plan=st.lists(st.lists(st.sampled_from(ITEMS), min_size=1, max_size=3, unique=True).map(tuple),
                  min_size=1, max_size=3, unique=True),
    ways=st.lists(st.tuples(st.sampled_from(WAYS), st.integers(0, 2)), min_size=1, max_size=4),
    breaks=st.lists(st.tuples(st.sampled_from((*ITEMS, "end", "give up", "exploring")),
                              st.integers(0, 3)), max_size=6),
    keeps=st.booleans(),
)  # fmt: skip
def test_nested_lineages_repeat_no_external_effect(
    plan: list[tuple[str, ...]],
    ways: list[tuple[str, int]],
    breaks: list[tuple[str, int]],
    keeps: bool,
) -> None:
    """Whatever fails and however the plan comes again: no order is made twice unless one asks."""
    world = World()
    wanted = Counter(item for items in plan for item in items)
    state = {"round": 0}

    def nested(request: Request) -> str:
        task, last = request.messages[1].text, request.messages[-1].text
        # A planner that never says `again`: what is asked about it keeps, or it gives up.
        if "already done" in last or "diverged" in last or "is unknown" in last:
            return block('keep()\ndone("kept")') if keeps else block('give_up("asked")')
        if "raised" in last or "ConnectionError" in last:
            return block('give_up("broken")')
        goal = task.split("# Task", 1)[-1].split(".", 1)[0]
        items = [word for word in goal.replace("!", "").split() if word in ITEMS]
        troubles = {what for what, when in breaks if when == state["round"]}
        body = "\n".join(f"order({item!r})" for item in items)
        if "exploring" in troubles and len(request.messages) == 2:
            return block(f'look("around")\n{body}')
        if "give up" in troubles:
            return block(body) if len(request.messages) == 2 else block('give_up("enough")')
        return block(f'{body}\ndone("ok")')

    def answer(request: Request) -> str:
        if request.conversation != "main":
            return nested(request)
        number = state["round"]
        state["round"] += 1
        world.broken = {what for what, when in breaks if when == number + 1}
        if number == 0:
            return revised("same", plan, 0)
        if number > len(ways):
            return block("keep()\ndone()")
        way, words = ways[number - 1]
        return revised(way, plan, words)

    budget = Budget(rounds=200, calls=2_000, cost_usd=None)
    agent: Agent[None, Any] = Agent(environment=world, model=FunctionModel(answer), budget=budget)
    result = agent.run_sync("Test.")
    assert result.status in (RunStatus.ANSWERED, RunStatus.STUCK), result.reason
    # Goals that share an item ask before the second makes it; nobody says `again`.
    made = Counter(sku for sku, _ in world.orders)
    assert all(count <= 1 for count in made.values()), (made, wanted)
