"""One question to a model, with an answer of a given shape."""

from __future__ import annotations

import json
from typing import Final

from planloop.budget import Account
from planloop.errors import CallFailed
from planloop.goals.shapes import NoShape, Schema, problems, shape_of
from planloop.messages import Message, Model, Reply
from planloop.planner.planner import Planner
from planloop.planner.reply import blocks
from planloop.text import one_line
from planloop.trace.journal import Journal
from planloop.values import Value, dump

_ALONE: Final = "Answer the question that follows. Your reply is used as it is: the answer alone."
_AS_JSON: Final = "Reply with JSON alone, without any other word. It must fit this schema:"
_TEXT: Final[Schema] = {"type": "string"}
_REPAIRS: Final = 1


class Misfit(ValueError):
    """A reply that does not have the shape; says what is wrong."""


def conversation(
    model: Model, name: str, system: str, account: Account, journal: Journal
) -> Planner:
    """A conversation about something else than a plan."""
    opening = (Message(role="system", text=system),)
    return Planner(model, {}, opening, (), account=account, journal=journal, conversation=name)


async def ask(
    model: Model,
    name: str,
    prompt: str,
    said: Schema | str | None,
    account: Account,
    journal: Journal,
) -> Value:
    """The model's answer; what has not the shape is sent back once.

    Args:
        name: of the conversation.
        said: the shape: a JSON schema, the name of a type, or None for a text.

    Raises:
        CallFailed: the shape is none, or the answer does not have it.
        BudgetSpent: the request would pass a limit.
        ModelUnavailable, UserError: the model cannot be used.
    """
    try:
        schema = _TEXT if said is None else shape_of(said)
    except NoShape as error:
        raise CallFailed("NoShape", str(error)) from None
    system = _ALONE if schema == _TEXT else f"{_AS_JSON}\n\n{json.dumps(schema)}"
    talk = conversation(model, name, system, account, journal)
    reply = await talk.ask(prompt)
    for _ in range(_REPAIRS):
        try:
            return _answer(reply, schema)
        except Misfit as error:
            reply = await talk.ask(f"{error}. Send the whole answer again, alone.")
    try:
        return _answer(reply, schema)
    except Misfit as error:
        raise CallFailed("Misfit", f"the model's answer does not fit: {error}") from None


def _answer(reply: Reply, schema: Schema) -> Value:
    if reply.finish == "length":
        raise Misfit("the answer was cut off at its length limit")
    text = reply.text.strip()
    if not text:
        raise Misfit("the answer is empty")
    if schema == _TEXT:
        return text
    value = _json(text)
    if found := problems(value, schema):
        raise Misfit("; ".join(found))
    return value


def _json(text: str) -> Value:
    import jiter

    fenced = blocks(text)
    if len(fenced) == 1 and fenced[0].closed:
        text = fenced[0].source
    try:
        found = jiter.from_json(text.encode(), catch_duplicate_keys=True, allow_inf_nan=False)
        return dump(found)
    except (ValueError, RecursionError) as error:
        raise Misfit(f"the answer is no JSON: {one_line(str(error), 200)}") from None
