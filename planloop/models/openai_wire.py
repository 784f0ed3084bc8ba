"""Requests in the OpenAI chat-completions form, joined from pieces that are encoded once."""

from __future__ import annotations

import dataclasses
import json
from typing import Any
from weakref import WeakKeyDictionary

from planloop.messages import Message, Request, ToolSpec
from planloop.models.wellformed import well_formed


@dataclasses.dataclass(frozen=True)
class Quirks:
    """Where servers of this form differ."""

    stream: bool = True
    usage_in_stream: bool = True
    """Whether `stream_options` may be sent."""
    limit_field: str = "max_tokens"
    """The field that bounds the reply; newer OpenAI models want `max_completion_tokens`."""


def adapted(quirks: Quirks, message: str) -> Quirks | None:
    """What a server's refusal teaches about it; None if nothing."""
    if quirks.usage_in_stream and "stream_options" in message:
        return dataclasses.replace(quirks, usage_in_stream=False)
    if quirks.limit_field == "max_tokens" and "max_completion_tokens" in message:
        return dataclasses.replace(quirks, limit_field="max_completion_tokens")
    return None


class Encoder:
    """Makes request bodies. Each message is serialised once and kept as bytes while it lives."""

    def __init__(self, model: str) -> None:
        self._model = _dumps(model)
        self._messages: WeakKeyDictionary[Message, bytes] = WeakKeyDictionary()
        self._tools: tuple[tuple[ToolSpec, ...], bytes] = ((), b"")

    def body(self, request: Request, quirks: Quirks) -> bytes:
        """The JSON document of a request."""
        fields = [b'{"model":' + self._model, b'"messages":[%b]' % self._history(request.messages)]
        if request.tools:
            fields.append(b'"tools":' + self._tool_list(request.tools))
        if request.max_output_tokens is not None:
            limit = _dumps(request.max_output_tokens)
            fields.append(b'"%b":%b' % (quirks.limit_field.encode(), limit))
        if request.temperature is not None:
            fields.append(b'"temperature":' + _dumps(request.temperature))
        if quirks.stream:
            fields.append(b'"stream":true')
        if quirks.stream and quirks.usage_in_stream:
            fields.append(b'"stream_options":{"include_usage":true}')
        return b",".join(fields) + b"}"

    def _history(self, messages: tuple[Message, ...]) -> bytes:
        known = self._messages
        pieces = []
        for message in messages:
            piece = known.get(message)
            if piece is None:
                piece = known[message] = _dumps(_message(message))
            pieces.append(piece)
        return b",".join(pieces)

    def _tool_list(self, tools: tuple[ToolSpec, ...]) -> bytes:
        known, encoded = self._tools
        if tools is not known and tools != known:
            encoded = _dumps([_tool(one) for one in tools])
        self._tools = (tools, encoded)
        return encoded


def _message(message: Message) -> dict[str, Any]:
    document: dict[str, Any] = {"role": message.role, "content": message.text}
    if message.role == "tool":
        document["tool_call_id"] = message.tool_call_id or ""
    if message.tool_calls:
        document["content"] = message.text or None
        document["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for call in message.tool_calls
        ]
    return document


def _tool(tool: ToolSpec) -> dict[str, Any]:
    function = {
        "name": tool.name,
        "description": tool.description,
        "parameters": tool.parameters,
    }
    return {"type": "function", "function": function}


def _dumps(document: Any) -> bytes:
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    return well_formed(text).encode()
