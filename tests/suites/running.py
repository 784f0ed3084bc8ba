"""What the suites share: their data, runs with a scripted model, and what the tools were called."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import anyio

from planloop import Agent, Budget, FunctionModel, Profile, Reply, Request, Result
from planloop.language import RESERVED
from planloop.messages import ToolCall
from planloop.tool import Tool, tool_table
from planloop.values import identifiers

DATA = Path(__file__).resolve().parent.parent / "data"

Called = tuple[str, dict[str, Any]]
"""A tool's own name, and the arguments that its function got."""


def rows(path: str) -> list[dict[str, Any]]:
    """The objects of a file with one JSON object a line."""
    return [json.loads(line) for line in (DATA / path).read_text("utf-8").splitlines() if line]


def table(tools: Iterable[Tool]) -> dict[str, Tool]:
    """Tools by the names that plans use."""
    return tool_table(tools, RESERVED)


def spellings(names: Iterable[str]) -> dict[str, str]:
    """Original name → how plans spell it."""
    return {name: spelled for spelled, name in identifiers(names).items()}


def block(source: str) -> str:
    """A reply that is a plan."""
    return f"```python\n{source}\n```"


def native(calls: Sequence[tuple[str, Mapping[str, Any] | str]], text: str = "") -> Reply:
    """A reply of native tool calls; arguments given as text are sent as they are."""
    return Reply(
        text=text,
        tool_calls=tuple(
            ToolCall(f"call-{number}", name, given if isinstance(given, str) else json.dumps(given))
            for number, (name, given) in enumerate(calls, 1)
        ),
        finish="tool_calls",
        cost_usd=0.0,
    )


class Script:
    """A model that gives its replies in order, and remembers what it was told before each."""

    def __init__(self, replies: Sequence[str | Reply]) -> None:
        self._rest = iter(replies)
        self.told: list[str] = []

    def __call__(self, request: Request) -> str | Reply:
        since = [n for n, message in enumerate(request.messages) if message.role == "assistant"]
        new = request.messages[since[-1] + 1 :] if since else request.messages[-1:]
        self.told.append("\n".join(message.text for message in new))
        return next(self._rest, block('give_up("the script is over")'))


def agent_of(script: Script, tools: Sequence[Tool], **options: Any) -> Agent[Any, Any]:
    """An agent without a sandbox; native tool declarations if `plans_in="native"`."""
    profile = Profile(
        plans_in=options.pop("plans_in", "python"),
        input_usd_per_million=0.0,
        output_usd_per_million=0.0,
    )
    options.setdefault("budget", Budget(rounds=8))
    return Agent(model=FunctionModel(script, profile=profile), tools=tools, **options)


def run(
    replies: Sequence[str | Reply], tools: Sequence[Tool], **options: Any
) -> tuple[Result, list[str]]:
    """Run replies in order; the result, and what the planner was told before each."""
    script = Script(replies)
    return agent_of(script, tools, **options).run_sync("Test."), script.told


def run_many(jobs: Mapping[str, Callable[[], Any]]) -> dict[str, str]:
    """Run each job, an async function; what went wrong, by job."""
    wrong: dict[str, str] = {}

    async def go() -> None:
        for name, job in jobs.items():
            try:
                await job()
            except AssertionError as error:
                wrong[name] = str(error)

    anyio.run(go)
    return wrong
