"""What begins while a reply is being written, what waits, and what nobody asked for."""

from __future__ import annotations

import itertools
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from writing import Played, World, block, play

from planloop import Agent, Budget, FunctionModel, RunStatus, tool
from planloop.errors import InfrastructureError, ModelUnavailable
from planloop.events import (
    CallBegunAhead,
    CallDropped,
    CallEnded,
    CallServed,
    CallStarted,
    PassRestarted,
    PlanStarted,
)
from planloop.messages import OnText, Profile, Reply, Request
from planloop.trace.fold import essence, fold

pytestmark = pytest.mark.anyio


def world(turns: int = 0) -> World:
    return World(itertools.repeat(turns))


async def rest() -> None:
    """Long enough for everything that can go on to go on."""
    for _ in range(200):
        await anyio.lowlevel.checkpoint()


def slowly(source: str, end: str = "") -> list[Any]:
    """A plan line by line, with time for everything between two lines."""
    pieces: list[Any] = []
    for line in block(source).splitlines(keepends=True):
        pieces += [line, rest]
    return [*pieces, end]


async def played(source: str, **options: Any) -> Played:
    return await play(world(), [slowly(source)], **options)


async def test_what_only_looks_runs_before_the_plan_is_there() -> None:
    found = await played('a = look("x")\nb = upper(a)\nc = look(b.text)\ndone(c)')
    assert found.begun == ["look", "upper", "look"]
    assert found.world.log == ["look x", "upper x after 0 orders", "look X AFTER 0 ORDERS"]
    started = found.of(CallStarted)
    assert [one.ahead for one in started] == [1, 2, 3]
    plan = next(i for i, event in enumerate(found.events) if isinstance(event, PlanStarted))
    assert all(found.events.index(one) > plan for one in started)
    assert all(found.events.index(one) < plan for one in found.of(CallBegunAhead))
    assert found.dropped == []
    assert found.result.output == "X AFTER 0 ORDERS after 0 orders"


async def test_a_call_goes_on_when_the_plan_arrives_before_its_end() -> None:
    here = world()
    gate = anyio.Event()
    events: list[Any] = []

    @tool(effect="reads")
    async def watch(what: str) -> str:
        """Look until the gate opens."""
        here.log.append(f"watch {what}")
        await gate.wait()
        return what

    async def write(_: object) -> Any:
        yield '```python\na = watch("x")\n'
        await rest()
        yield "b = upper(a)\ndone(b.text)\n```\n"

    agent = Agent(model=FunctionModel(write), environment=here, tools=[watch])
    async for event in agent.stream("Test."):
        events.append(event)
        if isinstance(event, CallStarted) and event.tool == "watch":
            gate.set()
    assert agent.result is not None
    assert agent.result.output == "X"
    assert here.log == ["watch x", "upper x"]
    kinds = [event.kind for event in events if "call_" in event.kind]
    begun = kinds.index("call_begun_ahead")
    assert begun < kinds.index("call_started") < kinds.index("call_ended_ahead")


@pytest.mark.parametrize(
    ("source", "begun"),
    [
        ('order("x")\na = look("y")\ndone(a)', []),
        ('a = look("y")\norder("x")\nb = look("z")\ndone(b)', ["look"]),
        ('order("x")\na = upper("y")\ndone(a)', ["upper"]),
        ('put("f", "x")\na = get("f")\ndone(a)', []),
        ('put("f", "x")\na = look("f")\ndone(a)', ["look"]),
        ('fill("s")\na = count("s")\nb = look("x")\ndone(a)', []),
        ('put("f", "x")\na = count("s")\ndone(a)', ["count"]),
        ('a = [look(one) for one in ["x", "y"]]\ndone(a)', ["look", "look"]),
        ('a = order("x")\nb = upper(a)\nc = upper(str(b))\ndone(c)', []),
        ('a = upper("x").text if upper("y") else order("z")\ndone(a)', []),
        ('expect(look("x"))\na = upper("y")\ndone(a)', ["look", "upper"]),
        ('note(look("x"))\na = upper("y")\ndone(a)', ["upper"]),
        ('a = upper("y")\ndone(0) if a else note("on")\nb = look("x")', ["upper"]),
        ('restart()\na = look("x")\ndone(a)', []),
        ("a = 1 + 1\nb = upper(str(a))\ndone(b)", ["upper"]),
        ('a = upper("bad")\nb = upper(a)\nc = look("x")\ndone(c)', ["upper", "look"]),
    ],
)
@pytest.mark.rule("O2")
async def test_what_an_effect_above_may_change_waits(source: str, begun: list[str]) -> None:
    found = await played(source)
    assert found.begun == begun
    assert found.world.early_effects == []
    assert found.dropped == []
    whole = await play(world(), [[block(source)]])
    assert whole.begun == []
    assert (found.entries, found.result.output) == (whole.entries, whole.result.output)
    assert found.told == whole.told


