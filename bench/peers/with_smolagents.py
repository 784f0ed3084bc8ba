"""smolagents, its agent for tool calls, without printing. Its tools cannot be async."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from measured import add, main, wait_blocking
from smolagents import LogLevel, OpenAIServerModel, ToolCallingAgent, tool

TOOLS = [tool(add), tool(wait_blocking)]


def build(url: str) -> Callable[[], Any]:
    """An agent for one run."""
    model = OpenAIServerModel("scripted", api_base=url, api_key="none")
    agent = ToolCallingAgent(TOOLS, model, max_steps=100, verbosity_level=LogLevel.OFF)
    return lambda: agent.run("Add up the numbers.")


if __name__ == "__main__":
    main(build, takes_async_tools=False)
