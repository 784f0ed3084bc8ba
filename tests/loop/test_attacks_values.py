"""Attacks by what tools are given and return (O5, L5, L8)."""

from __future__ import annotations

import asyncio
import collections
import dataclasses
import enum
import sys
import threading
import types
from collections.abc import Callable
from typing import Any

import anyio
import pydantic
import pytest

from planloop import Agent, Budget, Context, FunctionModel, Request, Result, RunStatus, tool
from planloop.tool import Tool
from planloop.values import Handle
from tests.loop.worlds import World, block, scripted


def run(tools: list[Tool], *plans: str, **options: Any) -> tuple[Result, list[str]]:
    told: list[str] = []

    def answer(request: Request) -> str:
        told.append(request.messages[-1].text)
        return block(plans[len(told) - 1]) if len(told) <= len(plans) else "That is all."

    agent: Agent[Any, Any] = Agent(model=FunctionModel(answer), tools=tools, **options)
    return agent.run_sync("x"), told


class Colour(str, enum.Enum):  # noqa: UP042 - the older kind prints otherwise
    RED = "red"


class Point(pydantic.BaseModel):
    x: int
    tags: set[str] = {"b", "a"}


@dataclasses.dataclass
class Pair:
    left: Any
    right: Any


Named = collections.namedtuple("Named", "a b")

RETURNED: list[tuple[Callable[[], Any], Any]] = [
    (lambda: Point(x=1), {"x": 1, "tags": ["a", "b"]}),
    (lambda: Pair(Point(x=1), (1, 2)), {"left": {"x": 1, "tags": ["a", "b"]}, "right": [1, 2]}),
    (lambda: Named(1, 2), [1, 2]),
    (lambda: {Colour.RED: Colour.RED, 1: 2, None: 3}, {"red": "red", "1": 2, "null": 3}),
    (lambda: collections.OrderedDict(a=collections.Counter("aab")), {"a": {"a": 2, "b": 1}}),
    (lambda: types.MappingProxyType({"a": frozenset({2, 1})}), {"a": [1, 2]}),
    (lambda: bytearray(b"x"), b"x"),
    (lambda: [float("inf"), -0.0], [float("inf"), -0.0]),
    (lambda: {"keys": 1, "items": {"get": 2}}, {"keys": 1, "items": {"get": 2}}),
]


@pytest.mark.rule("O5")
@pytest.mark.parametrize("case", range(len(RETURNED)))
def test_results_become_plain_values(case: int) -> None:
    make, expected = RETURNED[case]

    @tool(effect="reads")
    def fetch() -> Any:
        """Get it."""
        return make()

    result, _ = run([fetch], "x = fetch()\ndone(x)")
    assert result.output == expected

    def types_of(value: Any) -> set[type]:
        inner = value.values() if isinstance(value, dict) else value
        below = set().union(*map(types_of, inner)) if isinstance(value, dict | list) else set()
        keys = {type(key) for key in value} if isinstance(value, dict) else set()
        return below | keys | {type(value)}

    names = {kind.__name__ for kind in types_of(result.output)}
    assert names <= {"Record", "list", "str", "int", "float", "bytes", "bool", "NoneType"}


def generator() -> Any:
    yield 1


@pytest.mark.rule("O5")
@pytest.mark.parametrize("made", [generator, object, lambda: iter([1]), lambda: len, lambda: sys])
def test_other_results_are_handles_that_tools_of_the_app_accept(made: Callable[[], Any]) -> None:
    seen: list[Any] = []
    thing = made()

    @tool(effect="reads")
    def fetch() -> Any:
        """Get it."""
        return thing

    @tool(effect="reads")
    def use(thing: Any) -> str:
        """Use it."""
        seen.append(thing)
        return "used"

    result, _ = run([fetch, use], "x = fetch()", "use(x)\nuse([x])\nuse({'a': x})\ndone(x)")
    assert isinstance(result.output, Handle)
    assert any(one is thing for one in seen)
    assert [thing] in seen
    assert {"a": thing} in seen


@pytest.mark.rule("L5")
@pytest.mark.parametrize("how", ["exit", "cancel", "exit in thread", "stop iteration", "deep"])
@pytest.mark.parametrize("effect", ["reads", "external"])
def test_whatever_a_tool_raises_is_an_observation(how: str, effect: str) -> None:
    async def leave() -> Any:
        """Leave."""
        if how == "cancel":
            raise asyncio.CancelledError
        if how == "exit":
            sys.exit(3)
        return leave_now()

    def leave_now() -> Any:
        """Leave."""
        if how == "deep":
            return leave_now()
        if how == "stop iteration":
            raise StopIteration
        sys.exit(3)

    function = leave if how in ("exit", "cancel") else leave_now
    result, told = run([tool(effect=effect, name="leave")(function)], "leave()", "done('on')")
    assert result.output == "on", told
    assert "leave" in told[1]


