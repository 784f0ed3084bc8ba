"""A small world for flows: tools of all four effect classes over one state, and two ways to run.

`run_here` runs a plan by the scheduler, `run_in_python` by the real interpreter; both record.
"""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import anyio
import anyio.lowlevel

from planloop.errors import CallFailed
from planloop.executor.flow import FlowOutcome, run_flow
from planloop.language import RESERVED, parse
from planloop.language.settle import settle
from planloop.plan import CallSite, Flow, Place, Statement
from planloop.state import StatementResult
from planloop.tool import BoundCall, Tool, tool, tool_table
from planloop.values import Value, dump

UNLUCKY = 13
"""Every tool that is given this number fails."""


class Refused(ValueError):
    """A tool of the world failed."""


class World:
    """State that tools change and look at, and a record of what was done, in order."""

    def __init__(self) -> None:
        self.state: dict[str, int] = {}
        self.paid: list[int] = []
        self.effects: list[tuple[str, tuple[Any, ...]]] = []
        self.tools = tool_table(self._make(), RESERVED)

    def _make(self) -> list[Tool]:
        def lucky(number: int) -> int:
            if number == UNLUCKY:
                raise Refused(f"{number} brings bad luck")
            return number

        @tool(effect="pure")
        def double(n: int) -> dict[str, Any]:
            return {"v": 2 * lucky(n), "name": f"d{n}", "items": [n, n + 1]}

        @tool(effect="reads", resources=lambda given: [given["key"]])
        def peek(key: str, n: int = 0) -> int:
            return self.state.get(key, 0) + lucky(n)

        @tool(effect="reads")
        def look(n: int) -> list[dict[str, Any]]:
            return [{"v": i, "name": f"n{len(self.paid)}"} for i in range(lucky(n) % 4)]

        @tool(effect="workspace", resources=lambda given: [given["key"]])
        def put(key: str, n: int) -> int:
            self.effects.append(("put", (key, lucky(n))))
            self.state[key] = self.state.get(key, 0) + n
            return self.state[key]

        @tool(effect="external", resources=["log"])
        def log_it(n: int) -> int:
            self.effects.append(("log_it", (lucky(n),)))
            return n

        @tool
        def pay(n: int) -> dict[str, Any]:
            self.effects.append(("pay", (lucky(n),)))
            self.paid.append(n)
            return {"v": n, "name": f"p{len(self.paid)}"}

        return [double, peek, look, put, log_it, pay]


def resource_of(effect: tuple[str, tuple[Any, ...]]) -> str | None:
    """The declared resource of a recorded effect; None if it declares none."""
    name, given = effect
    return {"put": str(given[0]), "log_it": "log"}.get(name)


@dataclasses.dataclass(frozen=True)
class Ready:
    """A bound call."""

    call: BoundCall
    place: Place
    by_place: bool = False


class Recorder:
    """A dispatcher that runs tools directly, after as many turns of the loop as it is told."""

    def __init__(
        self, tools: dict[str, Tool], turns: Iterator[int] | None = None, by_place: bool = False
    ) -> None:
        self._tools = tools
        self._turns = turns
        self._by_place = by_place
        self.started: list[Ready] = []
        self.prepared: list[Ready] = []
        self.left_out: list[Ready] = []
        self.notes: list[Value] = []
        self.proposed: list[dict[str, Value]] = []
        self.ended: list[StatementResult] = []
        self.before: Callable[[Ready], Any] | None = None

    def prepare(
        self,
        site: CallSite,
        statement: Statement,
        place: Place,
        args: list[Value],
        kwargs: dict[str, Value],
        again: bool,
    ) -> Ready:
        assert place[0] == statement.index
        ready = Ready(self._tools[site.tool].bind(args, kwargs, again=again), place, self._by_place)
        self.prepared.append(ready)
        return ready

    async def run(self, prepared: Ready) -> Value:
        self.started.append(prepared)
        if self.before is not None:
            await self.before(prepared)
        for _ in range(next(self._turns) if self._turns else 1):
            await anyio.lowlevel.checkpoint()
        try:
            return dump(prepared.call.tool.function(**prepared.call.parameters))
        except Exception as error:
            raise CallFailed(type(error).__name__, str(error)) from error

    def skipped(self, prepared: Ready, why: str) -> None:
        assert why
        self.left_out.append(prepared)

    def note(self, text: Value, place: Place) -> None:
        self.notes.append(text)

    async def propose(self, arguments: dict[str, Value], statement: Statement) -> None:
        self.proposed.append(arguments)

    def statement_ended(self, statement: Statement, result: StatementResult, place: Place) -> None:
        assert statement.index == result.index == place[0]
        self.ended.append(result)


def flow_of(source: str, world: World, names: dict[str, Value] | None = None) -> Flow:
    """Parse a flow; anything else is an error of the test."""
    plan = parse(source, world.tools, names or {})
    assert isinstance(plan, Flow), plan
    return plan


def run_here(
    source: str,
    world: World,
    recorder: Recorder | None = None,
    names: dict[str, Value] | None = None,
    seconds: float = 5,
) -> FlowOutcome:
    """Run a plan by the scheduler, under a deadline."""
    flow = flow_of(source, world, names)
    recorder = recorder or Recorder(world.tools)

    async def go() -> FlowOutcome:
        with anyio.fail_after(seconds):
            return await run_flow(flow, names or {}, recorder)

    outcome = anyio.run(go)
    assert sorted(r.index for r in recorder.ended) == list(range(len(flow.statements)))
    return outcome


@dataclasses.dataclass
class InPython:
    """What the real interpreter made of a plan."""

    names: dict[str, Value]
    notes: list[str]
    failed_at: int | None = None
    error: BaseException | None = None
    failed_call: tuple[str, tuple[Any, ...]] | None = None
    done: bool = False
    output: Value = None
    gave_up: str | None = None


class ExpectationFailed(Exception):
    """As the scheduler names it."""


class _Done(BaseException):
    pass


def run_in_python(source: str, world: World) -> InPython:
    """Run a plan statement by statement in the real interpreter."""
    found = InPython({}, [])

    def called(one: Tool) -> Callable[..., Value]:
        def call(*args: Value, **kwargs: Value) -> Value:
            kwargs.pop("again", None)
            bound = one.bind(args, kwargs)
            try:
                return dump(one.function(**bound.parameters))
            except Refused:
                found.failed_call = (one.name, tuple(bound.arguments.values()))
                raise

        return call

    def expect(cond: Any, why: str = "") -> None:
        if not cond:
            raise ExpectationFailed(why)

    def done(answer: Value = None) -> None:
        found.done, found.output = True, settle(answer)
        raise _Done

    def give_up(why: str) -> None:
        found.gave_up = str(why)
        raise _Done

    scope: dict[str, Any] = {name: called(one) for name, one in world.tools.items()}
    scope |= {"expect": expect, "done": done, "give_up": give_up}
    scope["note"] = lambda text: found.notes.append(str(text))
    given = set(scope) | {"__builtins__"}
    for index, node in enumerate(ast.parse(source).body):
        try:
            exec(compile(ast.Module([node], []), "<plan>", "exec"), scope)
        except _Done:
            break
        except Exception as error:
            found.failed_at, found.error = index, error
            break
    found.names = {name: settle(scope[name]) for name in scope if name not in given}
    return found
