"""Tools from JSON schemas: functions of other systems, described but not typed."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Annotated, Any, Final, Literal, Union

from planloop.errors import UserError
from planloop.tool import Effect, Tool, tool
from planloop.values import identifiers

_TYPES: Final[Mapping[str, Any]] = {
    "string": str,
    "str": str,
    "integer": int,
    "int": int,
    "float": float,
    "double": float,
    "boolean": bool,
    "bool": bool,
    "null": None,
    "object": dict[str, Any],
    "dict": dict[str, Any],
    "array": list[Any],
    "list": list[Any],
    "tuple": list[Any],
}
"""JSON schema's names, and those that tool catalogues use beside them."""
_LISTS: Final = frozenset({"array", "list", "tuple"})
_AGAIN: Final = "again"
_MOST_EXACT: Final = 2.0**53
"""Up to here a float tells every whole number apart."""
_MOST_LEVELS: Final = 20
"""Of nested schemas; what lies deeper is taken as it comes."""


def tool_from_schema(
    name: str,
    description: str,
    parameters: Mapping[str, Any],
    function: Callable[..., Any],
    *,
    effect: Effect | str = Effect.EXTERNAL,
) -> Tool:
    """A tool whose arguments a JSON schema describes.

    Plans spell the names that are no Python identifiers with `_`; `function` gets the original
    ones.

    Args:
        name: as the other system knows it.
        description: what it does; the descriptions of the arguments are added to it.
        parameters: an object schema, or the table of its properties alone, where each says
            `required: true` of itself. What the schema does not say is taken as it comes.
        function: sync or async, called with the arguments by their original names. An argument
            that is not required and has no default may be left out of a call, or given as
            None; `function` is called without it then.
        effect: as for `tool`.

    Raises:
        UserError: `parameters` is no table, or the effect has no such name.
    """
    properties = _properties(name, parameters)
    required = _required(parameters, properties)
    spelled = _spelled(properties)

    def call(**arguments: Any) -> Any:
        named = {spelled[key]: value for key, value in arguments.items()}
        return function(**{k: v for k, v in named.items() if v is not None or k in required})

    ordered = sorted(spelled, key=lambda key: spelled[key] not in required)
    signature = inspect.Signature(
        [_parameter(key, properties[spelled[key]], spelled[key] in required) for key in ordered]
    )
    call.__signature__ = signature  # type: ignore[attr-defined]
    call.__annotations__ = {key: signature.parameters[key].annotation for key in ordered}
    call.__doc__ = _documentation(description, {key: properties[spelled[key]] for key in ordered})
    return tool(name=name, effect=effect)(call)


def _properties(name: str, parameters: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Each argument's own schema; one that is no table says nothing."""
    if not isinstance(parameters, Mapping):
        raise UserError(
            f"the parameters of tool `{name}` are {type(parameters).__name__}; expected a schema",
            hint='for a tool without arguments write `{"type": "object", "properties": {}}`',
        )
    found = _table(parameters)
    return {str(key): one if isinstance(one, Mapping) else {} for key, one in found.items()}


def _table(parameters: Mapping[str, Any]) -> Mapping[str, Any]:
    if not _is_object_schema(parameters):
        return parameters
    properties = parameters.get("properties")
    return properties if isinstance(properties, Mapping) else {}


def _is_object_schema(parameters: Mapping[str, Any]) -> bool:
    """Whether it is a schema, and not the table of properties alone.

    Such a table holds only schemas, also under the name `type` or `properties`.
    """
    properties = parameters.get("properties")
    if not all(isinstance(found, Mapping) for found in parameters.values()):
        return True
    return isinstance(properties, Mapping) and all(
        isinstance(found, Mapping) for found in properties.values()
    )


def _required(
    parameters: Mapping[str, Any], properties: Mapping[str, Mapping[str, Any]]
) -> frozenset[str]:
    listed = parameters.get("required") if _is_object_schema(parameters) else None
    names = listed if isinstance(listed, list | tuple) else ()
    return frozenset(
        name
        for name, schema in properties.items()
        if name in names or schema.get("required") is True
    )


def _spelled(properties: Mapping[str, Any]) -> dict[str, str]:
    """Spelling in plans → original name; `again` belongs to the plan language itself."""
    found = identifiers(properties)
    other = _AGAIN + "_"
    while other in found:
        other += "_"
    return {other if key == _AGAIN else key: name for key, name in found.items()}


def _documentation(description: str, properties: Mapping[str, Mapping[str, Any]]) -> str:
    """The description as a docstring, its arguments below it as far as they are described."""
    lines = [
        f"    {key}: {' '.join(str(schema['description']).split())}"
        for key, schema in properties.items()
        if schema.get("description")
    ]
    arguments = "\n".join(["Args:", *lines]) if lines else ""
    return f"{(description or '').strip()}\n\n{arguments}".strip()


def _parameter(name: str, schema: Mapping[str, Any], required: bool) -> inspect.Parameter:
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    hint = _type(schema)
    if required:
        return inspect.Parameter(name, kind, annotation=hint)
    default = schema.get("default")
    hint = hint if default is not None or hint is Any else _union([hint, None])
    return inspect.Parameter(name, kind, annotation=hint, default=default)


def _type(schema: Any, level: int = 0) -> Any:
    """The Python type nearest to a schema; what has no near one is taken as it comes."""
    if not isinstance(schema, Mapping) or level > _MOST_LEVELS:
        return Any
    hint = _stated_type(schema, level)
    return _union([hint, None]) if schema.get("nullable") is True else hint


def _stated_type(schema: Mapping[str, Any], level: int) -> Any:
    kind = schema.get("type")
    if isinstance(kind, list):
        return _union([_type({**schema, "type": one}, level + 1) for one in kind])
    kind = str(kind).lower()
    if kind in _LISTS:
        return list[_item_type(schema, level)]  # type: ignore[misc]
    if "const" in schema:
        return _one_of([schema["const"]], kind)
    if schema.get("enum"):
        return _one_of(schema["enum"], kind)
    choices = schema.get("anyOf") or schema.get("oneOf")
    if isinstance(choices, list):
        return _union([_type(one, level + 1) for one in choices])
    return _number() if kind == "number" else _TYPES.get(kind, Any)


@cache
def _number() -> Any:
    """JSON has one kind of number: 5 and 5.0 are equal, and 5 is what most functions expect."""
    import pydantic

    return Annotated[float, pydantic.AfterValidator(_whole)]


def _whole(number: float) -> float:
    exact = abs(number) <= _MOST_EXACT and number.is_integer()
    return int(number) if exact else number


def _item_type(schema: Mapping[str, Any], level: int) -> Any:
    """The type of a list's items; an `enum` beside them is meant for each of them."""
    items = schema.get("items")
    found = items if isinstance(items, Mapping) else {}
    values = schema.get("enum")
    if isinstance(values, list) and not any(isinstance(one, list) for one in values):
        found = {**found, "enum": values}
    return _type(found, level + 1)


def _one_of(values: Any, kind: str) -> Any:
    """Exactly these values, if Python has a type for that."""
    if isinstance(values, list) and values and all(_is_literal(one) for one in values):
        return Literal[tuple(values)]
    return _TYPES.get(kind, Any)


def _is_literal(value: Any) -> bool:
    return value is None or isinstance(value, str | int)


def _union(types: Sequence[Any]) -> Any:
    return Any if Any in types or not types else Union[tuple(types)]  # noqa: UP007 - made at run time
