"""The replay format (docs/replay.md): JSON lines, a header and then one exchange a line."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any, TypeVar

from planloop.errors import UserError
from planloop.messages import Message, Profile, Reply, TokenUsage, ToolCall
from planloop.models.wellformed import well_formed

VERSION = 1
FREE = Profile(input_usd_per_million=0.0, output_usd_per_million=0.0)
"""Of a model that nobody pays."""

_FINISHES = ("stop", "length", "tool_calls", "content_filter")
_ROLES = ("system", "user", "assistant", "tool")
_HEADER = ("name", "plans_in", "context_tokens", "max_output_tokens", "bare_goal_lists")
_T = TypeVar("_T")


@dataclasses.dataclass(frozen=True)
class Said:
    """One message of a request as it is compared: without call outputs and durations."""

    role: str
    text: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Exchange:
    """A reply and, where the script says so, the new messages that asked for it."""

    reply: Reply
    conversation: str = "main"
    request: tuple[Said, ...] | None = None
    line: int = 0
    """Where it stands in its file, from 1; 0 for none."""


@dataclasses.dataclass(frozen=True)
class Header:
    """What a recording says of the model that it came from. Its price is 0: nobody is asked."""

    name: str | None = None
    profile: Profile = FREE
    executor: Header | None = None
    """The model of goals and `llm` calls, if it was another one."""


class Malformed(ValueError):
    """A line is not in the format; says why, without a place."""


def said(messages: tuple[Message, ...]) -> tuple[Said, ...]:
    """Messages as a recording holds them: the model's own replies stand in their exchanges."""
    return tuple(
        Said(one.role, well_formed(one.text if one.stable is None else one.stable))
        for one in messages
        if one.role != "assistant"
    )


def header_line(name: str, profile: Profile, executor: Header | None = None) -> str:
    """The first line of a recording, without its newline."""
    beside = {} if executor is None else {"executor": _fields(executor.name, executor.profile)}
    return _dumps({"planloop_replay": VERSION, **_fields(name, profile), **beside})


def _fields(name: str | None, profile: Profile) -> dict[str, Any]:
    return {"name": name, **{key: getattr(profile, key) for key in _HEADER if key != "name"}}


def exchange_line(exchange: Exchange) -> str:
    """One exchange as a line, without its newline."""
    document: dict[str, Any] = {"conversation": exchange.conversation}
    if exchange.request is not None:
        document["request"] = [{"role": one.role, "text": one.text} for one in exchange.request]
    document["reply"] = _reply_json(exchange.reply)
    if usage := {k: v for k, v in vars(exchange.reply.tokens).items() if v is not None}:
        document["usage"] = usage
    return _dumps(document)


def parse(text: str, where: str) -> tuple[Header, tuple[Exchange, ...]]:
    """Read a whole replay.

    Args:
        text: the file's text.
        where: how errors name it.

    Raises:
        UserError: names the line.
    """
    header, exchanges = Header(), []
    first = True
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            document = _loads(line)
            if "planloop_replay" in document:
                header = _header(document, first)
            else:
                exchanges.append(_exchange(document, number))
        except Malformed as error:
            raise UserError(
                f"this is no line of a replay: {error}",
                where=f"{where}, line {number}",
                hint='write one exchange a line, such as {"reply": {"text": "..."}}',
            ) from None
        first = False
    return header, tuple(exchanges)


def _reply_json(reply: Reply) -> dict[str, Any]:
    document: dict[str, Any] = {"text": well_formed(reply.text)}
    if reply.tool_calls:
        document["tool_calls"] = [dataclasses.asdict(call) for call in reply.tool_calls]
    document["finish"] = reply.finish
    if reply.reasoning is not None:
        document["reasoning"] = reply.reasoning
    return document


def _dumps(document: Mapping[str, Any]) -> str:
    return well_formed(json.dumps(document, ensure_ascii=False, separators=(", ", ": ")))


def _loads(line: str) -> dict[str, Any]:
    try:
        document = json.loads(line)
    except RecursionError:
        raise Malformed("it is nested too deeply") from None
    except ValueError as error:
        raise Malformed(f"not JSON ({error})") from None
    return _object(document, "the line")


def _header(document: dict[str, Any], first: bool) -> Header:
    if not first:
        raise Malformed("the header must be the first line")
    _only(document, ("planloop_replay", *_HEADER, "executor"), "the header")
    version = document["planloop_replay"]
    if version != VERSION or isinstance(version, bool):
        raise Malformed(f"`planloop_replay` is {version!r}; this planloop reads {VERSION}")
    if document.get("executor") is None:
        return _model(document)
    beside = _object(document["executor"], "`executor`")
    _only(beside, _HEADER, "`executor`")
    return dataclasses.replace(_model(document), executor=_model(beside))