@pytest.mark.rule("L8")
def test_a_served_value_is_fresh_and_arguments_are_the_tools_own() -> None:
    broken = [True]

    @tool(effect="pure")
    def rows() -> list[dict[str, int]]:
        """Some rows."""
        return [{"n": 1}]

    @tool(effect="reads")
    def spoil(rows: Any) -> int:
        """Change what it is given."""
        rows.append("spoilt")
        rows[0]["n"] = 99
        return len(rows)

    @tool(effect="reads")
    def work() -> int:
        """Works the second time."""
        if broken.pop() if broken else False:
            raise ValueError("not yet")
        return 1

    plan = "r = rows()\na = spoil(r)\nb = spoil(rows=[*r])\nc = work()\ndone([r, a, b, rows()])"
    result, _ = run([rows, spoil, work], plan, plan)
    assert result.output == [[{"n": 1}], 2, 2, [{"n": 1}]]


def test_the_runs_names_cannot_be_changed_by_a_tool() -> None:
    @tool(effect="reads")
    def meddle(context: Context[None]) -> str:
        """Change the names."""
        context.names["rows"].append("spoilt")
        try:
            context.names["new"] = 1  # type: ignore[index]
        except TypeError:
            return "refused"
        return "took it"

    result, _ = run([meddle], "rows = [1]", "x = meddle()\ndone([x, rows])")
    assert result.output == ["refused", [1]]


def test_a_tool_that_returns_its_context_ends_no_run() -> None:
    @tool(effect="reads")
    def leak(context: Context[None]) -> Any:
        """Return the context."""
        return context

    result, _ = run([leak], "x = leak()\ndone('on')", "done('on')")
    assert result.output == "on"


def test_eight_blocking_tools_run_at_once() -> None:
    barrier = threading.Barrier(8, timeout=20)

    @tool(effect="reads")
    def meet(n: int) -> int:
        """Wait for the others."""
        barrier.wait()
        return n

    result, _ = run([meet], "x = [meet(n) for n in range(8)]\ndone(x)")
    assert result.output == list(range(8))


def test_a_tool_may_run_an_agent_of_its_own() -> None:
    @tool(effect="reads")
    async def ask(text: str) -> Any:
        """Ask another agent."""
        return (
            await Agent(model=FunctionModel(lambda _: block(f"done('{text}')"))).run(text)
        ).output

    @tool(effect="reads")
    def ask_sync(text: str) -> Any:
        """Ask another agent."""
        return Agent(model=FunctionModel(lambda _: block(f"done('{text}')"))).run_sync(text).output

    result, _ = run([ask, ask_sync], "x = [ask('a'), ask_sync('b'), ask('c')]\ndone(x)")
    assert result.output == ["a", "b", "c"]


def test_a_huge_result_is_bounded_in_feedback_and_whole_in_its_name() -> None:
    @tool(effect="reads")
    def fetch() -> Any:
        """Get it."""
        return [{"n": n, "text": "x" * 100} for n in range(50_000)]

    result, told = run([fetch], "fetch()", "x = fetch()\ny = len(x)", "done(y)")
    assert result.output == 50_000
    assert max(len(text) for text in told) < 30_000


@pytest.mark.parametrize("depth", [150, 199, 250, 5_000])
def test_a_deep_result_is_kept_or_refused(depth: int) -> None:
    @tool(effect="reads")
    def fetch() -> Any:
        """Get it."""
        value: Any = 1
        for _ in range(depth):
            value = [value]
        return value

    result, told = run([fetch], "x = fetch()\ndone('ok')", "done('refused')")
    assert result.output == ("ok" if depth < 200 else "refused"), told[-1]


def test_a_blocked_thread_holds_up_no_end() -> None:
    release = threading.Event()

    @tool(effect="reads")
    def block_thread() -> bool:
        """Block."""
        return release.wait(60)

    started = anyio.run(anyio_now)
    try:
        result, _ = run([block_thread], "block_thread()", budget=Budget(wall_s=0.3))
    finally:
        release.set()
    assert result.status is RunStatus.CAPPED
    assert anyio.run(anyio_now) - started < 20


async def anyio_now() -> float:
    return anyio.current_time()


@pytest.mark.rule("R9")
def test_a_repeated_call_with_huge_arguments_is_named_in_short() -> None:
    world = World()
    _, told = scripted(world, [block('look("x" * 1000000)')] * 5)
    assert "circles" in told[3]
    assert max(len(text) for text in told) < 30_000
