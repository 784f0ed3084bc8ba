"""Scripts of replies by conversation, for runs with goals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from planloop import Agent, Budget, FunctionModel, Request, Result
from planloop.events import Event
from tests.loop.worlds import World, block

__all__ = ["Script", "World", "block", "goals"]


def goals(text: str) -> str:
    """A reply that is a list of goals."""
    return f"```goals\n{text}\n```"


class Script:
    """Replies by conversation; `asked` holds each request's conversation and newest message."""

    def __init__(self, replies: Mapping[str, Sequence[str]]) -> None:
        self._left = {name: list(found) for name, found in replies.items()}
        self.asked: list[tuple[str, str]] = []
        self.openings: dict[str, str] = {}
        """The first message of each conversation."""
        self.events: list[Event] = []

    def answer(self, request: Request) -> str:
        """The next reply of the request's conversation; a plan that gives up past its end."""
        self.openings.setdefault(request.conversation, request.messages[0].text)
        self.asked.append((request.conversation, request.messages[-1].text))
        left = self._left.get(request.conversation, [])
        return left.pop(0) if left else block('give_up("the script is over")')

    @property
    def left(self) -> dict[str, list[str]]:
        """Replies that nobody asked for."""
        return {name: found for name, found in self._left.items() if found}

    def told(self, conversation: str) -> list[str]:
        """The newest message of each request of a conversation."""
        return [text for name, text in self.asked if name == conversation]

    async def run(self, world: World | None = None, **options: object) -> Result:
        """Run it to its end; `events` holds what happened."""
        options.setdefault("budget", Budget(rounds=40))
        options.setdefault("model", FunctionModel(self.answer))
        agent: Agent[None, Any] = Agent(environment=world or World(), **options)  # type: ignore[arg-type]
        async for event in agent.stream("Test."):
            self.events.append(event)
        agent.close()
        assert agent.result is not None
        return agent.result
