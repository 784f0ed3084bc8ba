"""Calls of the Berkeley Function Calling Leaderboard: as Python plans, and as native tool calls."""

from __future__ import annotations

import pytest

from planloop import RunStatus
from planloop.errors import PlanInvalid
from planloop.language import parse, parse_native
from planloop.plan import Flow
from tests.suites.bfcl import (
    CATEGORIES,
    Conversation,
    Question,
    conversations,
    gold_calls,
    questions,
    read_call,
    source_of,
    spelled_calls,
    tools_of,
    with_defaults,
)
from tests.suites.running import Called, Script, agent_of, block, native, run_many, table

REFUSED = {
    # The schema requires an argument that the gold call leaves out.
    "simple_python_17, fewest": (1, 1, "missing a required argument: 'formatted'"),
    "simple_python_200, fewest": (1, 1, "missing a required argument: 'fuel_efficiency'"),
    # Values of another type than the schema's.
    "simple_python_307, all": (1, 79, "`venue`: Input should be a valid string, got True"),
    "parallel_multiple_21, fewest": (2, 25, "`x`: Input should be a valid list"),
    "parallel_multiple_21, all": (2, 25, "`x`: Input should be a valid list"),
}
"""Gold calls that do not fit their own schema: line, column and reason."""
REFUSED_TURNS = {
    "multi_turn_base_173, turn 4": (1, 24, "`ticket_id`: Input should be a valid integer")
}


def cases(category: str) -> dict[str, tuple[Question, list[Called]]]:
    """Each question twice: with as few optional arguments as may be, and with all."""
    found = {}
    for question in questions(category):
        found[f"{question.id}, fewest"] = (question, gold_calls(question, fewest=True))
        found[f"{question.id}, all"] = (question, gold_calls(question, fewest=False))
    return found


def everything() -> dict[str, tuple[Question, list[Called]]]:
    return {key: case for category in CATEGORIES for key, case in cases(category).items()}


def runnable(category: str) -> dict[str, tuple[Question, list[Called]]]:
    return {key: case for key, case in cases(category).items() if key not in REFUSED}


def test_gold_calls_are_flows_or_are_refused_at_their_place() -> None:
    refused: dict[str, tuple[int, int, str]] = {}
    for key, (question, calls) in everything().items():
        spelled, tools = spelled_calls(question, calls), table(tools_of(question.functions, []))
        try:
            plan = parse(source_of(spelled), tools, ())
        except PlanInvalid as error:
            reason = REFUSED.get(key, (0, 0, ""))[2]
            shown = reason if reason and reason in error.message else error.message
            refused[key] = (error.line, error.column, shown)
        else:
            assert isinstance(plan, Flow), key
            assert len(plan.statements) == len(calls) + 1, key
    assert refused == REFUSED


def test_native_gold_calls_are_flows_or_are_refused_by_number_and_reason() -> None:
    refused: dict[str, tuple[int, str]] = {}
    for key, (question, calls) in everything().items():
        tools = table(tools_of(question.functions, []))
        named = [
            (f"id{number}", *call) for number, call in enumerate(spelled_calls(question, calls))
        ]
        try:
            plan = parse_native(named, tools, ())
        except PlanInvalid as error:
            reason = REFUSED.get(key, (0, 0, ""))[2]
            shown = reason if reason and reason in error.message else error.message
            refused[key] = (error.line, shown)
        else:
            assert len(plan.statements) == len(plan.native_ids) == len(calls), key
    assert refused == {key: (line, reason) for key, (line, _, reason) in REFUSED.items()}


@pytest.mark.parametrize("category", CATEGORIES)
def test_gold_calls_as_a_python_plan_are_what_the_tools_get(category: str) -> None:
    async def job(question: Question, calls: list[Called]) -> None:
        called: list[Called] = []
        script = Script([block(source_of(spelled_calls(question, calls)))])
        result = await agent_of(script, tools_of(question.functions, called)).run(question.id)
        assert (result.status, result.output) == (RunStatus.ANSWERED, True), script.told[-1]
        assert called == with_defaults(question, calls)
        assert result.usage.calls == len(calls)

    found = runnable(category)
    assert run_many({key: lambda case=case: job(*case) for key, case in found.items()}) == {}
    assert len(found) >= 2 * 50 - 2


