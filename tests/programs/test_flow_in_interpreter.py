"""Generated flows do the same in the interpreter as in the evaluator, and as in plain Python."""

from __future__ import annotations

import itertools
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from planloop.executor.flow import run_flow
from planloop.executor.programs.living import Programs
from planloop.language import as_program
from planloop.observation import Status
from planloop.state import Execution
from tests.programs.rounds import Room, Rounds

sys.path.insert(0, str(Path(__file__).parents[1] / "executor"))

from flow_world import Recorder, World, flow_of, run_in_python
from test_flow_like_python import flows

pytestmark = pytest.mark.anyio
SLOWLY = (HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.function_scoped_fixture)


class Inside:
    """One interpreter for many flows, each of which is a run of its own."""

    def __init__(self, found: Room) -> None:
        self._sandbox = found.sandbox
        self._programs = Programs(found.sandbox)

    async def run(self, source: str, world: World) -> Execution:
        rounds = Rounds(self._sandbox, list(world.tools.values()), programs=self._programs)
        program = as_program(flow_of(source, world), ())
        return await rounds.executor.execute(program, rounds.state)

    async def end(self) -> None:
        await self._programs.end()


@pytest.fixture(scope="module")
async def inside(boxed: Room) -> AsyncIterator[Inside]:
    made = Inside(boxed)
    yield made
    await made.end()


async def compare(inside: Inside, source: str) -> None:
    """Values, effects, notes and error classes of the three ways to run a flow."""
    here, there, within = World(), World(), World()
    done = await inside.run(source, within)
    python = run_in_python(source, there)
    recorder = Recorder(here.tools, itertools.cycle([0]))
    outcome = await run_flow(flow_of(source, here), {}, recorder)
    assert within.effects == there.effects
    failed = [one for one in done.statements if one.status is Status.FAILED]
    evaluated = [one for one in outcome.results if one.status is Status.FAILED]
    assert list(done.notes) == python.notes
    if python.failed_at is None:
        assert not failed, (failed, source)
        assert (done.done, done.output) == (python.done, python.output)
        bound = {name: done.bound[name] for name in python.names}
        assert bound == python.names == outcome.names
        return
    error, other = failed[0].error, evaluated[0].error
    assert error is not None
    assert other is not None
    assert failed[0].index == python.failed_at
    assert error.type == other.type == type(python.error).__name__


@pytest.mark.rule("O5")
@settings(max_examples=150, suppress_health_check=SLOWLY)
@given(source=flows())
async def test_a_flow_is_the_same_in_the_interpreter(inside: Inside, source: str) -> None:
    await compare(inside, source)


@pytest.mark.slow
@settings(max_examples=10_000, suppress_health_check=SLOWLY)
@given(source=flows())
async def test_ten_thousand_flows(inside: Inside, source: str) -> None:
    await compare(inside, source)
