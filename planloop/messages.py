"""The conversation with a model, in no API's dialect, and the contract of models."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, Literal, Protocol, runtime_checkable

Role = Literal["system", "user", "assistant", "tool"]


@dataclasses.dataclass(frozen=True)
class ToolCall:
    """A native tool call of an API. `arguments` is the JSON text that the model wrote."""

    id: str
    name: str
    arguments: str


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Message:
    """One message. Compared by identity, so that a dialect can keep its bytes once encoded."""

    role: Role
    text: str
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    stable: str | None = None
    """`text` without call outputs and durations, for comparing runs; None if it has neither."""


@dataclasses.dataclass(frozen=True)
class ToolSpec:
    """A tool as a model is told of it. `parameters` is a JSON schema."""

    name: str
    description: str
    parameters: dict[str, Any]


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Request:
    """One request to a model. `messages` only ever grow within a conversation."""

    messages: tuple[Message, ...]
    tools: tuple[ToolSpec, ...] = ()
    """Native declarations; empty when the prompt holds signatures instead."""
    conversation: str = "main"
    max_output_tokens: int | None = None
    temperature: float | None = None
    deadline_s: float | None = None
    """Seconds that the whole request may take."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class TokenUsage:
    """Tokens of one reply. None where the server did not say."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reply:
    """A whole reply; a partial one is never returned."""

    text: str
    tool_calls: tuple[ToolCall, ...] = ()
    finish: Literal["stop", "length", "tool_calls", "content_filter"] = "stop"
    reasoning: str | None = None
    tokens: TokenUsage = TokenUsage()
    cost_usd: float | None = None
    """What it cost; None where the price is unknown. A local server costs 0."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Profile:
    """What a model can do, and what it costs."""

    plans_in: Literal["python", "native"] = "python"
    """Python signatures in the prompt, or native tool declarations; never both."""
    context_tokens: int = 32_000
    max_output_tokens: int = 4_096
    input_usd_per_million: float | None = None
    output_usd_per_million: float | None = None
    bare_goal_lists: bool = False

    @property
    def price_known(self) -> bool:
        """Whether a reply's cost can be computed."""
        return self.input_usd_per_million is not None and self.output_usd_per_million is not None


OnText = Callable[[str], None]
"""Called with pieces of a reply's text while it is being written."""


@runtime_checkable
class Model(Protocol):
    """A model behind one API, a recording, or a Python callable."""

    @property
    def name(self) -> str:
        """As people know it."""
        ...

    @property
    def profile(self) -> Profile:
        """What it can do, and what it costs."""
        ...

    async def complete(self, request: Request, on_text: OnText | None = None) -> Reply:
        """Ask for one reply.

        Raises:
            ModelUnavailable: after every retry that makes sense.
            UserError: the key, the model's name or the request is refused by the server.
        """
        ...

    async def close(self) -> None:
        """Release connections. Safe to call twice."""
        ...


def token_bound(text: str) -> int:
    """An upper bound of the tokens in `text` where no server counts: its UTF-8 bytes."""
    return len(text.encode("utf-8", "replace"))
