"""What a revision keeps, serves, repeats and asks about, seen in whole runs (L1-L9, R1, R2, R7)."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from planloop import Agent, Budget, Context, FunctionModel, Request, RunStatus, tool
from planloop.events import CallEnded, CallStarted
from planloop.trace.log import read_log
from tests.loop.worlds import World, block, scripted


def mending(world: World) -> Callable[[object], None]:
    """An approver that lets the world work again once something has been tried."""

    def approve(plan: object) -> None:
        if world.attempts or world.looks or world.files:
            world.broken = set()

    return approve


@pytest.mark.rule("L2")
@pytest.mark.rule("R1")
def test_a_whole_again_is_served_and_orders_nothing_twice() -> None:
    world = World()
    world.broken = {"b"}
    plan = block('x = order("a", 2)\ny = order("b", 1)\ndone([x, y])')

    class Mended(World):
        pass

    result, _ = scripted(world, [plan, plan], approve=mending(world))
    assert result.status is RunStatus.ANSWERED
    assert result.output == ["ax2", "bx1"]
    assert world.orders == [("a", 2), ("b", 1)]
    assert world.attempts["order a 2"] == 1


@pytest.mark.rule("L2")
def test_two_equal_calls_in_one_plan_both_run() -> None:
    world = World()
    scripted(world, [block('order("a", 1)\norder("a", 1)\ndone()')])
    assert world.orders == [("a", 1), ("a", 1)]


@pytest.mark.rule("L2")
def test_equal_calls_of_a_loop_are_served_by_their_place() -> None:
    world = World()
    world.broken = {"c"}
    plan = block('n = [order(s) for s in ["a", "b", "a", "c", "a"]]\ndone(n)')
    result, _ = scripted(world, [plan, plan], approve=mending(world))
    assert result.output == ["ax1", "bx1", "ax1", "cx1", "ax1"]
    assert world.orders == [("a", 1), ("b", 1), ("a", 1), ("c", 1), ("a", 1)]


@pytest.mark.rule("L3")
def test_a_changed_external_call_stops_the_plan_as_diverged_and_names_both() -> None:
    world = World()
    world.broken = {"x"}
    first = block('order("a", 2)\nlook("x")\ndone()')
    changed = block('restart()\norder("a", 3)\nlook("x")\ndone()')
    result, told = scripted(
        world, [first, changed, block('keep()\ndone("kept")')], approve=mending(world)
    )
    assert world.orders == [("a", 2)]
    assert "diverged" in told[2]
    assert '"qty":2' in told[2]
    assert "'qty': 3" in told[2]
    assert result.output == "kept"


@pytest.mark.rule("L4")
def test_an_equal_external_call_of_a_later_plan_is_asked_about() -> None:
    world = World()
    replies = [
        block('order("a")'),
        block('order("a")\ndone()'),
        block('order("a", again=True)\ndone()'),
    ]
    result, told = scripted(world, replies)
    assert "already done" in told[2]
    assert world.orders == [("a", 1), ("a", 1)]
    assert result.status is RunStatus.ANSWERED


@pytest.mark.rule("L4")
def test_keep_then_another_call_goes_on() -> None:
    world = World()
    world.broken = {"gone"}
    replies = [
        block('order("a")\nlook("gone")\ndone()'),
        block('keep()\norder("b")\ndone("both")'),
    ]
    result, _ = scripted(world, replies)
    assert result.output == "both"
    assert world.orders == [("a", 1), ("b", 1)]


@pytest.mark.rule("L5")
@pytest.mark.rule("L6")
def test_a_tool_that_raised_has_done_nothing_and_may_run_again() -> None:
    world = World()
    world.broken = {"a"}
    result, _ = scripted(
        world,
        [block('order("a")\ndone()'), block('order("a")\ndone("ok")')],
        approve=mending(world),
    )
    assert result.output == "ok"
    assert world.attempts["order a 1"] == 2
    assert world.orders == [("a", 1)]


@pytest.mark.rule("L8")
def test_served_calls_are_marked_and_not_counted_again() -> None:
    world = World()
    world.broken = {"x"}
    first = 'a = order("a")\nb = look("x")\ndone([a, b])'
    result, _ = scripted(world, [block(first), block(first)], approve=mending(world))
    assert result.status is RunStatus.ANSWERED
    assert result.usage.calls == 3  # order and look, then look again


@pytest.mark.rule("L9")
def test_a_lineage_goes_on_after_a_failed_check() -> None:
    world = World()
    plan = block('order("a")\nput("f", "done")\ndone()')
    verdicts = iter([False, True])

    def second_time(candidate: object) -> bool:
        return next(verdicts)

    result, _ = scripted(world, [plan, plan], checks=[second_time])
    assert result.status is RunStatus.SUCCESS
    assert world.orders == [("a", 1)]


@pytest.mark.rule("R1")
def test_what_failed_is_looked_at_again() -> None:
    world = World()
    plan = block('s = look("price")\nexpect(len(s) > 100, "short")\ndone()')
    scripted(world, [plan, plan])
    assert world.looks == ["price", "price"]


@pytest.mark.rule("R1")
def test_what_an_external_call_was_decided_on_is_not_looked_at_again() -> None:
    world = World()
    plan = block('s = look("price")\no = order(s)\nexpect(len(s + o) > 100, "short")\ndone()')
    scripted(world, [plan, plan])
    assert world.looks == ["price"]
    assert world.orders == [("saw price", 1)]


@pytest.mark.rule("R1")
def test_a_changed_file_call_puts_the_files_back_and_runs_them_again() -> None:
    world = World()
    first = block('put("a", "1")\nput("b", "2")\nt = get("a") + get("b")\nmust(t == "32")\ndone(t)')
    second = block(
        'restart()\nput("a", "3")\nput("b", "2")\nt = get("a") + get("b")\nmust(t == "32")\ndone(t)'
    )
    result, _ = scripted(world, [first, second])
    assert result.output == "32"
    assert world.files == {"a": "3", "b": "2"}


@pytest.mark.rule("R2")
def test_a_rest_that_edits_again_is_no_whole() -> None:
    world = World()
    world.broken = {"bad"}
    replies = [
        block('put("a", "1")\nput("t", "bad")\ndone()'),
        block('put("b", "2")\nput("t", "good")\ndone()'),
    ]
    result, _ = scripted(world, replies)
    assert result.status is RunStatus.ANSWERED
    assert world.files == {"a": "1", "b": "2", "t": "good"}


@pytest.mark.rule("R7")
def test_feedback_of_a_failed_statement_names_the_external_calls_that_are_done() -> None:
    world = World()
    world.broken = {"x"}
    _, told = scripted(
        world, [block('y = [order("a"), look("x")]\ndone()'), block("keep()\ndone()")]
    )
    assert "External calls 1 of it are done" in told[1] or "External calls 2" in told[1]
    assert "keep()" in told[1]


@pytest.mark.rule("R9")
def test_the_same_call_with_the_same_result_ends_stuck_after_one_note() -> None:
    world = World()
    result, told = scripted(world, [block('look("a")')] * 6)
    assert result.status is RunStatus.STUCK
    assert "circles" in told[3]
    assert len(told) == 4


@pytest.mark.rule("L1")
def test_an_external_call_is_on_disk_before_it_runs_and_its_end_after(tmp_path: Path) -> None:
    seen: list[list[str]] = []

    @tool
    def pay(cents: int) -> str:
        """Pay."""
        (trace,) = tmp_path.glob(".planloop/runs/*/trace.jsonl")
        seen.append([json.loads(line)["kind"] for line in trace.read_text().splitlines()])
        return "paid"

    answers = iter([block("done(pay(5))")])
    agent = Agent(model=FunctionModel(lambda _: next(answers)), tools=[pay], store=tmp_path)
    assert agent.run_sync("x").output == "paid"
    assert seen[0][-1] == "call_started"
    (folder,) = (tmp_path / ".planloop" / "runs").iterdir()
    recorded, notices = read_log(folder)
    started = next(one.event for one in recorded if isinstance(one.event, CallStarted))
    ended = next(one.event for one in recorded if isinstance(one.event, CallEnded))
    assert notices == ()
    assert (started.tool, started.arguments, started.effect) == ("pay", {"cents": 5}, "external")
    assert (ended.serial, ended.observation.value) == (started.serial, "paid")


@pytest.mark.rule("L1")
@pytest.mark.parametrize("argument", ["float('nan')", "float('inf')", "[1, float('-inf')]"])
def test_arguments_without_a_canonical_form_are_refused(argument: str) -> None:
    @tool
    def pay(cents: Any) -> str:
        """Pay."""
        raise AssertionError("it ran")

    answers = iter([block(f"x = {argument}\npay(x)"), "I cannot."])
    agent = Agent(model=FunctionModel(lambda _: next(answers)), tools=[pay])
    result = agent.run_sync("x")
    assert result.usage.calls == 0
    assert result.status is RunStatus.ANSWERED


@pytest.mark.rule("L5")
def test_an_idempotent_call_repeats_with_the_key_of_its_first_attempt() -> None:
    keys: list[str] = []

    @tool(idempotent=True, timeout_s=0.2)
    async def pay(context: Context[None], cents: int) -> str:
        """Pay."""
        keys.append(context.idempotency_key)
        if len(keys) == 1:
            await anyio.sleep_forever()
        return "paid"

    answers = iter([block("done(pay(5))")] * 2)
    agent = Agent(model=FunctionModel(lambda _: next(answers)), tools=[pay])
    assert agent.run_sync("x").output == "paid"
    assert len(keys) == 2
    assert keys[0] == keys[1]


@pytest.mark.rule("L5")
def test_a_call_of_unknown_end_is_asked_about_until_it_is_kept_or_repeated_on_purpose() -> None:
    attempts: list[int] = []

    @tool(timeout_s=0.2)
    async def pay(cents: int) -> str:
        """Pay."""
        attempts.append(cents)
        if len(attempts) == 1:
            await anyio.sleep_forever()
        return "paid"

    told: list[str] = []
    plans = ["pay(5)", "pay(5)", "pay(6)", "done(pay(5, again=True))"]

    def answer(request: Request) -> str:
        told.append(request.messages[-1].text)
        return block(plans[len(told) - 1])

    agent = Agent(model=FunctionModel(answer), tools=[pay])
    assert agent.run_sync("x").output == "paid"
    assert attempts == [5, 5]
    assert "unknown" in told[1]
    assert "diverged" in told[2]
    assert "diverged" in told[3]


@pytest.mark.rule("L7")
def test_a_spent_budget_lets_a_running_external_call_come_to_its_result(tmp_path: Path) -> None:
    started = anyio.Event()

    @tool(resources=["ship"])
    async def ship() -> str:
        """Ship it, slowly."""
        started.set()
        await anyio.sleep(0.2)
        return "shipped"

    @tool(resources=["mail"])
    async def mail() -> str:
        """Mail it."""
        await started.wait()
        return "mailed"

    answers = iter([block("a = ship()\nb = mail()\nc = mail()\ndone([a, b, c])"), "Half."])
    agent = Agent(
        model=FunctionModel(lambda _: next(answers)),
        tools=[ship, mail],
        budget=Budget(calls=2),
        store=tmp_path,
    )
    assert agent.run_sync("x").status is RunStatus.CAPPED
    (folder,) = (tmp_path / ".planloop" / "runs").iterdir()
    ends = [one.event for one in read_log(folder)[0] if isinstance(one.event, CallEnded)]
    assert sorted(str(end.observation.value) for end in ends) == ["mailed", "shipped"]


@pytest.mark.rule("R1")
def test_a_new_external_call_sees_the_files_as_they_were_at_its_place_in_the_text() -> None:
    world = World()
    world.broken = {"x"}
    sent: list[dict[str, str]] = []

    @tool
    def send() -> int:
        """Send the files as they are."""
        sent.append(dict(world.files))
        return len(sent)

    first = 'put("a", "1")\nput("b", "2")\nlook("x")\ndone()'
    inserted = 'put("a", "1")\nsend()\nput("b", "2")\nlook("x")\ndone()'
    result, _ = scripted(
        world, [block(first), block(inserted)], tools=[send], approve=mending(world)
    )
    assert result.status is RunStatus.ANSWERED
    assert sent == [{"a": "1"}]
    assert world.files == {"a": "1", "b": "2"}
