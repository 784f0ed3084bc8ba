"""Plans of NESTFUL: calls that refer to results of earlier calls, written by others."""

from __future__ import annotations

import anyio
import pytest

from planloop import Result, RunStatus
from planloop.errors import PlanInvalid
from planloop.language import parse
from planloop.plan import Flow
from tests.suites.nestful import (
    Gold,
    Step,
    Stubs,
    answers,
    counted,
    gold_calls,
    golds,
    resolved,
    source_of,
)
from tests.suites.running import Script, agent_of, block, run, run_many, table

GOLDS = golds()
REFUSED = {
    # A label is used twice, so that the next one is never bound.
    "glaive-94": (3, 46, "unknown name `var2`"),
    # Tools that the catalogue does not have.
    "glaive-28": (2, 8, "unknown function `create_task`"),
    "glaive-31": (1, 8, "unknown function `get_news_headlines`"),
    "glaive-81": (1, 8, "unknown function `search_book`"),
    # Arguments that the tool does not take.
    "executable-22": (1, 8, "unexpected keyword argument 'sortBy'"),
    "executable-28": (1, 8, "unexpected keyword argument 'sortBy'"),
    "executable-40": (4, 8, "unexpected keyword argument 'date'"),
    "executable-41": (7, 8, "unexpected keyword argument 'date'"),
    "executable-42": (4, 8, "unexpected keyword argument 'date'"),
    "executable-6": (2, 8, "unexpected keyword argument 'query'"),
    "executable-7": (2, 8, "unexpected keyword argument 'query'"),
    # Required arguments that are missing.
    "glaive-143": (2, 8, "missing a required argument: 'description'"),
    "glaive-56": (2, 8, "missing a required argument: 'text'"),
    "glaive-57": (2, 8, "missing a required argument: 'amount'"),
    "glaive-91": (2, 8, "missing a required argument: 'genre'"),
    "glaive-96": (2, 8, "missing a required argument: 'text'"),
    "sgd-10": (1, 8, "missing a required argument: 'pickup_time'"),
    "sgd-27": (2, 8, "missing a required argument: 'airlines'"),
    "sgd-44": (2, 8, "missing a required argument: 'appointment_time'"),
    "sgd-7": (2, 8, "missing a required argument: 'destination'"),
    # Values of another type than the tool's.
    "glaive-14": (1, 38, "`keywords`: Input should be a valid list"),
    "glaive-142": (2, 61, "`date_range`: Input should be a valid dictionary"),
    "glaive-148": (1, 38, "`keywords`: Input should be a valid list"),
    "glaive-150": (4, 59, "`price_range`: Input should be a valid dictionary"),
    "glaive-157": (2, 75, "`price_range`: Input should be a valid dictionary"),
    "glaive-19": (4, 59, "`grades.0`: Input should be a valid number"),
    "glaive-23": (1, 53, "`grades.0`: Input should be a valid number"),
    "glaive-40": (3, 117, "`optimize_route`: Input should be a valid boolean"),
    "glaive-66": (2, 30, "`phone_number`: Input should be a valid string"),
    "glaive-85": (1, 135, "`attendees`: Input should be a valid string"),
}
"""Gold sequences that do not fit their own catalogue: line, column and reason."""
FAILS = {"glaive-63": "attendees"}
"""Gold sequences whose values turn out to have another type than the tool's when they run."""
VALID = [gold for gold in GOLDS if gold.id not in REFUSED]
RUNNABLE = [gold for gold in VALID if gold.id not in FAILS]


def test_every_gold_sequence_is_a_flow_or_is_refused_at_its_place() -> None:
    found: dict[str, tuple[int, int, str]] = {}
    for gold in GOLDS:
        try:
            plan = parse(source_of(gold), table(Stubs(gold).tools("reads")), ())
        except PlanInvalid as error:
            *_, reason = REFUSED.get(gold.id, ("",))
            shown = reason if reason and reason in error.message.splitlines()[0] else error.message
            found[gold.id] = (error.line, error.column, shown)
        else:
            assert isinstance(plan, Flow), (gold.id, plan)
            assert len(plan.statements) == len(gold.steps) + 1, gold.id
    assert found == REFUSED
    assert len(GOLDS) - len(found) == 90


