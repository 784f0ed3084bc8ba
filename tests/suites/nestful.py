"""Gold sequences of NESTFUL as flows, and stub tools that answer what later steps refer to."""

from __future__ import annotations

import dataclasses
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cache, cached_property
from typing import Any

from planloop.schemas import tool_from_schema
from planloop.tool import Tool
from planloop.values import identifier
from tests.suites.running import DATA, Called, rows, spellings

_REFERENCE = re.compile(r"\$(var\d+)((?:[.\[][^$]*)?)\$")
_STEP = re.compile(r"\.([^.\[\]]+)|\[(\d+)\]")
_SPECS = {
    "executable": "executable-spec.json",
    "glaive": "non-executable-glaive-spec.json",
    "sgd": "non-executable-sgd-spec.json",
}
_PARAMETERS = ("query_parameters", "path_parameters", "parameters", "arguments")


@dataclasses.dataclass(frozen=True)
class Step:
    """One call of a gold sequence."""

    tool: str
    arguments: dict[str, Any]
    label: str

    @property
    def is_root(self) -> bool:
        """Whether it needs no other step."""
        return not _REFERENCE.search(json.dumps(self.arguments))


@dataclasses.dataclass(frozen=True)
class Gold:
    """One gold sequence, and the answer that it ends in."""

    id: str
    steps: tuple[Step, ...]
    answer: dict[str, Any]

    @property
    def family(self) -> str:
        """The catalogue that its tools are from."""
        return self.id.rsplit("-", 1)[0]


def golds() -> list[Gold]:
    """All gold sequences."""
    return [_gold(row) for row in rows("nestful/nestful.jsonl")]


def _gold(row: Mapping[str, Any]) -> Gold:
    *calls, last = row["output"]
    assert last["name"] == "var_result"
    steps = tuple(Step(call["name"], call["arguments"], call["label"]) for call in calls)
    return Gold(row["id"], steps, last["arguments"])


@cache
def catalogue(family: str) -> dict[str, tuple[str, dict[str, Any]]]:
    """Description and parameters of each tool of a family, by name."""
    specs = json.loads((DATA / "nestful" / _SPECS[family]).read_text("utf-8"))
    return {
        spec["name"]: (
            spec["description"],
            {name: one for kind in _PARAMETERS for name, one in spec.get(kind, {}).items()},
        )
        for spec in specs
    }


# A gold sequence as the source of a plan


def source_of(gold: Gold) -> str:
    """The plan that makes these calls and ends with this answer."""
    tools = spellings(catalogue(gold.family))
    lines = [f"{step.label} = {_call(step, tools, gold.family)}" for step in gold.steps]
    return "\n".join([*lines, f"done({_expression(gold.answer)})"]) + "\n"


def _call(step: Step, tools: Mapping[str, str], family: str) -> str:
    _, parameters = catalogue(family).get(step.tool, ("", {}))
    spelled = spellings(parameters)
    arguments = ", ".join(
        f"{spelled.get(name, identifier(name))}={_expression(value)}"
        for name, value in step.arguments.items()
    )
    return f"{tools.get(step.tool, identifier(step.tool))}({arguments})"


def _expression(value: Any) -> str:
    match value:
        case str():
            return _text(value)
        case list():
            return f"[{', '.join(_expression(item) for item in value)}]"
        case dict():
            pairs = (f"{key!r}: {_expression(item)}" for key, item in value.items())
            return f"{{{', '.join(pairs)}}}"
        case _:
            return repr(value)


def _text(text: str) -> str:
    """A text: a reference, an f-string around references, or a literal."""
    whole = _REFERENCE.fullmatch(text)
    if whole:
        return _read(whole[1], whole[2])
    parts = _REFERENCE.split(text)
    if len(parts) == 1:
        return repr(text)
    found = [repr(parts[0].replace("{", "{{").replace("}", "}}"))[1:-1]]
    for label, path, after in zip(parts[1::3], parts[2::3], parts[3::3], strict=True):
        found += [f"{{{_read(label, path)}}}", repr(after.replace("{", "{{"))[1:-1]]
    return f'f"{"".join(found)}"'


def _read(label: str, path: str) -> str:
    """A reference as Python: attributes, but subscripts for what a record's methods hide."""
    parts = [label]
    for key in _keys(path):
        hidden = isinstance(key, int) or hasattr(dict, identifier(key))
        parts.append(f"[{key!r}]" if hidden else f".{identifier(key)}")
    return "".join(parts)


def _keys(path: str) -> list[str | int]:
    return [int(number) if number else name for name, number in _STEP.findall(path)]


# What the stub tools answer


