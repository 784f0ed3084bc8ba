"""Replies in the OpenAI chat-completions form, whole or in pieces. No I/O."""

from __future__ import annotations

import dataclasses
import json
from typing import Any, Literal, TypeAlias

from planloop.messages import Reply, TokenUsage, ToolCall
from planloop.models.wellformed import well_formed

Finish: TypeAlias = Literal["stop", "length", "tool_calls", "content_filter"]

_FINISHES: dict[str, Finish] = {
    "length": "length",
    "max_tokens": "length",
    "model_length": "length",
    "model_context_window_exceeded": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
    "safety": "content_filter",
    "recitation": "content_filter",
    "refusal": "content_filter",
}
"""Everything else is a plain stop."""

_BROKEN = ("error", "abort", "aborted", "cancelled", "insufficient_system_resource")
"""Reasons with which a server says that it gave up in the middle."""


class Garbled(Exception):
    """What arrived is no reply; says why."""


class ServerError(Exception):
    """An error inside a response of status 200."""

    def __init__(self, message: str, status: int | None) -> None:
        super().__init__(message)
        self.message = message
        self.status = status


@dataclasses.dataclass
class _Call:
    id: str = ""
    name: str = ""
    arguments: list[str] = dataclasses.field(default_factory=list)


class Assembler:
    """Puts one reply together, from the events of a stream or from one whole document."""

    def __init__(self) -> None:
        self._text: list[str] = []
        self._reasoning: list[str] = []
        self._refusal: list[str] = []
        self._calls: dict[int, _Call] = {}
        self._finish: str | None = None
        self._tokens = TokenUsage()
        self._done = False

    @property
    def complete(self) -> bool:
        """Whether the server said that the reply is whole."""
        return self._done or self._finish is not None

    def event(self, data: bytes) -> str:
        """Take one event of a stream and return its piece of the text.

        Raises:
            Garbled: it is none of this form.
            ServerError: it reports an error.
        """
        if data == b"[DONE]":
            self._done = True
            return ""
        return self._document(_loads(data), "delta")

    def whole(self, body: bytes) -> str:
        """Take a whole response and return its text.

        Raises:
            Garbled: it is none of this form, or holds no choice.
            ServerError: it reports an error.
        """
        document = _loads(body)
        text = self._document(document, "message")
        if not document.get("choices"):
            raise Garbled("the response holds no choice")
        self._done = True
        return text

    def reply(self) -> Reply:
        """The reply; its cost is left open.

        Raises:
            Garbled: it was cut, or the server gave up.
        """
        if self._finish in _BROKEN:
            raise Garbled(f"the server gave up in the middle (`{self._finish}`)")
        if not self.complete:
            raise Garbled("the stream ended before the reply was whole")
        calls = tuple(self._tool_call(index) for index in sorted(self._calls))
        text, refusal = "".join(self._text), "".join(self._refusal)
        finish = _FINISHES.get(self._finish or "stop", "stop")
        if calls and finish == "stop":
            finish = "tool_calls"
        if refusal and not text and not calls:
            text, finish = refusal, "content_filter"
        return Reply(
            text=well_formed(text),
            tool_calls=calls,
            finish=finish,
            reasoning=well_formed("".join(self._reasoning)) or None,
            tokens=self._tokens,
        )

    def _document(self, document: dict[str, Any], part: Literal["delta", "message"]) -> str:
        choices = document.get("choices")
        if (error := document.get("error")) and not choices:
            raise ServerError(*_error(error))
        if usage := document.get("usage"):
            self._tokens = _usage(usage)
        if choices is None and part == "delta":
            return ""
        if not isinstance(choices, list):
            raise Garbled("`choices` is no list")
        return "".join(self._choice(one, part) for one in choices)

    def _choice(self, choice: Any, part: Literal["delta", "message"]) -> str:
        if not isinstance(choice, dict):
            raise Garbled("a choice is no object")
        if choice.get("index") not in (0, None):
            return ""
        if finish := choice.get("finish_reason"):
            self._finish = str(finish).lower()
        message = choice.get(part)
        if message is None:
            return ""
        if not isinstance(message, dict):
            raise Garbled(f"`{part}` is no object")
        return self._message(message)

    def _message(self, message: dict[str, Any]) -> str:
        text = _text(message.get("content"))
        if text:
            self._text.append(text)
        reasoning = message.get("reasoning_content") or message.get("reasoning")
        if isinstance(reasoning, str):
            self._reasoning.append(reasoning)
        if isinstance(refusal := message.get("refusal"), str):
            self._refusal.append(refusal)
        if calls := message.get("tool_calls"):
            self._take_calls(calls)
        return text

    def _take_calls(self, calls: Any) -> None:
        if not isinstance(calls, list):
            raise Garbled("`tool_calls` is no list")
        for position, call in enumerate(calls):
            function = call.get("function") if isinstance(call, dict) else None
            if not isinstance(function, dict):
                raise Garbled("a tool call names no function")
            known = self._call(call, position)
            known.id = known.id or str(call.get("id") or "")
            known.name = known.name or str(function.get("name") or "")
            known.arguments.append(_arguments(function.get("arguments")))

    def _call(self, call: dict[str, Any], position: int) -> _Call:
        index = call.get("index")
        if isinstance(index, int):
            return self._calls.setdefault(index, _Call())
        # Without an index, a new id or a name begins a new call and all else continues the last.
        identity = call.get("id")
        last = max(self._calls, default=-1)
        begins = bool(identity) or bool(call["function"].get("name")) or position > 0
        if last >= 0 and (not begins or self._calls[last].id == identity):
            return self._calls[last]
        return self._calls.setdefault(last + 1, _Call())

    def _tool_call(self, index: int) -> ToolCall:
        call = self._calls[index]
        if not call.name:
            raise Garbled("a tool call has no name")
        arguments = "".join(call.arguments)
        return ToolCall(
            well_formed(call.id) or f"call_{index}", well_formed(call.name), well_formed(arguments)
        )


