"""agent-framework, its agent over chat completions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from agent_framework import Agent
from agent_framework.openai import OpenAIChatCompletionClient
from shapes import fetch, main


def build(url: str) -> Callable[[], Any]:
    """An agent for one run."""
    client = OpenAIChatCompletionClient("scripted", api_key="none", base_url=url)
    agent = Agent(client, tools=[fetch])

    async def run() -> str:
        return (await agent.run("Fetch what there is.")).text

    return run


if __name__ == "__main__":
    main(build)
