"""pydantic-ai, as its documentation shows an agent with tools at a base URL."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydantic_ai import Agent
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider
from shapes import fetch, main


def build(url: str) -> Callable[[], Any]:
    """An agent for one run."""
    model = OpenAIChatModel("scripted", provider=OpenAIProvider(base_url=url, api_key="none"))
    agent = Agent(model, tools=[fetch])

    async def run() -> str:
        return (await agent.run("Fetch what there is.")).output

    return run


if __name__ == "__main__":
    main(build)
