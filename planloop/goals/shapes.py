"""The shape that an answer must have: a JSON schema, strictly, or the name of a type."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias

from planloop.values import Value, canonical

Schema: TypeAlias = dict[str, Any]

_NAMES: Final[Mapping[str, str]] = {
    "str": "string",
    "int": "integer",
    "float": "number",
    "bool": "boolean",
    "list": "array",
    "dict": "object",
    "None": "null",
}
_GENERIC: Final = re.compile(r"\s*(list|dict)\s*\[(.*)\]\s*", re.DOTALL)
_KNOWN: Final = frozenset(
    {
        "type", "properties", "required", "additionalProperties", "items", "enum", "const",
        "anyOf", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "minLength",
        "maxLength", "minItems", "maxItems",
    }
)  # fmt: skip
_SAID_ONLY: Final = frozenset({"title", "description", "default", "examples", "$schema", "$id"})
"""Words that constrain nothing."""
_MOST_LEVELS: Final = 20
_MOST_PROBLEMS: Final = 5


class NoShape(ValueError):
    """It is neither a schema that can be checked nor the name of a type; says why."""


def shape_of(said: Schema | str) -> Schema:
    """The schema that is meant.

    Args:
        said: a JSON schema, or a type: `int`, `list[str]`, `dict[str, float]`.

    Raises:
        NoShape: it says something that cannot be checked.
    """
    schema = _of_type(said) if isinstance(said, str) else said
    _refuse_unknown(schema, "schema", 0)
    return schema


def problems(value: Value, schema: Schema) -> list[str]:
    """What is wrong with a value, place by place; empty if it fits. The first few."""
    found: list[str] = []
    for problem in _problems(value, schema, ""):
        found.append(problem)
        if len(found) == _MOST_PROBLEMS:
            break
    return found


def _of_type(name: str, level: int = 0) -> Schema:
    if level > _MOST_LEVELS:
        raise NoShape("the type is nested too deeply")
    options = [part.strip() for part in _split(name, "|")]
    if len(options) > 1:
        return {"anyOf": [_of_type(one, level + 1) for one in options]}
    if name.strip() in _NAMES:
        return {"type": _NAMES[name.strip()]}
    match = _GENERIC.fullmatch(name)
    inner = _split(match[2], ",") if match else []
    if match and match[1] == "list" and len(inner) == 1:
        return {"type": "array", "items": _of_type(inner[0], level + 1)}
    if match and match[1] == "dict" and len(inner) == 2 and inner[0].strip() == "str":
        return {"type": "object", "additionalProperties": _of_type(inner[1], level + 1)}
    raise NoShape(
        f"`{name[:60]}` names no type; write one of {', '.join(_NAMES)}, `list[…]`, "
        "`dict[str, …]`, or a JSON schema"
    )


def _split(text: str, separator: str) -> list[str]:
    """At separators that stand outside of brackets."""
    parts, depth = [""], 0
    for character in text:
        depth += (character == "[") - (character == "]")
        if character == separator and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return parts


def _refuse_unknown(schema: object, where: str, level: int) -> None:
    """Strict: what cannot be checked is refused, never passed over."""
    if isinstance(schema, bool):
        return
    if not isinstance(schema, dict):
        raise NoShape(f"{where} is {type(schema).__name__}; expected an object")
    if level > _MOST_LEVELS:
        raise NoShape(f"{where} is nested too deeply")
    if unknown := [name for name in schema if name not in _KNOWN | _SAID_ONLY]:
        known = ", ".join(sorted(_KNOWN))
        raise NoShape(f"`{unknown[0]}` in {where} cannot be checked here; known: {known}")
    _refuse_malformed(schema, where)
    for name, inner in _inner(schema, where):
        _refuse_unknown(inner, name, level + 1)


_FORMS: Final[Mapping[str, tuple[type, ...]]] = {
    "type": (str, list),
    "properties": (dict,),
    "required": (list,),
    "enum": (list,),
    "anyOf": (list,),
    **dict.fromkeys(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"), (int, float)),
    **dict.fromkeys(("minLength", "maxLength", "minItems", "maxItems"), (int,)),
}


def _refuse_malformed(schema: Schema, where: str) -> None:
    for name, forms in _FORMS.items():
        if name in schema and not isinstance(schema[name], forms):
            raise NoShape(f"`{name}` in {where} is {type(schema[name]).__name__}")
    for name in _listed(schema.get("type", [])):
        if name not in _IS:
            raise NoShape(f"{where} has no such type: {name!r:.40}")


def _inner(schema: Schema, where: str) -> Iterator[tuple[str, object]]:
    for name, one in schema.get("properties", {}).items():
        yield f"{where}.{name}", one
    for index, one in enumerate(schema.get("anyOf", [])):
        yield f"{where}.anyOf[{index}]", one
    for name in ("items", "additionalProperties"):
        if name in schema:
            yield f"{where}.{name}", schema[name]


def _is_number(value: Value) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


_IS: Final[Mapping[str, Callable[[Value], bool]]] = {
    "string": lambda value: isinstance(value, str),
    "integer": lambda value: _is_number(value) and value == int(value),
    "number": _is_number,
    "boolean": lambda value: isinstance(value, bool),
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
    "null": lambda value: value is None,
}


def _listed(names: Any) -> Sequence[Any]:
    return names if isinstance(names, list) else [names]


def _problems(value: Value, schema: Schema | bool, at: str) -> Iterator[str]:
    if isinstance(schema, bool):
        if not schema:
            yield _said(at, "is not expected")
        return
    types = _listed(schema.get("type", []))
    if types and not any(_IS[name](value) for name in types):
        yield _said(at, f"is {_type_of(value)}; expected {' or '.join(types)}")
        return
    yield from _choice_problems(value, schema, at)
    yield from _size_problems(value, schema, at)
    if isinstance(value, dict):
        yield from _object_problems(value, schema, at)
    if isinstance(value, list) and "items" in schema:
        for index, item in enumerate(value):
            yield from _problems(item, schema["items"], f"{at}[{index}]")


def _choice_problems(value: Value, schema: Schema, at: str) -> Iterator[str]:
    form = canonical(value)
    if "enum" in schema and form not in [canonical(one) for one in schema["enum"]]:
        yield _said(at, f"is none of {canonical(schema['enum'])[:200]}")
    if "const" in schema and form != canonical(schema["const"]):
        yield _said(at, f"is not {canonical(schema['const'])[:200]}")
    options = schema.get("anyOf")
    if options and all(any(_problems(value, one, at)) for one in options):
        yield _said(at, "fits none of the alternatives")


def _size_problems(value: Value, schema: Schema, at: str) -> Iterator[str]:
    if _is_number(value):
        if value < schema.get("minimum", value) or value > schema.get("maximum", value):
            yield _said(at, f"is {value}, out of its range")
        low, high = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
        if (low is not None and value <= low) or (high is not None and value >= high):
            yield _said(at, f"is {value}, out of its range")
    sizes = {str: ("minLength", "maxLength"), list: ("minItems", "maxItems")}
    for kind, (least, most) in sizes.items():
        if isinstance(value, kind):
            size = len(value)
            if size < schema.get(least, size) or size > schema.get(most, size):
                yield _said(at, f"has {size} items or characters, which is out of its range")


def _object_problems(value: dict[str, Value], schema: Schema, at: str) -> Iterator[str]:
    for name in schema.get("required", []):
        if name not in value:
            yield _said(at, f"has no `{name}`")
    properties = schema.get("properties", {})
    # Strict: a schema that names its properties means no others, unless it says so.
    others = schema.get("additionalProperties", not properties)
    for name, item in value.items():
        yield from _problems(item, properties.get(name, others), f"{at}.{name}")


def _said(at: str, what: str) -> str:
    return f"`{at.lstrip('.')}` {what}" if at else f"the value {what}"


def _type_of(value: Value) -> str:
    return next((name for name, fits in _IS.items() if fits(value)), type(value).__name__)
