"""Tools from the schemas of other systems, in the dialects that they are written in."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given as with_any
from hypothesis import settings
from hypothesis import strategies as st

from planloop import RunStatus, UserError
from planloop.schemas import tool_from_schema
from planloop.text import signature_text
from planloop.tool import ArgumentsInvalid, Tool
from tests.suites.running import block, native, run


def made(parameters: Any, called: list[dict[str, Any]] | None = None) -> Tool:
    def note(**arguments: Any) -> str:
        if called is not None:
            called.append(arguments)
        return "noted"

    return tool_from_schema("note_it", "Note it.", parameters, note)


def typed(**schema: Any) -> Tool:
    """A tool with one required argument `x` of this schema."""
    return made({"type": "object", "properties": {"x": schema}, "required": ["x"]})


def given(tool: Tool, **arguments: Any) -> Any:
    """What the tool's function gets for `x`."""
    return tool.bind([], arguments).parameters["x"]


def shown(tool: Tool) -> str:
    return signature_text(tool.signature)


@pytest.mark.parametrize(
    ("schema", "annotation"),
    [
        ({"type": "string"}, "str"),
        ({"type": "String"}, "str"),
        ({"type": "integer"}, "int"),
        ({"type": "number"}, "float"),
        ({"type": "float"}, "float"),
        ({"type": "Boolean"}, "bool"),
        ({"type": "dict", "properties": {"a": {"type": "string"}}}, "dict[str, Any]"),
        ({"type": "object"}, "dict[str, Any]"),
        ({"type": "array", "items": {"type": "integer"}}, "list[int]"),
        ({"type": "tuple", "items": {"type": "float"}}, "list[float]"),
        ({"type": "array"}, "list[Any]"),
        ({"type": "string", "enum": ["a", "b"]}, "Literal['a', 'b']"),
        ({"type": "array", "items": {"type": "string"}, "enum": ["a"]}, "list[Literal['a']]"),
        ({"const": 3}, "Literal[3]"),
        ({"type": ["string", "null"]}, "str | None"),
        ({"type": "integer", "nullable": True}, "int | None"),
        ({"anyOf": [{"type": "integer"}, {"type": "string"}]}, "int | str"),
        ({"oneOf": [{"type": "integer"}, {"type": "null"}]}, "int | None"),
    ],
)
def test_a_type_is_the_nearest_of_python(schema: dict[str, Any], annotation: str) -> None:
    assert shown(typed(**schema)) == f"(x: {annotation})"


@pytest.mark.parametrize(
    "schema",
    [
        {},
        {"type": "any"},
        {"type": "Date (yyyy-mm-dd)"},
        {"type": None},
        {"type": 7},
        {"type": []},
        {"enum": [[1], [2]]},
        {"type": "Enum", "enum": "1-100"},
        {"anyOf": "nothing"},
        {"anyOf": [{"type": "integer"}, {}]},
        {"$ref": "#/$defs/thing"},
    ],
)
def test_what_has_no_near_type_is_taken_as_it_comes(schema: dict[str, Any]) -> None:
    tool = typed(**schema)
    assert shown(tool) == "(x)"
    for value in ("text", 5, 2.5, None, [1], {"a": [None]}):
        assert given(tool, x=value) == value


KEYWORDS = st.sampled_from(
    (
        *("type", "enum", "const", "items", "properties", "required", "anyOf", "oneOf"),
        *("default", "nullable", "optional", "description"),
        *("string", "array", "dict", "x y", "class", "again"),
    )
)
SCHEMAS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | KEYWORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYWORDS, inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=40, deadline=None)
@with_any(SCHEMAS)
def test_any_json_as_a_schema_makes_a_tool_or_one_clear_error(parameters: Any) -> None:
    try:
        tool = made(parameters)
    except UserError:
        assert not isinstance(parameters, dict)
        return
    assert "def note_it(" in tool.stub()
    assert tool.parameters_schema["type"] == "object"
    assert tool.schema_hash
    with pytest.raises(ArgumentsInvalid, match="surely_unknown"):
        tool.bind([], {**dict.fromkeys(tool.signature.parameters), "surely_unknown": 1})


def test_a_property_that_is_no_schema_is_taken_as_it_comes() -> None:
    tool = made({"type": "object", "properties": {"x": True}, "required": ["x"]})
    assert given(tool, x=[1]) == [1]


def test_a_schema_that_never_ends_is_taken_as_it_comes_below_some_level() -> None:
    schema: dict[str, Any] = {"type": "array"}
    schema["items"] = schema
    deep: Any = "bottom"
    for _ in range(40):
        deep = [deep]
    assert given(typed(**schema), x=deep) == deep


@pytest.mark.parametrize(("written", "handed"), [(5, 5), (5.0, 5), (2.5, 2.5), ("7", 7)])
def test_a_number_is_handed_on_whole_if_it_is(written: object, handed: float) -> None:
    value = given(typed(type="number"), x=written)
    assert (value, type(value)) == (handed, type(handed))


def test_equal_numbers_make_equal_calls() -> None:
    tool = typed(type="number")
    assert tool.bind([], {"x": 2}).key == tool.bind([], {"x": 2.0}).key


