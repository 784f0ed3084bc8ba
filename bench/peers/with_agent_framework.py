"""agent-framework, its agent over chat completions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from agent_framework import Agent
from agent_framework.openai import OpenAIChatCompletionClient
from measured import add, main, wait_async, wait_blocking


def build(url: str) -> Callable[[], Any]:
    """An agent for one run."""
    client = OpenAIChatCompletionClient(
        "scripted",
        api_key="none",
        base_url=url,
        function_invocation_configuration={"max_iterations": 100},
    )
    agent = Agent(client, tools=[add, wait_async, wait_blocking])

    async def run() -> str:
        return (await agent.run("Add up the numbers.")).text

    return run


if __name__ == "__main__":
    main(build)
