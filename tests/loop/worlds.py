"""A small world for tests of whole runs: files in memory, orders, and calls that fail on demand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from planloop import Agent, Budget, Environment, FunctionModel, Request, Result, tool
from planloop.tool import Tool


class World(Environment):
    """Files that go back with a snapshot, orders that never do."""

    name = "test world"

    def __init__(self) -> None:
        self.files: dict[str, str] = {}
        self.orders: list[tuple[str, int]] = []
        self.attempts: Counter[str] = Counter()
        self.looks: list[str] = []
        self.broken: set[str] = set()
        """Names of things whose tools raise now."""

    def tools(self) -> Sequence[Tool]:
        @tool
        def order(sku: str, qty: int = 1) -> str:
            """Order something."""
            self.attempts[f"order {sku} {qty}"] += 1
            if sku in self.broken:
                raise ConnectionError(f"{sku} cannot be ordered")
            self.orders.append((sku, qty))
            return f"{sku}x{qty}"

        @tool(effect="reads")
        def look(what: str) -> str:
            """Look at the world."""
            self.looks.append(what)
            if what in self.broken:
                raise LookupError(f"cannot see {what}")
            return f"saw {what}"

        @tool(effect="pure")
        def upper(text: str) -> str:
            """In capitals."""
            return text.upper()

        @tool(effect="workspace")
        def put(path: str, text: str) -> int:
            """Write a file."""
            self.files[path] = text
            if text in self.broken:
                raise OSError(f"cannot write {text}")
            return len(text)

        @tool(effect="reads", resources=["workspace"])
        def get(path: str) -> str:
            """Read a file."""
            self.looks.append(path)
            return self.files.get(path, "")

        @tool(effect="pure")
        def must(ok: bool) -> bool:
            """Fail unless it is true."""
            if not ok:
                raise ValueError("must fails")
            return ok

        return [order, look, upper, put, get, must]

    async def snapshot(self) -> dict[str, str]:
        return dict(self.files)

    async def restore(self, token: dict[str, str]) -> None:
        self.files = dict(token)


def block(source: str) -> str:
    """A reply that is a plan."""
    return f"```python\n{source}\n```"


def scripted(world: World, replies: Sequence[str], **options: object) -> tuple[Result, list[str]]:
    """Run replies in order; return the result and what the planner was told before each."""
    told: list[str] = []
    rest = iter(replies)

    def answer(request: Request) -> str:
        told.append(request.messages[-1].text)
        return next(rest, block('give_up("the script is over")'))

    options.setdefault("budget", Budget(rounds=len(replies) + 1))
    agent = Agent(model=FunctionModel(answer), environment=world, **options)  # type: ignore[arg-type]
    return agent.run_sync("Test."), told