def test_a_number_too_large_to_be_exact_stays_a_float() -> None:
    assert isinstance(given(typed(type="number"), x=1e300), float)


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "integer"}, "five"),
        ({"type": "integer"}, 2.5),
        ({"type": "number"}, "five"),
        ({"type": "string"}, 5),
        ({"type": "boolean"}, "perhaps"),
        ({"type": "array", "items": {"type": "string"}}, "a"),
        ({"type": "dict"}, [1]),
        ({"type": "string", "enum": ["celsius"]}, "kelvin"),
    ],
)
def test_a_value_of_another_type_is_refused_with_one_reason(
    schema: dict[str, Any], value: object
) -> None:
    with pytest.raises(ArgumentsInvalid, match=r"^note_it\(\): argument `x`: [^;]*$"):
        typed(**schema).bind([], {"x": value})


FORMS = {
    "a schema": {
        "type": "dict",
        "properties": {"a": {"type": "string"}, "b": {"type": "integer"}},
        "required": ["a"],
    },
    "a schema without a type": {
        "properties": {"a": {"type": "string"}, "b": {"type": "integer", "optional": True}},
        "required": ["a"],
    },
    "a table where each argument says it of itself": {
        "a": {"type": "string", "required": True},
        "b": {"type": "integer", "required": False},
    },
}


@pytest.mark.parametrize("parameters", FORMS.values(), ids=FORMS)
def test_required_arguments_are_found_in_each_form(parameters: dict[str, Any]) -> None:
    assert shown(made(parameters)) == "(a: str, b: int | None = None)"


@pytest.mark.parametrize(
    "parameters", [{}, {"type": "object"}, {"properties": {}}, {"type": "dict", "properties": None}]
)
def test_a_tool_without_arguments_takes_none(parameters: dict[str, Any]) -> None:
    assert shown(made(parameters)) == "()"


def test_nothing_is_required_if_nobody_says_so() -> None:
    tool = made({"type": "object", "properties": {"a": {"type": "string"}}})
    assert shown(tool) == "(a: str | None = None)"


def test_an_argument_may_be_called_type_or_properties() -> None:
    tool = made({"type": {"type": "string", "required": True}, "properties": {"type": "array"}})
    assert shown(tool) == "(type: str, properties: list[Any] | None = None)"


def test_a_nested_list_of_required_names_is_not_the_arguments_own() -> None:
    nested = {"type": "object", "properties": {"b": {"type": "string"}}, "required": ["b"]}
    assert shown(made({"a": nested, "c": {"type": "string", "required": True}})).startswith("(c: ")


def test_what_is_left_out_or_none_is_not_handed_on_and_defaults_are() -> None:
    called: list[dict[str, Any]] = []
    parameters = {
        "type": "object",
        "properties": {
            "a": {"type": "string"},
            "b": {"type": "integer"},
            "c": {"type": "string", "default": "c"},
        },
        "required": ["a"],
    }
    source = 'note_it(a="x")\nnote_it("y", 3, c="z")\nnote_it(a="z", b=None)\ndone()'
    result, _ = run([block(source)], [made(parameters, called)])
    assert result.status is RunStatus.ANSWERED
    assert called == [{"a": "x", "c": "c"}, {"a": "y", "b": 3, "c": "z"}, {"a": "z", "c": "c"}]


def test_a_required_argument_may_be_none_if_its_schema_says_so() -> None:
    called: list[dict[str, Any]] = []
    tool = made({"properties": {"a": {"type": ["string", "null"]}}, "required": ["a"]}, called)
    run([block("note_it(None)\ndone()")], [tool])
    assert called == [{"a": None}]


NAMES = (
    "from",
    "Exchange Rate",
    "Exchange_Rate",
    "again",
    "again_",
    "self",
    "schema",
    "_x",
    "3d",
    "größe",
)


@pytest.mark.parametrize("form", ["python", "native"])
def test_arguments_of_any_name_arrive_under_their_own(form: str) -> None:
    called: list[dict[str, Any]] = []
    properties = {name: {"type": "integer", "required": True} for name in NAMES}
    tool = made(properties, called)
    spelled = list(tool.signature.parameters)
    assert spelled == [
        *("from_", "Exchange_Rate_2", "Exchange_Rate", "again__", "again_"),
        *("self", "schema", "_x", "_3d", "größe"),
    ]
    numbers = {name: number for number, name in enumerate(spelled)}
    written = ", ".join(f"{name}={number}" for name, number in numbers.items())
    replies = {
        "python": [block(f"note_it({written})\ndone()")],
        "native": [native([("note_it", numbers)]), "Done."],
    }[form]
    result, told = run(replies, [tool], plans_in=form)
    assert result.status is RunStatus.ANSWERED, told
    assert called == [{name: number for number, name in enumerate(NAMES)}]


def test_an_async_function_is_awaited() -> None:
    async def double(x: int) -> int:
        return 2 * x

    tool = tool_from_schema("double", "", {"x": {"type": "integer", "required": True}}, double)
    result, _ = run([block("done(double(21))")], [tool])
    assert result.output == 42


def test_a_default_list_is_not_shared_between_calls() -> None:
    def push(items: list[int]) -> list[int]:
        items.append(1)
        return items

    tool = tool_from_schema("push", "", {"items": {"type": "array", "default": []}}, push)
    result, _ = run([block("a = push()\nb = push()\ndone(a + b)")], [tool])
    assert result.output == [1, 1]


def test_descriptions_of_the_arguments_are_part_of_the_tool() -> None:
    parameters = {
        "x": {"type": "integer", "description": "How many,\n  at most 5", "required": True}
    }
    assert made(parameters).description == "Note it.\n\nArgs:\n    x: How many, at most 5"


@pytest.mark.parametrize("parameters", [None, [], "object"])
def test_parameters_that_are_no_table_are_refused(parameters: object) -> None:
    with pytest.raises(UserError, match="the parameters of tool `note_it`"):
        made(parameters)