def answers(gold: Gold) -> dict[str, Any]:
    """A record for each label, with a value of its own under every key that is referred to."""
    found: dict[str, Any] = {step.label: {} for step in gold.steps}
    for label, path, wanted in _references(gold):
        _put(found[label], _keys(path), _value(wanted, f"{label}{path}"))
    return found


def _references(gold: Gold) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Label and path of each reference, and the schema that it must fit."""
    for step in gold.steps:
        _, parameters = catalogue(gold.family).get(step.tool, ("", {}))
        for name, value in step.arguments.items():
            wanted = parameters.get(name, {})
            yield from ((*one, wanted) for one in _REFERENCE.findall(json.dumps(value)))
    for label, path in _REFERENCE.findall(json.dumps(gold.answer)):
        yield label, path, {}


def _value(wanted: Mapping[str, Any], text: str) -> Any:
    match wanted.get("type", "").lower():
        case "integer" | "number":
            return sum(text.encode())
        case "boolean":
            return True
        case "array":
            return [_value(wanted.get("items", {}), text)]
        case _:
            return f"the {text} of {{x}} and $var1$"


def _put(record: Any, keys: list[str | int], value: Any) -> None:
    """Put a value where these keys lead; what is there already stays."""
    for index, key in enumerate(keys):
        following = keys[index + 1 : index + 2]
        empty: Any = value if not following else [] if isinstance(following[0], int) else {}
        if isinstance(record, list):
            if not record:
                record.append(empty)
        else:
            record.setdefault(key, empty)
        record = record[key]


def resolved(value: Any, answered: Mapping[str, Any]) -> Any:
    """A gold value with its references replaced, computed without planloop."""
    match value:
        case list():
            return [resolved(item, answered) for item in value]
        case dict():
            return {key: resolved(item, answered) for key, item in value.items()}
        case str():
            whole = _REFERENCE.fullmatch(value)
            if whole:
                return _look_up(whole, answered)
            return _REFERENCE.sub(lambda found: str(_look_up(found, answered)), value)
    return value


def _look_up(found: re.Match[str], answered: Mapping[str, Any]) -> Any:
    value = answered[found[1]]
    for key in _keys(found[2]):
        value = value[key]
    return value


def gold_calls(gold: Gold) -> list[Called]:
    """The calls that the tools should get: resolved, as their schemas have them."""
    answered = answers(gold)
    found = []
    for step in gold.steps:
        _, parameters = catalogue(gold.family)[step.tool]
        defaults = {name: one["default"] for name, one in parameters.items() if "default" in one}
        given = {
            name: _as_number(value, parameters.get(name, {}))
            for name, value in resolved(step.arguments, answered).items()
        }
        found.append((step.tool, {**defaults, **given}))
    return found


def _as_number(value: Any, parameter: Mapping[str, Any]) -> Any:
    """A few sequences give a number as text; tools get what their schema says."""
    is_number = parameter.get("type", "").lower() in ("integer", "number")
    return int(value) if is_number and isinstance(value, str) else value


class Stubs:
    """Tools of a family that know one gold sequence: they take its calls, and nothing else."""

    def __init__(self, gold: Gold) -> None:
        self.gold = gold
        self.called: list[Called] = []
        self._taken: set[str] = set()

    @cached_property
    def _expected(self) -> list[Called]:
        return gold_calls(self.gold)

    @cached_property
    def _answers(self) -> dict[str, Any]:
        return answers(self.gold)

    def tools(self, effect: str) -> list[Tool]:
        """The whole catalogue."""
        return [
            tool_from_schema(name, description, parameters, self._function(name), effect=effect)
            for name, (description, parameters) in catalogue(self.gold.family).items()
        ]

    def _function(self, name: str) -> Any:
        async def called(**arguments: Any) -> Any:
            self.called.append((name, arguments))
            step = self._step(name, arguments)
            await self.before_answer(step)
            return self._answers[step.label]

        return called

    def _step(self, name: str, arguments: dict[str, Any]) -> Step:
        for step, expected in zip(self.gold.steps, self._expected, strict=True):
            if step.label not in self._taken and expected == (name, arguments):
                self._taken.add(step.label)
                return step
        raise AssertionError(f"{name} was called with {arguments}, which no step does")

    def give_back(self, step: Step) -> None:
        """The step may be called once more."""
        self._taken.remove(step.label)

    async def before_answer(self, step: Step) -> None:
        """For subclasses."""


def counted(calls: list[Called]) -> Counter[str]:
    """Calls regardless of their order."""
    return Counter(json.dumps(call, sort_keys=True) for call in calls)