def check_run(gold: Gold, stubs: Stubs, result: Result, told: list[str]) -> None:
    assert result.status is RunStatus.ANSWERED, told[-1]
    assert len(told) == 1, told[-1]
    assert result.output == resolved(gold.answer, answers(gold))


class Meeting(Stubs):
    """Steps that need no other one wait for each other: only a plan that overlaps them ends."""

    def __init__(self, gold: Gold) -> None:
        super().__init__(gold)
        self._missing = sum(step.is_root for step in gold.steps)
        self._met = anyio.Event()

    async def before_answer(self, step: Step) -> None:
        if not step.is_root:
            return
        self._missing -= 1
        if not self._missing:
            self._met.set()
        with anyio.move_on_after(10):
            await self._met.wait()
        assert not self._missing, f"{self._missing} independent steps have not started"


@pytest.mark.rule("O2")
def test_gold_sequences_of_looks_make_the_gold_calls_and_overlap_what_is_independent() -> None:
    async def job(gold: Gold) -> None:
        stubs, script = Meeting(gold), Script([block(source_of(gold))])
        result = await agent_of(script, stubs.tools("reads")).run(gold.id)
        check_run(gold, stubs, result, script.told)
        assert counted(stubs.called) == counted(gold_calls(gold))

    assert run_many({gold.id: lambda gold=gold: job(gold) for gold in RUNNABLE}) == {}
    assert sum(sum(step.is_root for step in gold.steps) > 1 for gold in RUNNABLE) > 20


@pytest.mark.rule("O2")
@pytest.mark.rule("O3")
def test_gold_sequences_of_external_calls_make_the_gold_calls_in_order() -> None:
    async def job(gold: Gold) -> None:
        stubs, script = Stubs(gold), Script([block(source_of(gold))])
        result = await agent_of(script, stubs.tools("external")).run(gold.id)
        check_run(gold, stubs, result, script.told)
        assert stubs.called == gold_calls(gold)

    assert run_many({gold.id: lambda gold=gold: job(gold) for gold in RUNNABLE}) == {}


class FailingOnce(Stubs):
    """The last step raises the first time that it is called."""

    failed = False

    async def before_answer(self, step: Step) -> None:
        if step is self.gold.steps[-1] and not self.failed:
            self.failed = True
            self.give_back(step)
            raise ConnectionError("not now")


@pytest.mark.rule("L2")
def test_a_gold_sequence_that_failed_at_its_last_step_and_comes_again_repeats_nothing() -> None:
    async def job(gold: Gold) -> None:
        stubs, script = FailingOnce(gold), Script([block(source_of(gold))] * 2)
        result = await agent_of(script, stubs.tools("external")).run(gold.id)
        assert result.status is RunStatus.ANSWERED, script.told[-1]
        assert "not now" in script.told[1]
        assert result.output == resolved(gold.answer, answers(gold))
        wanted = gold_calls(gold)
        assert stubs.called == [*wanted, wanted[-1]]

    assert run_many({gold.id: lambda gold=gold: job(gold) for gold in RUNNABLE}) == {}


@pytest.mark.parametrize("gold", [gold for gold in VALID if gold.id in FAILS], ids=lambda g: g.id)
def test_a_value_of_the_wrong_type_fails_its_call_and_is_told(gold: Gold) -> None:
    stubs = Stubs(gold)
    result, told = run([block(source_of(gold)), block('give_up("no")')], stubs.tools("external"))
    assert result.status is RunStatus.FAILED
    assert f"argument `{FAILS[gold.id]}" in told[1]
    assert stubs.called == gold_calls(gold)[: len(stubs.called)]
    assert len(stubs.called) < len(gold.steps)


def test_a_refused_sequence_runs_nothing_and_its_place_is_told() -> None:
    async def job(gold: Gold) -> None:
        line, column, reason = REFUSED[gold.id]
        stubs = Stubs(gold)
        script = Script([block(source_of(gold)), block('give_up("no")')])
        result = await agent_of(script, stubs.tools("external")).run(gold.id)
        assert result.status is RunStatus.FAILED
        assert f"line {line}, column {column}: " in script.told[1]
        assert reason in script.told[1]
        assert stubs.called == []

    refused = [gold for gold in GOLDS if gold.id in REFUSED]
    assert run_many({gold.id: lambda gold=gold: job(gold) for gold in refused}) == {}
