"""A world whose calls take turns of the event loop, and a model that writes piece by piece."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from typing import Any

import anyio
import anyio.lowlevel

from planloop import Agent, Budget, Environment, FunctionModel, Request, Result, tool
from planloop.events import CallBegunAhead, CallDropped, CallStarted, Event, StatementEnded
from planloop.observation import Status
from planloop.tool import Tool

BAD = "bad"
"""Every tool that is given this fails."""


def block(source: str) -> str:
    """A reply that is a plan."""
    return f"```python\n{source}\n```"


class World(Environment):
    """Files that go back with a snapshot, orders that do not; what is seen hangs on both."""

    name = "written world"

    def __init__(self, turns: Iterator[int]) -> None:
        self.files: dict[str, str] = {}
        self.orders: list[str] = []
        self.shelves: dict[str, int] = {}
        self.log: list[str] = []
        """Every call that began, in order."""
        self.early_effects: list[str] = []
        """Effects that began while a reply was being written."""
        self.writing = False
        self._turns = turns

    async def _begin(self, what: str, given: str, *, effect: bool) -> None:
        self.log.append(f"{what} {given}")
        if effect and self.writing:
            self.early_effects.append(what)
        for _ in range(next(self._turns)):
            await anyio.lowlevel.checkpoint()
        if BAD in given:
            raise ValueError(f"{what} cannot do {given}")

    def tools(self) -> Sequence[Tool]:
        @tool(effect="pure")
        async def upper(text: str) -> dict[str, str]:
            """In capitals."""
            await self._begin("upper", text, effect=False)
            return {"text": text.upper()}

        @tool(effect="reads")
        async def look(what: str) -> str:
            """Look at the world."""
            await self._begin("look", what, effect=False)
            return f"{what} after {len(self.orders)} orders"

        @tool(effect="reads", resources=["workspace"])
        async def get(path: str) -> str:
            """Read a file."""
            await self._begin("get", path, effect=False)
            return self.files.get(path, "")

        @tool(effect="reads", resources=lambda given: [given["shelf"]])
        async def count(shelf: str) -> int:
            """Count a shelf."""
            await self._begin("count", shelf, effect=False)
            return self.shelves.get(shelf, 0)

        @tool(effect="external", resources=lambda given: [given["shelf"]])
        async def fill(shelf: str) -> int:
            """Put something on a shelf."""
            await self._begin("fill", shelf, effect=True)
            self.shelves[shelf] = self.shelves.get(shelf, 0) + 1
            return self.shelves[shelf]

        @tool(effect="workspace")
        async def put(path: str, text: str) -> int:
            """Write a file."""
            await self._begin("put", f"{path} {text}", effect=True)
            self.files[path] = text
            return len(text)

        @tool
        async def order(what: str) -> str:
            """Order something."""
            await self._begin("order", what, effect=True)
            self.orders.append(what)
            return f"{what} {len(self.orders)}"

        return [upper, look, get, count, fill, put, order]

    async def snapshot(self) -> dict[str, str]:
        return dict(self.files)

    async def restore(self, token: dict[str, str]) -> None:
        self.files = dict(token)


Piece = str | Callable[[], Any]
"""Text, or what is awaited before the next piece."""


@dataclasses.dataclass
class Played:
    """A run, and what was seen of it."""

    result: Result
    events: list[Event]
    told: list[str]
    """The newest message of each request."""
    world: World

    def of(self, *kinds: type[Any]) -> list[Any]:
        """The events of some kinds."""
        return [event for event in self.events if isinstance(event, kinds)]

    @property
    def entries(self) -> list[tuple[Any, ...]]:
        """The ledger as the trace tells it, without serial numbers."""
        return sorted(map(_entry, self.of(CallStarted)))

    @property
    def effects(self) -> list[tuple[Any, ...]]:
        """What of the ledger had an effect."""
        return sorted(_entry(one) for one in self.of(CallStarted) if one.effect.is_effect)

    @property
    def failed(self) -> bool:
        """Whether any statement did not go well."""
        return any(one.result.status is not Status.OK for one in self.of(StatementEnded))

    @property
    def begun(self) -> list[str]:
        """The tools whose calls began early."""
        return [one.tool for one in self.of(CallBegunAhead)]

    @property
    def dropped(self) -> list[int]:
        """Numbers of calls that began early for nothing."""
        return [one.number for one in self.of(CallDropped)]


def _entry(one: CallStarted) -> tuple[Any, ...]:
    return (one.lineage, one.round, one.place, one.key, one.version, one.line, str(one.scope))


async def play(world: World, replies: Sequence[Sequence[Piece]], **options: Any) -> Played:
    """Run replies that are written piece by piece."""
    told: list[str] = []
    events: list[Event] = []
    rest = iter(replies)

    async def write(request: Request) -> AsyncGenerator[str, None]:
        told.append(request.messages[-1].text)
        world.writing = True
        try:
            for piece in next(rest, [block('give_up("the script is over")')]):
                if isinstance(piece, str):
                    yield piece
                else:
                    await piece()
        finally:
            world.writing = False

    options.setdefault("budget", Budget(rounds=len(replies) + 1))
    agent = Agent(model=FunctionModel(write), environment=world, **options)
    with anyio.fail_after(20):
        async for event in agent.stream("Test."):
            events.append(event)
    assert agent.result is not None
    return Played(agent.result, events, told, world)