NO_FLOW = [
    ("no plan at all", 'a = look("x")\nb = look(unknown)'),
    ("a program", 'a = look("x")\nfor n in a:\n    order(n)'),
    ("two blocks", 'a = look("x")\n```\n```python\nb = 1'),
]


@pytest.mark.parametrize(("what", "source"), NO_FLOW)
async def test_what_began_for_no_flow_is_dropped_and_no_part_of_the_run(
    what: str, source: str
) -> None:
    plan = 'a = look("x")\nb = order(a)\ndone(b)'
    found = await play(world(), [slowly(source), slowly(plan)])
    assert found.result.output == "x after 0 orders 1"
    assert found.dropped == [1]
    assert [one.ahead for one in found.of(CallStarted)] == [2, None]
    assert found.of(CallServed) == []
    assert found.result.usage.calls == 3
    assert found.world.log == ["look x", "look x", "order x after 0 orders"]
    view = fold(found.events)
    assert [call.tool for call in view.dropped] == ["look"]
    assert [call.tool for call in view.rounds[0].calls] == ["look", "order"]
    assert view.ahead == ()


async def test_a_block_that_is_not_closed_is_no_plan() -> None:
    found = await play(world(), [['```python\na = look("x")\n', rest], [block("done(1)")]])
    assert found.dropped == [1]
    assert found.of(CallStarted) == []
    assert found.result.output == 1


async def test_a_cut_stream_leaves_nothing_behind() -> None:
    here = world(3)

    async def cut() -> None:
        await rest()
        raise ModelUnavailable("the reply was cut")

    reply = ['```python\na = look("x")\n', 'order(a)\nput("f", a)\nb = look("y")\n', cut]
    found = await play(here, [reply])
    assert found.result.status is RunStatus.ERROR
    assert found.begun == ["look"]
    assert found.dropped == [1]
    assert (here.orders, here.files, here.early_effects) == ([], {}, [])
    assert found.of(CallStarted, CallEnded) == []
    assert found.result.usage.calls == 1


async def test_a_call_that_runs_when_its_reply_is_cut_is_ended() -> None:
    here, ended = world(10**9), []

    async def cut() -> None:
        await rest()
        ended.append(len(here.log))
        raise ModelUnavailable("the reply was cut")

    found = await play(here, [['```python\na = look("x")\n', cut]])
    assert found.result.status is RunStatus.ERROR
    assert (ended, found.dropped) == ([1], [1])
    kinds = [event.kind for event in found.events]
    assert kinds[-1] == "run_ended"  # nothing of it was left running


async def test_nothing_begins_where_plans_are_approved() -> None:
    asked: list[list[str]] = []
    here = world()

    def approve(plan: object) -> str | None:
        asked.append(list(here.log))
        return None

    found = await play(here, [slowly('a = look("x")\ndone(a)')], approve=approve)
    assert (asked, found.begun, found.world.log) == ([[]], [], ["look x"])


async def test_a_limit_of_calls_ends_the_head_start_and_not_the_run() -> None:
    plan = 'a = look("x")\nb = look("y")\nc = look("z")\ndone([a, b])'
    limit = Budget(calls=2)
    found = await play(world(), [slowly(plan)], budget=limit)
    assert found.result.status is RunStatus.CAPPED
    assert found.begun == ["look", "look"]
    assert found.result.usage.calls == 2


async def test_what_the_ledger_holds_is_served_and_does_not_begin_again() -> None:
    first = 'a = look("x")\nb = upper(a)\nc = order("bad")\ndone(c)'
    again = 'a = look("x")\nb = upper(a)\nc = order("good")\nd = upper("new")\ndone(c)'
    found = await play(world(), [slowly(first), slowly(again)])
    assert found.result.output == "good 1"
    assert found.begun == ["look", "upper", "upper"]
    assert [one.serial for one in found.of(CallServed)] == [1, 2]
    assert found.dropped == []


