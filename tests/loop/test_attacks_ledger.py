"""Attacks on the ledger and on revision: order, divergence, versions, undo (L1-L9, R1, R6, R7)."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planloop import Agent, Budget, Context, FunctionModel, Request, Result, RunStatus, Task, tool
from planloop.errors import SandboxLost
from planloop.events import CallEnded, Event, StatementEnded
from planloop.sandbox import Command
from planloop.tool import Tool
from tests.loop.worlds import World, block, scripted


def run_plans(
    tools: Sequence[Tool], plans: Sequence[str], **options: Any
) -> tuple[Result, list[str], list[Event]]:
    """Run plans in order; the result, what the planner was told before each, and all events."""
    told: list[str] = []
    events: list[Event] = []
    rest = iter(plans)

    def answer(request: Request) -> str:
        told.append(request.messages[-1].text)
        return block(next(rest, 'give_up("the script is over")'))

    async def go() -> None:
        events.extend([event async for event in agent.stream("x")])

    agent: Agent[Any, Any] = Agent(model=FunctionModel(answer), tools=list(tools), **options)
    anyio.run(go)
    assert agent.result is not None
    return agent.result, told, events


def orders_by_sku(broken: set[str]) -> tuple[Tool, list[str]]:
    """A tool whose calls touch one thing each, so that they run at once."""
    done: list[str] = []

    @tool(resources=lambda given: [given["sku"]])
    async def order(sku: str) -> str:
        """Order something."""
        await anyio.lowlevel.checkpoint()
        if sku in broken:
            raise ConnectionError("not now")
        done.append(sku)
        return sku

    return order, done


@tool(effect="pure")
async def slowly(text: str) -> str:
    """The same text, later."""
    await anyio.sleep(0.02)
    return text


def mend(broken: set[str]) -> Callable[[object], None]:
    plans: list[object] = []

    def approve(plan: object) -> None:
        plans.append(plan)
        if len(plans) > 1:
            broken.clear()

    return approve


@pytest.mark.rule("L3")
@pytest.mark.parametrize(
    "plan",
    [
        'order(slowly("a"))\norder(slowly("b"))\norder("c")\ndone("ok")',
        'x = [order(s if s == "c" else slowly(s)) for s in ["a", "b", "c"]]\ndone("ok")',
        'x = [order(slowly("a")), order("c")]\ndone("ok")',
        'order("a")\norder(slowly("b"))\norder("c")\norder("d")\ndone("ok")',
    ],
)
def test_a_whole_again_on_disjoint_resources_is_no_divergence(plan: str) -> None:
    broken = {"c"}
    order, done = orders_by_sku(broken)
    again = plan.replace("slowly(", "str(")  # what was slow is fast, and the other way round
    for second in (plan, "restart()\n" + again.replace('order("a")', 'order(slowly("a"))')):
        broken |= {"c"}
        done.clear()
        result, told, _ = run_plans([order, slowly], [plan, second], approve=mend(broken))
        assert result.output == "ok", told[-1]
        assert len(done) == len(set(done))


@pytest.mark.rule("L5")
def test_a_repetition_on_purpose_settles_the_unknown_call() -> None:
    attempts: list[int] = []

    @tool(timeout_s=0.1)
    async def pay(cents: int) -> str:
        """Pay."""
        attempts.append(cents)
        if len(attempts) == 1:
            await anyio.sleep_forever()
        return f"paid {cents}"

    result, told, _ = run_plans(
        [pay], ["pay(5)", "x = pay(5, again=True)\ny = pay(6)\ndone([x, y])"]
    )
    assert result.output == ["paid 5", "paid 6"], told[-1]
    assert attempts == [5, 5, 6]


@pytest.mark.rule("L5")
@pytest.mark.parametrize("returned", ["cyclic", "huge int"])
def test_an_external_call_whose_result_cannot_be_kept_is_not_taken_for_undone(
    returned: str,
) -> None:
    orders: list[str] = []

    @tool
    def order(sku: str) -> Any:
        """Order something."""
        orders.append(sku)
        cyclic: list[Any] = []
        cyclic.append(cyclic)
        return cyclic if returned == "cyclic" else 10**5000

    plan = 'order("a")\ndone()'
    result, told, _ = run_plans([order], [plan, plan, 'keep()\ndone("kept")'])
    assert orders == ["a"]
    assert "diverged" in told[2]
    assert result.output == "kept"


@pytest.mark.rule("L7")
def test_a_late_call_does_not_cut_off_the_external_call_that_is_waited_for() -> None:
    @tool(resources=["ship"])
    async def ship() -> str:
        """Ship it, slowly."""
        await anyio.sleep(0.3)
        return "shipped"

    @tool(effect="reads", resources=["mail"])
    async def look(what: str) -> str:
        """Look."""
        return what

    plan = 'a = ship()\nb = look("1")\nc = look("2")\nd = look(slowly("3"))\ndone([a, b, c, d])'
    result, _, events = run_plans([ship, look, slowly], [plan], budget=Budget(calls=3))
    assert result.status is RunStatus.CAPPED
    ends = [event.observation for event in events if isinstance(event, CallEnded)]
    assert [end.value for end in ends if end.value == "shipped"] == ["shipped"]
    assert "unknown" not in {end.status.value for end in ends}


@pytest.mark.rule("R1")
def test_a_read_of_a_rest_is_not_served_from_before_a_change() -> None:
    world = World()
    world.files["f"] = "old"
    plans = [
        'x = [get("f"), must(False)]',
        'put("f", "new")\ny = look("gone")',
        'z = [get("f"), must(True)]\ndone(z[0])',
    ]
    world.broken = {"gone"}
    result, _ = scripted(world, [block(plan) for plan in plans])
    assert result.output == "new"


@pytest.mark.rule("R6")
def test_a_half_executed_statement_is_undone_in_a_world_of_the_apps_own() -> None:
    world = World()
    plans = ['put("keep", "1")\nx = [put("f", "half"), must(False)]', "keep()\ndone()"]
    _, told = scripted(world, [block(plan) for plan in plans])
    assert "no effect on names and files" in told[1]
    assert world.files == {"keep": "1"}


@pytest.mark.rule("R6")
def test_undoing_a_statement_does_not_undo_another_one_that_finished(tmp_path: Path) -> None:
    async def put(context: Context[None], path: str, ok: bool = True) -> str:
        """Write a file."""
        await context.run(Command(line=f"echo {path} > {path}"))
        if not ok:
            await anyio.sleep(0.2)
            raise ValueError("no")
        return path

    put_tool = tool(effect="workspace", resources=lambda given: [given["path"]])(put)
    plans = [
        'x = [put(p, p != "b") for p in ["a", "b"]]\ny = put("c")\ndone()',
        'done("x")',
    ]
    rest = iter(plans)
    agent: Agent[None, Any] = Agent(
        model=FunctionModel(lambda _: block(next(rest))), tools=[put_tool], sandbox="bubblewrap"
    )
    finished: list[str] = []

    async def go() -> None:
        async for event in agent.stream(Task(text="x", folder=tmp_path)):
            if isinstance(event, StatementEnded) and event.result.status == "ok":
                finished.append(event.result.text)

    anyio.run(go)
    agent.close()
    assert agent.result is not None
    assert ("c" in agent.result.changed_files) == any("'c'" in text for text in finished)


@pytest.mark.rule("L3")
def test_calls_that_a_rest_leaves_behind_are_named() -> None:
    world = World()
    world.broken = {"x"}
    replies = [
        block('y = [order("a"), look("x")]\ndone()'),
        block('z = look("other")'),
        block("done()"),
    ]
    _, told = scripted(world, replies)
    assert "Calls 1 are done, and this plan did not repeat them" in told[2]


@pytest.mark.rule("L9")
def test_a_follow_up_ends_the_lineage_even_if_its_first_plan_is_refused() -> None:
    world = World()
    world.broken = {"x"}
    plans = ['y = [order("a"), look("x")]', "", 'order("b")', 'order("a")\ndone("again")', ""]
    told: list[str] = []

    def answer(request: Request) -> str:
        told.append(request.messages[-1].text)
        return block(plans[len(told) - 1]) if plans[len(told) - 1] else "Half of it."

    refusals = iter([None, "not this one", None])
    agent: Agent[None, Any] = Agent(
        model=FunctionModel(answer),
        environment=world,
        approve=lambda plan: next(refusals),
        budget=Budget(rounds=1),
    )
    assert agent.run_sync("x").status is RunStatus.CAPPED
    result = agent.follow_up_sync("y", budget=Budget(rounds=2))
    assert result.status is RunStatus.CAPPED
    assert world.orders == [("a", 1)]


@pytest.mark.rule("R2")
def test_a_whole_again_may_hold_its_proposed_check(tmp_path: Path) -> None:
    plans = [
        'check(file="a")\nwrite("a", "1")\nx = read("missing")\ndone()',
        'restart()\ncheck(file="a")\nwrite("a", "1")\ndone()',
    ]
    rest = iter(plans)
    agent: Agent[None, Any] = Agent(
        model=FunctionModel(lambda _: block(next(rest, "done()"))),
        sandbox="bubblewrap",
        budget=Budget(rounds=2),
    )
    result = agent.run_sync(Task(text="x", folder=tmp_path))
    agent.close()
    assert result.status is RunStatus.SUCCESS
    assert len(result.verdict.checks) == 1


@pytest.mark.parametrize("effect", ["workspace", "external"])
@pytest.mark.rule("L5")
def test_changes_that_are_lost_with_the_sandbox_are_named_and_no_longer_done(
    effect: str, tmp_path: Path
) -> None:
    losses: list[int] = []

    @tool(effect=effect, needs_sandbox=True)
    def lose() -> str:
        """Lose the sandbox, once."""
        losses.append(1)
        if len(losses) == 1:
            raise SandboxLost("gone")
        return "kept"

    told: list[str] = []
    plan = 'write("a", "1")\nwrite("b", "2")\nlose()\ndone()'
    second = "restart()\n" + plan.replace("lose()", "lose(again=True)")

    def answer(request: Request) -> str:
        told.append(request.messages[-1].text)
        return block([plan, second][len(told) - 1])

    agent: Agent[None, Any] = Agent(model=FunctionModel(answer), tools=[lose], sandbox="bubblewrap")
    result = agent.run_sync(Task(text="x", folder=tmp_path))
    agent.close()
    assert "what calls 1, 2 changed is lost" in told[1]
    assert ("unknown" in told[1]) is (effect == "external")
    assert result.changed_files == ("a", "b")


@pytest.mark.rule("L4")
def test_keep_then_the_same_call_is_asked_about_and_again_does_it() -> None:
    world = World()
    plans = ['order("a")\nlook("gone")', 'keep()\norder("a")', 'order("a", again=True)\ndone()']
    world.broken = {"gone"}
    _, told = scripted(world, [block(plan) for plan in plans])
    assert "already done" in told[2]
    assert world.orders == [("a", 1), ("a", 1)]


@pytest.mark.rule("R2")
def test_restart_after_external_calls_serves_them_and_runs_the_files_again() -> None:
    world = World()
    world.broken = {"gone"}
    plan = 'put("f", "1")\nx = order("a")\nput("g", x)\nlook("gone")\ndone(x)'
    _, told = scripted(world, [block(plan), block("restart()\n" + plan)])
    assert world.orders == [("a", 1)]
    assert world.files == {"f": "1", "g": "ax1"}
    assert "went back to the beginning" in told[2]


@pytest.mark.rule("R1")
def test_a_whole_again_with_reads_of_several_resources_reads_what_changed_only() -> None:
    looks: list[str] = []
    state = {"a": 1, "b": 1}

    @tool(effect="reads", resources=["a", "b"])
    def both() -> int:
        """Read both."""
        looks.append("both")
        return state["a"] + state["b"]

    @tool(effect="reads", resources=["a"])
    def one() -> int:
        """Read one."""
        looks.append("one")
        return state["a"]

    @tool(resources=["b"])
    def add(n: int) -> int:
        """Add to b."""
        state["b"] += n
        return state["b"]

    @tool(effect="reads")
    def fail_once() -> str:
        """Fail once."""
        looks.append("fail")
        if looks.count("fail") == 1:
            raise ValueError("not yet")
        return "fine"

    plan = "x = one()\ny = both()\nadd(5)\nz = both()\nfail_once()\ndone([x, y, z])"
    result, _, _ = run_plans([both, one, add, fail_once], [plan, plan])
    assert result.output == [1, 2, 7]
    assert sorted(looks) == ["both", "both", "fail", "fail", "one"]


@pytest.mark.rule("L5")
def test_a_call_of_unknown_end_is_asked_about_in_a_follow_up_too() -> None:
    attempts: list[int] = []

    @tool(timeout_s=0.1)
    async def pay(cents: int) -> str:
        """Pay."""
        attempts.append(cents)
        await anyio.sleep(60 if len(attempts) == 1 else 0)
        return "paid"

    told: list[str] = []
    replies = [block("pay(5)"), "Unclear.", block("pay(5)"), block("done(pay(5, again=True))")]

    def answer(request: Request) -> str:
        told.append(request.messages[-1].text)
        return replies[len(told) - 1]

    agent: Agent[None, Any] = Agent(
        model=FunctionModel(answer), tools=[pay], budget=Budget(rounds=1)
    )
    assert agent.run_sync("x").status is RunStatus.CAPPED
    assert agent.follow_up_sync("y", budget=Budget(rounds=3)).output == "paid"
    assert "whether an equal call was done is unknown" in told[3]
    assert attempts == [5, 5]


@pytest.mark.rule("O1")
def test_a_function_of_resources_that_raises_fails_the_call_and_not_the_run() -> None:
    @tool(resources=lambda given: [given["path"].split("/")[1]])
    def save(path: str) -> str:
        """Save."""
        return path

    result, told, _ = run_plans([save], ['save("a")', 'done(save("a/b"))'])
    assert result.output == "a/b"
    assert "IndexError" in told[1]


ORDERS = st.lists(
    st.tuples(st.integers(0, 3), st.sampled_from("abcdef"), st.sampled_from("abcdef")),
    min_size=2,
    max_size=5,
)


@pytest.mark.rule("L2")
@pytest.mark.rule("L3")
@settings(max_examples=60, deadline=None)
@given(
    orders=ORDERS,
    failures=st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 2)),
    restarts=st.lists(st.booleans(), min_size=6, max_size=6),
    turns=st.lists(st.integers(0, 5), min_size=1, max_size=12),
)
def test_the_same_whole_on_disjoint_resources_is_served_and_never_contradicts_itself(
    orders: list[tuple[int, str, str]],
    failures: dict[str, int],
    restarts: list[bool],
    turns: list[int],
) -> None:
    waits = itertools.cycle(turns)
    done: Counter[str] = Counter()

    @tool(resources=lambda given: [given["sku"]])
    async def order(sku: str) -> str:
        """Order something, or fail."""
        for _ in range(next(waits)):
            await anyio.lowlevel.checkpoint()
        if failures.get(sku, 0):
            failures[sku] -= 1
            raise ConnectionError("not now")
        done[sku] += 1
        return sku

    @tool(effect="pure")
    async def later(text: str) -> str:
        """The same text, later."""
        for _ in range(next(waits)):
            await anyio.lowlevel.checkpoint()
        return text

    forms = [
        'order("{a}")',
        'x{i} = order(later("{a}"))',
        'x{i} = [order(later(s)) for s in ["{a}", "{b}"]]',
        'x{i} = [order("{a}"), order(later("{b}"))]',
    ]
    lines = [forms[form].format(i=i, a=a, b=b) for i, (form, a, b) in enumerate(orders)]
    plan = "\n".join([*lines, 'done("ok")'])
    again = [f"restart()\n{plan}" if restart else plan for restart in restarts]
    result, told, _ = run_plans([order, later], [plan, *again])

    wanted: Counter[str] = Counter()
    for form, a, b in orders:
        wanted.update([a] if form < 2 else [a, b])
    assert not any("diverged" in text for text in told)
    assert not done - wanted
    assert done == wanted or result.output != "ok"