@pytest.mark.parametrize("category", CATEGORIES)
def test_gold_calls_as_native_tool_calls_are_what_the_tools_get(category: str) -> None:
    async def job(question: Question, calls: list[Called]) -> None:
        called: list[Called] = []
        tools = tools_of(question.functions, called)
        script = Script([native(spelled_calls(question, calls)), "All of it is done."])
        result = await agent_of(script, tools, plans_in="native").run(question.id)
        assert result.status is RunStatus.ANSWERED, script.told[-1]
        assert result.output == "All of it is done."
        assert called == with_defaults(question, calls)
        numbers = [f"'number': {number}" for number in range(1, len(calls) + 1)]
        assert [number for number in numbers if number not in script.told[1]] == []

    found = runnable(category)
    assert run_many({key: lambda case=case: job(*case) for key, case in found.items()}) == {}


def test_a_question_that_no_function_answers_is_answered_in_prose_without_a_call() -> None:
    async def job(question: Question) -> None:
        called: list[Called] = []
        prose = f"None of the functions fits: {', '.join(f['name'] for f in question.functions)}."
        script = Script([prose])
        result = await agent_of(script, tools_of(question.functions, called)).run(question.id)
        assert (result.status, result.output) == (RunStatus.ANSWERED, prose)
        assert (called, result.usage.calls) == ([], 0)

    found = questions("irrelevance")
    assert len(found) == 36
    assert run_many({one.id: lambda one=one: job(one) for one in found}) == {}


def test_every_turn_of_the_conversations_is_a_flow_or_is_refused_at_its_place() -> None:
    refused, flows = {}, 0
    for conversation in conversations():
        tools = table(tools_of(conversation.functions, []))
        for number, turn in enumerate(conversation.turns, 1):
            try:
                plan = parse("\n".join(turn), tools, ())
            except PlanInvalid as error:
                refused[f"{conversation.id}, turn {number}"] = error
            else:
                assert isinstance(plan, Flow), (conversation.id, turn)
                assert len(plan.statements) == len(turn)
                flows += 1
    assert {key: (error.line, error.column) for key, error in refused.items()} == {
        key: place[:2] for key, place in REFUSED_TURNS.items()
    }
    assert all(REFUSED_TURNS[key][2] in error.message for key, error in refused.items())
    assert flows == sum(len(one.turns) for one in conversations()) - len(refused)


def test_the_turns_of_a_conversation_run_as_follow_ups() -> None:
    async def job(conversation: Conversation) -> None:
        called: list[Called] = []
        turns = conversation.turns
        script = Script([block("\n".join([*turn, "done()"])) for turn in turns])
        agent = agent_of(script, tools_of(conversation.functions, called))
        result = await agent.run("turn 1")
        for number in range(2, len(turns) + 1):
            assert result.status is RunStatus.ANSWERED, script.told[-1]
            result = await agent.follow_up(f"turn {number}")
        agent.close()
        assert result.status is RunStatus.ANSWERED, script.told[-1]
        wanted = [read_call(call, conversation.functions) for turn in turns for call in turn]
        given = [
            (name, {key: arguments[key] for key in gold})
            for (name, arguments), (_, gold) in zip(called, wanted, strict=True)
        ]
        assert given == wanted

    found = [one for one in conversations() if is_whole(one)]
    assert run_many({one.id: lambda one=one: job(one) for one in found}) == {}
    assert len(found) == 59


def is_whole(conversation: Conversation) -> bool:
    """Whether none of its turns is refused."""
    return not any(key.startswith(f"{conversation.id},") for key in REFUSED_TURNS)