async def test_a_rest_begins_early_with_the_names_of_the_run() -> None:
    first = 'a = upper("x")\nb = order("bad")'
    found = await play(world(), [slowly(first), slowly("c = upper(a.text + a.text)\ndone(c.text)")])
    assert found.result.output == "XX"
    assert [one.round for one in found.of(CallBegunAhead)] == [1, 2]


async def test_files_that_go_back_are_not_seen_as_they_were_before() -> None:
    first = 'put("f", "old")\na = get("f")\nexpect(a == "new", "wrong")'
    again = 'restart()\nb = get("f")\nput("f", "new")\na = get("f")\ndone([a, b])'
    found = await play(world(), [slowly(first), slowly(again)])
    assert found.result.output == ["new", ""]
    assert found.dropped == []


@pytest.mark.rule("R1")
async def test_a_look_at_files_that_then_go_back_is_taken_again() -> None:
    first = 'a = look("x")\nput("f", "old")\nexpect(a == "new", "wrong")'
    again = 'a = look("x")\nb = get("f")\nput("f", "old")\ndone(b)'
    found = await play(world(), [slowly(first), slowly(again)])
    whole = await play(world(), [[block(first)], [block(again)]])
    assert found.result.output == whole.result.output == ""
    assert found.of(PassRestarted)
    assert found.dropped == [2]


async def test_two_equal_calls_are_two() -> None:
    found = await played('a = look("x")\nb = look("x")\ndone([a, b])')
    assert found.world.log == ["look x", "look x"]
    assert [one.ahead for one in found.of(CallStarted)] == [1, 2]


async def test_calls_that_began_early_are_shown_and_counted_once() -> None:
    found = await played('# look\na = look("x")\norder(a)\ndone(a)')
    states = [fold(found.events[: n + 1]) for n in range(len(found.events))]
    begun = next(view for view in states if view.ahead)
    assert (begun.rounds, begun.ahead[0].tool, begun.ahead[0].scope) == ((), "look", "look")
    assert max(len(view.ahead) for view in states) == 1
    calls = fold(found.events).rounds[0].calls
    assert [(call.tool, call.ahead) for call in calls] == [("look", 1), ("order", None)]
    before = next(view for view in reversed(states) if view.status is None)
    assert before.usage.calls == found.result.usage.calls == 2
    whole = await play(world(), [[block('# look\na = look("x")\norder(a)\ndone(a)')]])
    assert essence(fold(whole.events)) == essence(fold(found.events))


class Retrying:
    """A model whose first attempt is cut when some of it was heard; a later one is the reply."""

    name, profile = "retrying", Profile(input_usd_per_million=0.0, output_usd_per_million=0.0)

    async def complete(self, request: Request, on_text: OnText | None = None) -> Reply:
        assert on_text is not None
        on_text('```python\na = look("x")\nb = look("y")\n')
        await rest()
        return Reply(text=block('a = look("x")\norder(a)\ndone(a)'), cost_usd=0.0)

    async def close(self) -> None: ...


async def test_what_began_of_an_attempt_that_was_not_the_reply_is_dropped() -> None:
    here = world()
    agent = Agent(model=Retrying(), environment=here)
    events = [event async for event in agent.stream("Test.")]
    assert agent.result is not None
    assert agent.result.output == "x after 0 orders"
    assert [one.number for one in events if isinstance(one, CallDropped)] == [1, 2]
    assert here.log == ["look x", "look y", "look x", "order x after 0 orders"]


async def test_calls_that_ask_a_model_wait_for_the_plan() -> None:
    replies = [slowly('a = llm("say it")\nb = look("x")\ndone(a)'), ["said"]]
    found = await play(world(), replies)
    assert found.result.output == "said"
    assert found.begun == ["look"]


async def test_what_failed_early_by_no_fault_of_its_tool_runs_with_the_plan() -> None:
    attempts: list[str] = []

    @tool(effect="reads")
    async def shaky(what: str) -> str:
        """Look through a line that is down at first."""
        attempts.append(what)
        if len(attempts) == 1:
            raise InfrastructureError("the line is down")
        return what

    found = await played('a = shaky("x")\ndone(a)', tools=[shaky])
    assert found.result.output == "x"
    assert (attempts, found.dropped) == (["x", "x"], [1])
