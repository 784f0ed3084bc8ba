"""planloop: plans in Python; a sandbox for programs only, and the trace in memory."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from shapes import fetch, main

from planloop import Agent, Budget, OpenAIChat, tool

FETCH = tool(effect="reads")(fetch)
SANDBOX = "bubblewrap" if sys.argv[2] == "program" else "none"


def build(url: str) -> Callable[[], Any]:
    """An agent for one run."""
    model = OpenAIChat("scripted", url)
    agent = Agent(model=model, tools=[FETCH], sandbox=SANDBOX, budget=Budget(cost_usd=None))

    async def run() -> Any:
        result = await agent.run("Fetch what there is.")
        await model.close()
        return result.output

    return run


if __name__ == "__main__":
    main(build)
