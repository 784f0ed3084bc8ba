"""Gold calls of the Berkeley Function Calling Leaderboard, and stub tools for them."""

from __future__ import annotations

import ast
import dataclasses
import json
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from planloop.schemas import tool_from_schema
from planloop.tool import Tool
from planloop.values import identifier
from tests.suites.running import DATA, Called, rows, spellings

CATEGORIES = ("simple_python", "multiple", "parallel", "parallel_multiple")
_DOCUMENTS = {
    "GorillaFileSystem": "gorilla_file_system",
    "MathAPI": "math_api",
    "MessageAPI": "message_api",
    "TicketAPI": "ticket_api",
    "TradingBot": "trading_bot",
    "TravelAPI": "travel_booking",
    "TwitterAPI": "posting_api",
    "VehicleControlAPI": "vehicle_control",
}


@dataclasses.dataclass(frozen=True)
class Question:
    """Functions, and the calls that are right; each argument with all its right values."""

    id: str
    functions: tuple[dict[str, Any], ...]
    possible: tuple[tuple[str, dict[str, list[Any]]], ...]

    def parameters(self, name: str) -> dict[str, Any]:
        """The schema of a function's arguments."""
        return next(one["parameters"] for one in self.functions if one["name"] == name)


def questions(category: str) -> list[Question]:
    """The questions of one category."""
    return [
        Question(
            id=row["id"],
            functions=tuple(row["function"]),
            possible=tuple(call for one in row["ground_truth"] or () for call in one.items()),
        )
        for row in rows(f"bfcl/{category}.jsonl")
    ]


def gold_calls(question: Question, *, fewest: bool) -> list[Called]:
    """One right list of calls: with as few of the optional arguments as may be, or with all."""
    return [(name, _arguments(possible, fewest)) for name, possible in question.possible]


def _arguments(possible: Mapping[str, list[Any]], fewest: bool) -> dict[str, Any]:
    """`""` among the right values means that the argument may be left out."""
    found = {}
    for name, values in possible.items():
        given = [value for value in values if value != ""]
        if given and not (fewest and "" in values):
            found[name] = _one(given[0], fewest)
    return found


def _one(value: Any, fewest: bool) -> Any:
    """A table in a right value has lists of right values itself."""
    if isinstance(value, dict):
        return _arguments(value, fewest)
    return [_one(item, fewest) for item in value] if isinstance(value, list) else value


def with_defaults(question: Question, calls: Sequence[Called]) -> list[Called]:
    """Calls as the functions get them."""
    found = []
    for name, arguments in calls:
        schema = question.parameters(name)
        defaults = {
            key: one["default"]
            for key, one in schema["properties"].items()
            if one.get("default") is not None and key not in schema["required"]
        }
        found.append((name, {**defaults, **arguments}))
    return found


def tools_of(functions: Sequence[Mapping[str, Any]], called: list[Called]) -> list[Tool]:
    """Stub tools that add to `called` what they are called with."""
    return [_stub(function, called) for function in functions]


def _stub(function: Mapping[str, Any], called: list[Called]) -> Tool:
    name = function["name"]

    def note(**arguments: Any) -> dict[str, Any]:
        called.append((name, arguments))
        return {"status": "success", "number": len(called)}

    return tool_from_schema(name, function["description"], function["parameters"], note)


def spelled_calls(question: Question, calls: Sequence[Called]) -> list[Called]:
    """Calls as plans spell them."""
    tools = spellings(one["name"] for one in question.functions)
    found = []
    for name, arguments in calls:
        keys = spellings(question.parameters(name)["properties"])
        spelled = {keys.get(key, identifier(key)): value for key, value in arguments.items()}
        found.append((tools[name], spelled))
    return found


def source_of(calls: Sequence[Called]) -> str:
    """Spelled calls as a plan."""
    lines = [
        f"{name}({', '.join(f'{key}={value!r}' for key, value in arguments.items())})"
        for name, arguments in calls
    ]
    return "\n".join([*lines, "done(True)"]) + "\n"


@dataclasses.dataclass(frozen=True)
class Conversation:
    """A task of several turns: its functions, and the right calls of each turn, as source."""

    id: str
    functions: tuple[dict[str, Any], ...]
    turns: tuple[tuple[str, ...], ...]


def conversations() -> list[Conversation]:
    """All of them."""
    return [
        Conversation(
            id=row["id"],
            functions=tuple(one for name in row["involved_classes"] for one in _document(name)),
            turns=tuple(tuple(turn) for turn in row["ground_truth"]),
        )
        for row in rows("bfcl/multi_turn_base.jsonl")
    ]


@cache
def _document(api: str) -> tuple[dict[str, Any], ...]:
    path = DATA / "bfcl" / "multi_turn_func_doc" / f"{_DOCUMENTS[api]}.json"
    return tuple(json.loads(line) for line in path.read_text("utf-8").splitlines())


def read_call(source: str, functions: Sequence[Mapping[str, Any]]) -> Called:
    """A call in source as name and arguments, read without planloop."""
    node = ast.parse(source, mode="eval").body
    assert isinstance(node, ast.Call)
    assert isinstance(node.func, ast.Name)
    name = node.func.id
    schema = next(one["parameters"] for one in functions if one["name"] == name)
    arguments = dict(zip(schema["properties"], map(ast.literal_eval, node.args), strict=False))
    arguments.update((word.arg, ast.literal_eval(word.value)) for word in node.keywords)  # type: ignore[misc]
    return name, arguments