def error_text(body: bytes) -> str:
    """The message of an error response, whatever its form; its start, if it is no JSON."""
    text = body.decode("utf-8", "replace")
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return text[:1000]
    inner = document.get("error", document) if isinstance(document, dict) else document
    return _error(inner)[0]


def _error(error: Any) -> tuple[str, int | None]:
    if not isinstance(error, dict):
        return (error if isinstance(error, str) else json.dumps(error))[:1000], None
    code, message = error.get("code"), error.get("message") or error.get("detail") or ""
    text = str(message)[:1000]
    if isinstance(code, str) and code not in text:
        text = f"{text} ({code})" if text else code
    status = code if isinstance(code, int) and 400 <= code < 600 else None
    return text, status


def _loads(data: bytes) -> dict[str, Any]:
    try:
        document = json.loads(data.decode())
    except (ValueError, RecursionError) as error:
        raise Garbled(f"the response is not JSON ({type(error).__name__})") from None
    if not isinstance(document, dict):
        raise Garbled("the response is no JSON object")
    return document


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    if content is None:
        return ""
    if isinstance(content, list):
        return "".join(
            part["text"]
            for part in content
            if isinstance(part, dict) and isinstance(part.get("text"), str)
        )
    raise Garbled("`content` is no text")


def _arguments(arguments: Any) -> str:
    if arguments is None:
        return ""
    return arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)


def _usage(usage: Any) -> TokenUsage:
    if not isinstance(usage, dict):
        return TokenUsage()
    details = usage.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, dict) else None
    return TokenUsage(
        input_tokens=_count(usage.get("prompt_tokens")),
        output_tokens=_count(usage.get("completion_tokens")),
        cached_tokens=_count(usage.get("prompt_cache_hit_tokens") if cached is None else cached),
    )


def _count(number: Any) -> int | None:
    valid = isinstance(number, int) and not isinstance(number, bool) and 0 <= number < 10**10
    return number if valid else None