def _model(document: dict[str, Any]) -> Header:
    plans_in = _optional(document, "plans_in", str, "python")
    if plans_in not in ("python", "native"):
        raise Malformed(f"`plans_in` is {plans_in!r}; expected `python` or `native`")
    profile = dataclasses.replace(
        FREE,
        plans_in=plans_in,
        context_tokens=_size(document, "context_tokens", Profile.context_tokens),
        max_output_tokens=_size(document, "max_output_tokens", Profile.max_output_tokens),
        bare_goal_lists=_optional(document, "bare_goal_lists", bool, False),
    )
    return Header(_optional(document, "name", str, None), profile)


def _exchange(document: dict[str, Any], number: int) -> Exchange:
    _only(document, ("conversation", "request", "reply", "usage"), "an exchange")
    if "reply" not in document:
        raise Malformed("`reply` is missing")
    request = _optional(document, "request", list, None)
    return Exchange(
        conversation=_optional(document, "conversation", str, "main"),
        request=None if request is None else tuple(_said(one) for one in request),
        reply=_reply(document["reply"], _usage(document.get("usage"))),
        line=number,
    )


def _said(document: Any) -> Said:
    message = _object(document, "a message of `request`")
    _only(message, ("role", "text"), "a message of `request`")
    role, text = _required(message, "role", str), _required(message, "text", str)
    if role not in _ROLES:
        raise Malformed(f"`role` is {role!r}; expected one of {', '.join(_ROLES)}")
    return Said(role, well_formed(text))


def _reply(document: Any, tokens: TokenUsage) -> Reply:
    if isinstance(document, str):
        document = {"text": document}
    reply = _object(document, "`reply`")
    _only(reply, ("text", "tool_calls", "finish", "reasoning"), "`reply`")
    calls = tuple(_tool_call(one) for one in _optional(reply, "tool_calls", list, []))
    finish = _optional(reply, "finish", str, "tool_calls" if calls else "stop")
    if finish not in _FINISHES:
        raise Malformed(f"`finish` is {finish!r}; expected one of {', '.join(_FINISHES)}")
    return Reply(
        text=well_formed(_optional(reply, "text", str, "")),
        tool_calls=calls,
        finish=finish,
        reasoning=_optional(reply, "reasoning", str, None),
        tokens=tokens,
        cost_usd=0.0,
    )


def _tool_call(document: Any) -> ToolCall:
    call = _object(document, "a tool call")
    _only(call, ("id", "name", "arguments"), "a tool call")
    arguments = call.get("arguments", "{}")
    if isinstance(arguments, dict):
        arguments = json.dumps(arguments, ensure_ascii=False)
    if not isinstance(arguments, str):
        raise Malformed("`arguments` of a tool call is neither JSON text nor an object")
    identity, name = _required(call, "id", str), _required(call, "name", str)
    return ToolCall(well_formed(identity), well_formed(name), well_formed(arguments))


def _usage(document: Any) -> TokenUsage:
    if document is None:
        return TokenUsage()
    usage = _object(document, "`usage`")
    names = ("input_tokens", "output_tokens", "cached_tokens")
    _only(usage, names, "`usage`")
    return TokenUsage(**{name: _size(usage, name, None) for name in names})


def _size(document: Mapping[str, Any], name: str, default: Any) -> Any:
    number = document.get(name)
    if number is None:
        return default
    if isinstance(number, bool) or not isinstance(number, int) or number < 0:
        raise Malformed(f"`{name}` is {number!r}; expected a whole number")
    return number


def _object(document: Any, what: str) -> dict[str, Any]:
    if not isinstance(document, dict):
        raise Malformed(f"{what} is not a JSON object")
    return document


def _only(document: Mapping[str, Any], names: tuple[str, ...], what: str) -> None:
    if unknown := [name for name in document if name not in names]:
        raise Malformed(f"{what} has no field `{unknown[0]}`; it has {', '.join(names)}")


def _optional(document: Mapping[str, Any], name: str, kind: type[Any], default: Any) -> Any:
    field = document.get(name)
    if field is None:
        return default
    if not isinstance(field, kind):
        raise Malformed(f"`{name}` is {type(field).__name__}; expected {kind.__name__}")
    return field


def _required(document: Mapping[str, Any], name: str, kind: type[_T]) -> _T:
    field = document.get(name)
    if not isinstance(field, kind):
        raise Malformed(f"`{name}` is missing or no {kind.__name__}")
    return field
