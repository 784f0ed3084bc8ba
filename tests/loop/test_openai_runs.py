"""Whole runs driven by a real HTTP server that speaks the OpenAI form."""

from __future__ import annotations

import itertools
import json

import pytest

from planloop import Agent, Budget, OpenAIChat, Profile, Result, RunStatus, tool
from planloop.events import Event, ReplyRefused
from tests.loop.worlds import block
from tests.models.openai_server import Answer, OpenAIServer

ORDERS: list[str] = []


@tool(effect="reads")
def price(sku: str) -> float:
    """Price in dollars."""
    return {"bolt": 0.25, "nut": 0.10}[sku]


@tool
def order(sku: str, count: int) -> str:
    """Order something."""
    ORDERS.append(f"{count} {sku}")
    return f"order {len(ORDERS)}"


@pytest.fixture(autouse=True)
def _no_orders() -> None:
    ORDERS.clear()


def run(server: OpenAIServer, plans_in: str, **options: object) -> tuple[Result, list[Event]]:
    profile = Profile(plans_in=plans_in)  # type: ignore[arg-type]
    model = OpenAIChat("test-model", server.base_url, profile=profile)
    agent = Agent(model=model, tools=[price, order], **options)  # type: ignore[arg-type]
    events: list[Event] = []

    async def go() -> Result:
        async for event in agent.stream("Buy ten bolts if they cost less than nuts."):
            events.append(event)
        assert agent.result is not None
        return agent.result

    import anyio

    return anyio.run(go), events


@pytest.mark.parametrize("plain", [False, True], ids=["streamed", "whole"])
def test_python_plans_run_to_their_answer(plain: bool) -> None:
    plan = block('best = min(["bolt", "nut"], key=lambda s: len(s))\nn = order(best, 10)\ndone(n)')
    with OpenAIServer([Answer(plan, plain=plain)]) as server:
        result, _ = run(server, "python")
    assert result.status is RunStatus.ANSWERED
    assert result.output == "order 1"
    assert ORDERS == ["10 nut"]
    body = server.requests[0].body
    assert "tools" not in body
    assert "def order(sku: str, count: int) -> str:" in body["messages"][0]["content"]


@pytest.mark.parametrize("plain", [False, True], ids=["streamed", "whole"])
def test_native_tool_calls_become_flows_and_get_their_answers(plain: bool) -> None:
    script = [
        Answer(tool_calls=[("price", {"sku": "bolt"}), ("price", {"sku": "nut"})], plain=plain),
        Answer(tool_calls=[("order", {"sku": "nut", "count": 10})], plain=plain),
        Answer("Ten nuts are ordered.", plain=plain),
    ]
    with OpenAIServer(script) as server:
        result, _ = run(server, "native")
    assert result.status is RunStatus.ANSWERED
    assert result.output == "Ten nuts are ordered."
    assert ORDERS == ["10 nut"]
    first, second = server.requests[0].body, server.requests[1].body
    assert {one["function"]["name"] for one in first["tools"]} >= {"price", "order"}
    assert "def price" not in json.dumps(first["messages"])
    answers = [one for one in second["messages"] if one["role"] == "tool"]
    asked = second["messages"][2]["tool_calls"]
    assert [one["tool_call_id"] for one in answers] == [one["id"] for one in asked]
    assert "0.25" in answers[0]["content"]


def test_an_invalid_plan_is_answered_with_line_and_column_and_the_next_one_goes_on() -> None:
    script = [
        Answer(block('a = price("bolt")\nb = prize("nut")\ndone(b)')),
        Answer(block("done(price('nut'))")),
    ]
    with OpenAIServer(script) as server:
        result, events = run(server, "python")
    assert result.output == 0.10
    refused = [event for event in events if isinstance(event, ReplyRefused)]
    assert [(one.line, one.column) for one in refused] == [(2, 5)]
    told = server.requests[1].body["messages"][-1]["content"]
    assert "line 2, column 5" in told
    assert "price" in told
    assert result.usage.rounds == 1


def test_bad_json_in_native_arguments_is_answered_for_every_call() -> None:
    script = [
        Answer(tool_calls=[("price", '{"sku": '), ("order", {"sku": "nut", "count": 1})]),
        Answer("Nothing bought."),
    ]
    with OpenAIServer(script) as server:
        result, _ = run(server, "native")
    assert ORDERS == []
    assert result.status is RunStatus.ANSWERED
    roles = [one["role"] for one in server.requests[1].body["messages"]]
    assert roles[-2:] == ["tool", "tool"]


def test_a_reply_that_says_it_is_done_proves_nothing() -> None:
    def never(candidate: object) -> str:
        return "nothing was ordered" if not ORDERS else "ok"

    with OpenAIServer([Answer("All checks passed. SUCCESS.")] * 2) as server:
        result, _ = run(server, "python", checks=[never], budget=Budget(rounds=2))
    assert result.status is RunStatus.CAPPED
    assert not result.verdict.passed


def test_messages_only_grow_so_that_prefix_caches_hit() -> None:
    script = [Answer(block(f'price("{sku}")')) for sku in ("bolt", "nut")] + [Answer("Done.")]
    with OpenAIServer(script) as server:
        run(server, "python")
    bodies = [received.raw for received in server.requests]
    for before, after in itertools.pairwise(bodies):
        messages = before[before.index(b'"messages":') :]
        shared = messages[: messages.rindex(b"]")]
        assert shared in after


def test_six_invalid_replies_in_a_row_end_stuck() -> None:
    with OpenAIServer(lambda body: Answer(block("order("))) as server:
        result, _ = run(server, "python")
    assert result.status is RunStatus.STUCK
    assert len(server.requests) == 6
    assert ORDERS == []


def test_usage_adds_up_over_all_requests() -> None:
    script = [Answer(block('price("bolt")'), usage=(100, 7)), Answer("Done.", usage=(150, 3))]
    with OpenAIServer(script) as server:
        result, _ = run(server, "python")
    assert (result.usage.input_tokens, result.usage.output_tokens) == (250, 10)
    assert result.usage.model_requests == 2
