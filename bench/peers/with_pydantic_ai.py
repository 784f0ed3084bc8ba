"""pydantic-ai, as its documentation shows an agent with tools at a base URL."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from measured import add, main, wait_async, wait_blocking
from pydantic_ai import Agent
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider
from pydantic_ai.usage import UsageLimits


def build(url: str) -> Callable[[], Any]:
    """An agent for one run."""
    model = OpenAIChatModel("scripted", provider=OpenAIProvider(base_url=url, api_key="none"))
    agent = Agent(model, tools=[add, wait_async, wait_blocking])

    async def run() -> str:
        limits = UsageLimits(request_limit=None)
        return (await agent.run("Add up the numbers.", usage_limits=limits)).output

    return run


if __name__ == "__main__":
    main(build)
