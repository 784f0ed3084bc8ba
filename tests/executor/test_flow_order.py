"""What runs at once, what waits, and what no longer starts (semantics O1-O3, L2)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest
from flow_world import Ready, Recorder, World, flow_of, run_here

from planloop.errors import BudgetSpent, CallDiverged, CallFailed, SandboxLost
from planloop.executor.flow import FlowOutcome, run_flow
from planloop.observation import Status

OK, FAILED, SKIPPED = Status.OK, Status.FAILED, Status.SKIPPED


def statuses(outcome: FlowOutcome) -> list[Status]:
    return [result.status for result in outcome.results]


def done_of(world: World) -> list[str]:
    return [f"{name}{given}" for name, given in world.effects]


def meeting(count: int) -> Callable[[Ready], Awaitable[None]]:
    """A wait that ends when so many calls are in it at once; it hangs if they never are."""
    here, all_here = 0, anyio.Event()

    async def meet(call: Ready) -> None:
        nonlocal here
        here += 1
        if here == count:
            all_here.set()
        await all_here.wait()

    return meet


AT_ONCE = [
    ("look(1)\nlook(2)\nlook(3)", 3),
    ("x = [look(n) for n in range(4)]", 4),
    ("x = [look(n) for n in range(3) if n != 1]\ny = double(5)", 3),
    ("x = [[double(a + b) for b in range(2)] for a in range(2)]", 4),
    ("x = double(double(1).v + double(2).v)\ny = double(3)", 3),
    ("x = look(1) + look(2)", 2),
    ("x = f'{look(1)} {look(2)}'", 2),
    ("x = {'a': look(1), 'b': look(2), **double(3)}", 3),
    ("x = sum(double(n).v for n in range(3))", 3),
    ("x = [look(1), double(2)][peek('a')]", 3),
    ("x = {n: double(n).v for n in range(3)}", 3),
    ("put('a', 1)\nput('b', 2)\nlog_it(1)", 3),
    ("x = [put(k, 1) for k in 'abc']", 3),
    ("x = [put(k, 1) for k in 'abc']\ny = [log_it(1) for k in 'a']", 4),
    ("put('a', 1)\npeek('b')\ndouble(2)", 3),
    ("pay(1)\nx = double(1)\ny = peek('log')", 3),
    ("x = double(1)\ny = x.v + 1\nz = double(9)", 2),
    ("x = look(1) or double(1)\ny = look(2)", 2),
    ("x = look(1) if 1 else pay(2)\ny = look(3)", 2),
]


@pytest.mark.rule("O2")
@pytest.mark.parametrize(("source", "count"), AT_ONCE)
def test_what_is_independent_runs_at_once(source: str, count: int) -> None:
    world = World()
    recorder = Recorder(world.tools)
    meet, met = meeting(count), 0

    async def first_ones(call: Ready) -> None:
        nonlocal met
        met += 1
        if met <= count:
            await meet(call)

    recorder.before = first_ones
    outcome = run_here(source, world, recorder)
    assert set(statuses(outcome)) == {OK}


IN_ORDER = [
    ("pay(1)\npay(2)", ["pay(1,)", "pay(2,)"]),
    ("put('a', 1)\nput('a', 2)", ["put('a', 1)", "put('a', 2)"]),
    ("put('a', 1)\npay(2)\nput('a', 3)", ["put('a', 1)", "pay(2,)", "put('a', 3)"]),
    ("x = pay(1).v + pay(2).v", ["pay(1,)", "pay(2,)"]),
    ("pay(pay(1).v + pay(2).v)", ["pay(1,)", "pay(2,)", "pay(3,)"]),
    ("x = [pay(n) for n in range(3)]", ["pay(0,)", "pay(1,)", "pay(2,)"]),
    ("x = [pay(a + b) for a in [10, 20] for b in [1, 2]]",
     ["pay(11,)", "pay(12,)", "pay(21,)", "pay(22,)"]),
    ("x = [pay(n) for n in range(3) if pay(n + 10).v != 11]",
     ["pay(10,)", "pay(0,)", "pay(11,)", "pay(12,)", "pay(2,)"]),
    ("x = f'{pay(1).v:{pay(2).v}} {pay(3).v}'", ["pay(1,)", "pay(2,)", "pay(3,)"]),
    ("x = {str(pay(1).v): pay(2), str(pay(3).v): pay(4)}",
     ["pay(1,)", "pay(2,)", "pay(3,)", "pay(4,)"]),
    ("x = str(pay(1).v).replace(str(pay(2).v), str(pay(3).v))",
     ["pay(1,)", "pay(2,)", "pay(3,)"]),
    ("x = [pay(1)][pay(0).v]", ["pay(1,)", "pay(0,)"]),
    ("x = pay(1).v < pay(0).v < pay(2).v", ["pay(1,)", "pay(0,)"]),
    ("x = pay(0).v or pay(1).v or pay(2).v", ["pay(0,)", "pay(1,)"]),
    ("x = pay(0).v and pay(1).v", ["pay(0,)"]),
    ("x = pay(2) if pay(0).v else pay(1)", ["pay(0,)", "pay(1,)"]),
]  # fmt: skip


@pytest.mark.rule("O2")
@pytest.mark.parametrize(("source", "effects"), IN_ORDER)
def test_effects_on_one_resource_keep_the_order_of_python(source: str, effects: list[str]) -> None:
    world = World()
    turns = iter([9, 0, 5, 0, 3, 0, 0, 0])
    outcome = run_here(source, world, Recorder(world.tools, turns))
    assert set(statuses(outcome)) == {OK}
    assert done_of(world) == effects


@pytest.mark.rule("O2")
@pytest.mark.parametrize(
    "source",
    [
        "put('a', 1)\nx = peek('a')",
        "put('a', double(0).v + 1)\nx = peek('a')",
        "[put(k, 1) for k in ['b', 'a']]\nx = peek('a')",
        "_, x = put('a', 1), peek('a')",
        "x = put('a', 1) and peek('a')",
        "put('a', 1) if double(1).v else put('a', 7)\nx = peek('a')",
    ],
)
def test_a_read_waits_for_earlier_writes_of_what_it_reads(source: str) -> None:
    world = World()
    outcome = run_here(source, world, Recorder(world.tools, iter([20] * 9)))
    assert outcome.names["x"] == 1


@pytest.mark.rule("O2")
def test_a_write_waits_for_earlier_reads() -> None:
    world = World()
    turns = iter([20, 0])
    outcome = run_here("x = peek('a')\nput('a', 1)", world, Recorder(world.tools, turns))
    assert outcome.names["x"] == 0


@pytest.mark.rule("O1")
def test_a_tool_without_declared_resources_touches_the_world() -> None:
    world = World()
    outcome = run_here("pay(1)\nx = look(1)\ny = peek('a')", world, Recorder(world.tools))
    assert outcome.names["x"][0].name == "n1"


AFTER_A_FAILURE = [
    ("expect(0, 'no')\npay(1)", [FAILED, SKIPPED], []),
    ("pay(13)\npay(1)", [FAILED, SKIPPED], []),
    ("pay(13)\nput('a', 1)", [FAILED, SKIPPED], []),
    ("pay(1)\nx = 1 / 0\npay(2)", [OK, FAILED, SKIPPED], ["pay(1,)"]),
    ("x = double(13)\ny = x.v\nz = double(2)", [FAILED, SKIPPED, OK], []),
    ("x = double(13)\ny = look(1)\nput('a', 1)", [FAILED, OK, SKIPPED], []),
    ("pay(13)\ny = look(1)", [FAILED, SKIPPED], []),
    ("put('a', 13)\nx = peek('a')\ny = peek('b')", [FAILED, SKIPPED, OK], []),
    ("x = look(13)\npay(1)\ny = look(2)\nput('a', 2)", [FAILED, SKIPPED, SKIPPED, SKIPPED], []),
    ("x = [1 / 0, pay(1)]", [FAILED], []),
    ("x = pay(1).v + 1 / 0", [FAILED], ["pay(1,)"]),
    ("x = [pay(1 // n) for n in [1, 0, 1]]", [FAILED], ["pay(1,)"]),
    ("x = [pay(n) for n in [1, 13, 2]]", [FAILED], ["pay(1,)"]),
    ("x = [pay(n) for n in [1, 2, 3] if 1 / (2 - n)]", [FAILED], ["pay(1,)"]),
    ("x = [pay(int(n)) for n in map(int, ['1', 'b', '3'])]", [FAILED], ["pay(1,)"]),
    ("x = [pay(a) for a, b in [(1, 2), 3, (4, 5)]]", [FAILED], ["pay(1,)"]),
    ("x = (pay(1).v, peek('a', 13), pay(2).v)", [FAILED], ["pay(1,)"]),
    ("x = double(1).upper(pay(1))", [FAILED], []),
    ("x = f'{look(1):d}{pay(1)}'", [FAILED], []),
    ("x = {**look(1), 'k': pay(1)}", [FAILED], []),
    ("x = [1]\ny = {**x, 'k': pay(1)}", [OK, FAILED], []),
    ("x = [*double(1).v, pay(1)]", [FAILED], []),
    ("x = dict(**look(1), k=pay(1))", [FAILED], []),
    ("pay('one')\npay(1)", [FAILED, SKIPPED], []),
    ("note('a')\nx = 1 / 0\nnote('b')", [OK, FAILED, SKIPPED], []),
    ("x = 1 / 0\ndone(1)", [FAILED, SKIPPED], []),
    ("x = 1 / 0\ngive_up('x')", [FAILED, SKIPPED], []),
    ("x = 1 / 0\ncheck(run='x')", [FAILED, SKIPPED], []),
    ("x = double(13)\nx = 1\ny = x", [FAILED, OK, OK], []),
]


@pytest.mark.rule("O3")
@pytest.mark.parametrize(("source", "expected", "effects"), AFTER_A_FAILURE)
def test_after_a_failure_no_later_effect_starts(
    source: str, expected: list[Status], effects: list[str]
) -> None:
    world = World()
    source = source.replace("pay('one')", "pay(str(peek('a')) + 'x')")
    recorder = Recorder(world.tools)
    outcome = run_here(source, world, recorder)
    assert done_of(world) == effects
    assert statuses(outcome) == expected
    assert not recorder.proposed
    assert not outcome.done
    assert outcome.gave_up is None


@pytest.mark.rule("O3")
def test_effects_before_a_failure_in_the_text_still_run() -> None:
    world = World()
    turns = iter([30, 0, 0])
    outcome = run_here("pay(1)\npay(2)\nexpect(0)", world, Recorder(world.tools, turns))
    assert statuses(outcome) == [OK, OK, FAILED]
    assert done_of(world) == ["pay(1,)", "pay(2,)"]


@pytest.mark.rule("O3")
def test_an_effect_on_a_disjoint_resource_may_be_done_although_an_earlier_one_fails() -> None:
    world = World()
    outcome = run_here("put('a', 13)\nlog_it(1)", world, Recorder(world.tools, iter([30, 0])))
    assert statuses(outcome) == [FAILED, OK]


@pytest.mark.rule("O3")
@pytest.mark.parametrize("last", ["", "\nx = 1 / 0"])
def test_a_failure_that_comes_while_a_call_waits_for_another_stops_it(last: str) -> None:
    world = World()
    turns = iter([30, 5, 0])
    source = "put('b', 1)\nput('a', 13)\nput('b', 2)" + last
    outcome = run_here(source, world, Recorder(world.tools, turns))
    assert statuses(outcome)[:3] == [OK, FAILED, SKIPPED]


@pytest.mark.rule("O3")
def test_done_waits_for_effects_on_disjoint_resources_too() -> None:
    world = World()
    outcome = run_here("put('a', 13)\ndone(1)", world, Recorder(world.tools, iter([30])))
    assert statuses(outcome) == [FAILED, SKIPPED]


@pytest.mark.rule("O3")
def test_a_prepared_call_that_may_not_start_is_told() -> None:
    world = World()
    recorder = Recorder(world.tools)
    run_here("x = peek('a', 13)\nput('a', 1)\nput('b', 1)", world, recorder)
    assert [ready.call.arguments["key"] for ready in recorder.left_out] == ["a", "b"]


@pytest.mark.rule("O3")
def test_a_conditional_done_ends_the_plan_there() -> None:
    world = World()
    source = "x = double(2)\ndone(x.v) if x.v > 1 else None\npay(1)\ny = 3\nz = y"
    outcome = run_here(source, world)
    assert (outcome.done, outcome.output) == (True, 4)
    assert statuses(outcome)[:3] == [OK, OK, SKIPPED]
    assert done_of(world) == []
    assert "y" not in outcome.names


def test_a_conditional_done_that_is_not_taken_ends_nothing() -> None:
    world = World()
    outcome = run_here("done() if 0 else note('on')\npay(1)\ngive_up('enough')", world)
    assert statuses(outcome) == [OK, OK, OK]
    assert (outcome.done, outcome.gave_up, outcome.notes) == (False, "enough", ("on",))


@pytest.mark.rule("L2")
@pytest.mark.parametrize(
    "source",
    [
        "pay(double(1).v)\npay(2)",
        "x = look(double(double(1).v).v % 3)\ny = look(1)",
        "x = [double(n) for n in [d.v for d in look(3)]]\ny = double(0)",
        "x = double(double(double(0).v).v)\ny = double(0)",
        "x = [look(double(n).v % 2) for n in range(3)]\ny = look(0)",
        "x = double(1) if double(0).v else double(2)\ny = double(2)",
        "x = double(0).v and double(1)\ny = double(0)",
    ],
)
def test_equal_calls_run_by_their_place_in_the_text(source: str) -> None:
    world = World()
    turns = iter([7, 0, 5, 0, 3, 0, 2, 0, 9, 0, 0])
    recorder = Recorder(world.tools, turns, by_place=True)
    outcome = run_here(source, world, recorder)
    assert set(statuses(outcome)) == {OK}
    for name in {ready.call.tool.name for ready in recorder.started}:
        places = [ready.place for ready in recorder.started if ready.call.tool.name == name]
        assert places == sorted(places)


def test_a_failure_tells_class_text_line_and_the_values_of_names() -> None:
    world = World()
    outcome = run_here("n = 13\nx = [\n  double(i + n)\n  for i in range(1)\n]", world)
    error = outcome.results[1].error
    assert error is not None
    assert (error.type, error.line) == ("Refused", 3)
    assert error.message == "13 brings bad luck"
    assert dict(error.values) == {"n": "13", "i": "0"}


def test_a_failed_expectation_tells_its_reason_or_its_source() -> None:
    outcome = run_here("n = 2\nexpect(n > 2, f'only {n}')\nexpect(n > 3)", World())
    errors = [result.error for result in outcome.results[1:]]
    assert [(e.type, e.message) for e in errors if e] == [
        ("ExpectationFailed", "only 2"),
        ("ExpectationFailed", "expected n > 3"),
    ]


def test_the_values_of_a_failure_are_bounded() -> None:
    outcome = run_here("a = [['x' * 10**3] * 100] * 5\nb = {i: a for i in range(9)}\nb[a]", World())
    error = outcome.results[2].error
    assert error is not None
    assert all(len(text) < 300 for _, text in error.values)


@pytest.mark.rule("O5")
def test_values_that_leave_a_statement_have_the_form_that_every_level_knows() -> None:
    world = World()
    source = "a = (1, {2, 1})\nb = {1: range(2)}\nc = b.items()\nd = a == (1, {1, 2})\ndone((a, b))"
    outcome = run_here(source, world)
    assert outcome.names == {
        "a": [1, [1, 2]],
        "b": {"1": [0, 1]},
        "c": [[1, [0, 1]]],
        "d": True,
    }
    assert outcome.output == [[1, [1, 2]], {"1": [0, 1]}]


@pytest.mark.rule("O5")
def test_what_exists_only_inside_a_statement_may_not_be_bound() -> None:
    import datetime as dt

    names = {"day": dt.date(2024, 1, 2)}
    outcome = run_here("a = day - day\nb = (day - day).days", World(), names=names)
    assert statuses(outcome) == [FAILED, OK]
    assert "total_seconds" in str(outcome.results[0].error)


def test_a_tool_gets_values_of_its_own() -> None:
    world = World()
    row = {"v": [1]}
    outcome = run_here("x = [row, row]\ny = double(len(x))['items']", world, names={"row": row})
    assert outcome.names["y"] == [2, 3]
    outcome.names["x"][0]["v"].append(2)
    assert row == {"v": [1]}


@pytest.mark.rule("O6")
def test_rebinding_reads_the_binding_above() -> None:
    outcome = run_here("x = 1\ny = x\nx = x + 1\nz = [x for x in [x, 5]]\nw = x", World())
    assert outcome.names == {"x": 2, "y": 1, "z": [2, 5], "w": 2}


class Ended(BaseException):
    """Ends a plan from outside."""


@pytest.mark.rule("L7")
@pytest.mark.parametrize(
    "signal",
    [Ended("x"), BudgetSpent("calls", 1, 2), SandboxLost("gone"), RuntimeError("a bug")],
)
@pytest.mark.parametrize(
    "source",
    [
        "pay(1)\npay(2)",
        "look(1)\nlook(2)\nlook(3)",
        "x = [look(n) for n in range(5)]\ny = look(1)",
        "x = pay(look(1)[0].v + look(2)[0].v)",
        "x = (look(1), look(2))",
    ],
)
def test_what_ends_the_plan_from_outside_comes_out_as_itself(
    signal: BaseException, source: str
) -> None:
    world = World()
    recorder = Recorder(world.tools)

    async def end(call: Ready) -> None:
        raise signal

    recorder.before = end

    async def go() -> None:
        with anyio.fail_after(5):
            await run_flow(flow_of(source, world), {}, recorder)

    with pytest.raises(type(signal)) as caught:
        anyio.run(go)
    assert caught.value is signal
    assert done_of(world) == []


def test_a_diverged_call_makes_its_statement_diverged() -> None:
    world = World()
    recorder = Recorder(world.tools)

    async def diverge(call: Ready) -> None:
        raise CallDiverged("Diverged", "done before")

    recorder.before = diverge
    outcome = run_here("pay(1)\npay(2)", world, recorder)
    assert statuses(outcome) == [Status.DIVERGED, SKIPPED]


def test_a_check_that_is_refused_fails_its_statement() -> None:
    world = World()

    class Refusing(Recorder):
        async def propose(self, arguments: dict[str, Any], statement: Any) -> None:
            raise CallFailed("CheckRefused", "too late")

    outcome = run_here("check(run='x')\npay(1)", world, Refusing(world.tools))
    assert statuses(outcome) == [FAILED, SKIPPED]


def test_a_proposed_check_is_handed_on() -> None:
    world = World()
    recorder = Recorder(world.tools)
    run_here("name = 'a'\ncheck(file=name + '.txt', contains='x')", world, recorder)
    assert recorder.proposed == [{"file": "a.txt", "contains": "x"}]


def test_a_statement_with_a_workspace_effect_is_marked() -> None:
    outcome = run_here("pay(1)\nx = [put('a', n) for n in []]\nlook(1)", World())
    assert [r.has_workspace_effect for r in outcome.results] == [False, True, False]


def test_a_long_evaluation_does_not_hold_up_other_calls() -> None:
    world = World()
    recorder = Recorder(world.tools)
    source = (
        "x = sum([i % 7 for i in range(20000)])\ny = look(1)\nz = sum([i for i in range(20000)])"
    )
    outcome = run_here(source, world, recorder)
    assert statuses(outcome) == [OK, OK, OK]


@pytest.mark.parametrize(
    "source",
    [
        "x = pay(0)\n" + "x = pay(x.v + 1)\n" * 300,
        "pay(1)\n" * 300,
        "look(1)\npay(1)\n" * 150,
        "".join(f"put('{i}', 1)\n" for i in range(300)),
        "x = [put(str(i), 1) for i in range(300)]",
        "pay(double(1).v)\n" * 150,
    ],
)
def test_many_calls_wait_for_one_another_cheaply(source: str) -> None:
    import time

    world = World()
    source = source.replace("x.v + 1", "(x.v + 1) % 9")
    started = time.process_time()
    outcome = run_here(source, world, seconds=30)
    assert set(statuses(outcome)) == {OK}
    assert time.process_time() - started < 3  # it takes 0.1; quadratic with a wake-up each takes 30
