"""What users write: files that packaging tests run, or type-check, from outside the repository."""

from __future__ import annotations

OWN_TOOL = '''
import asyncio

from planloop import Agent, Context, FunctionModel, tool


@tool(effect="pure")
def double(number: int) -> int:
    """Twice a number."""
    return 2 * number


@tool
async def remember(context: Context[list[int]], number: int) -> int:
    """Keep a number for the app."""
    context.deps.append(number)
    return len(context.deps)


PLAN = """```python
a = double(4)
b = double(number=a + 1)
remember(b)
done(b)
```"""
kept: list[int] = []
agent = Agent(model=FunctionModel(lambda request: PLAN), tools=[double, remember], deps=kept)
result = asyncio.run(agent.run("Double, then double again."))
print(result.status.value, result.output, kept)
'''

OWN_ENVIRONMENT = '''
from planloop import CheckResult, Environment, tool


class Lamp(Environment):
    """A lamp that must be lit."""

    name = "lamp"
    lit = False

    def tools(self):
        @tool
        def switch(on: bool) -> bool:
            """Switch the lamp."""
            self.lit = on
            return self.lit

        return [switch]

    async def observe(self):
        return {"lit": self.lit}

    async def check(self, output):
        return [CheckResult(label="the lamp is lit", passed=self.lit)]
'''

USES_THE_ENVIRONMENT = """
from planloop import Agent, FunctionModel


def model(request):
    assert "switch" in request.messages[0].text
    return "```python\\nswitch(on=True)\\ndone('lit')\\n```"


result = Agent(model=FunctionModel(model), environment="lamp.py").run_sync("Light the lamp.")
print(result.status.value, result.output, result.verdict.by)
"""

TYPED = """
from __future__ import annotations

from collections.abc import Sequence
from typing import assert_type

from planloop import (
    Agent,
    Budget,
    Candidate,
    CheckResult,
    Context,
    Environment,
    FunctionModel,
    Request,
    Result,
    RunStatus,
    Task,
    Tool,
    Usage,
    Verdict,
    tool,
)


class Shop:
    stock = 3


@tool(effect="reads")
def count(context: Context[Shop], sku: str) -> int:
    return context.deps.stock


@tool
async def order(context: Context[Shop], sku: str, quantity: int = 1) -> str:
    assert_type(context.deps, Shop)
    assert_type(context.idempotency_key, str)
    return f"{quantity} of {sku}"


assert_type(count, Tool)
assert_type(order, Tool)


class World(Environment):
    name = "world"

    def tools(self) -> Sequence[Tool]:
        return [count]

    async def check(self, output: object) -> Sequence[CheckResult]:
        return [CheckResult(label="always", passed=True)]


def plan(request: Request) -> str:
    return request.messages[0].text


def in_stock(candidate: Candidate) -> bool:
    return bool(candidate.output)


agent: Agent[Shop, str] = Agent(
    model=FunctionModel(plan),
    tools=[count, order, len],
    environment=World(),
    checks=["true", in_stock],
    budget=Budget(rounds=3, cost_usd=None),
    deps=Shop(),
    output_type=str,
)


async def go() -> None:
    result = await agent.run(Task(text="Order one."))
    assert_type(result, Result)
    assert_type(result.status, RunStatus)
    assert_type(result.verdict, Verdict)
    assert_type(result.diff, str)
    assert_type(result.usage, Usage)
    assert_type(result.run_id, str)
    async for event in agent.stream("Order two."):
        print(event)
    assert_type(agent.run_sync("Order three."), Result)
    assert_type(await agent.follow_up("And one more."), Result)
    agent.cancel()
"""

WRONGLY_TYPED = """
from planloop import Agent, Budget, Result, RunStatuss, tool

Agent(modell="openai:x")
Budget(rounds="three")


def use(result: Result) -> int:
    return result.diff
"""
"""Four mistakes, each of which a checker must find."""
