"""smolagents, its agents for tool calls and for code. Their tools cannot be async."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from shapes import fetch_blocking, main
from smolagents import CodeAgent, LogLevel, OpenAIServerModel, ToolCallingAgent, tool

fetch_blocking.__name__ = "fetch"
FETCH = tool(fetch_blocking)
KIND = CodeAgent if sys.argv[2] == "code" else ToolCallingAgent


def build(url: str) -> Callable[[], Any]:
    """An agent for one run."""
    model = OpenAIServerModel("scripted", api_base=url, api_key="none")
    agent = KIND([FETCH], model, max_steps=20, verbosity_level=LogLevel.OFF)
    return lambda: agent.run("Fetch what there is.")


if __name__ == "__main__":
    main(build)
