"""planloop: no sandbox, trace in memory; native tool calls or plans in Python."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from measured import add, main, wait_async, wait_blocking

from planloop import Agent, Budget, OpenAIChat, Profile, tool

TOOLS = [
    tool(effect="pure")(add),
    tool(effect="reads")(wait_async),
    tool(effect="reads")(wait_blocking),
]
NATIVE = sys.argv[2] == "native"


def build(url: str) -> Callable[[], Any]:
    """An agent for one run."""
    model = OpenAIChat("scripted", url, profile=Profile(plans_in="native" if NATIVE else "python"))
    agent = Agent(model=model, tools=TOOLS, budget=Budget(cost_usd=None, rounds=100))

    async def run() -> Any:
        result = await agent.run("Add up the numbers.")
        await model.close()
        return result.output

    return run


if __name__ == "__main__":
    main(build)
