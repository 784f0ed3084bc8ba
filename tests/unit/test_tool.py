"""Tools: what a plan's arguments become, which calls are equal, and how tools are named."""

from __future__ import annotations

import dataclasses
import datetime as dt
import functools
import json
from collections.abc import Callable
from typing import Any, Literal

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planloop.errors import UserError
from planloop.language import RESERVED
from planloop.tool import (
    ArgumentsInvalid,
    BoundCall,
    Context,
    Effect,
    Tool,
    json_arguments,
    tool,
    tool_table,
)
from planloop.values import Handle, dump


@tool
def order(sku: str, quantity: int = 1, *, express: bool = False) -> str:
    """Order something."""
    return f"{quantity} {sku} {express}"


def bind(found: Tool, *args: Any, **kwargs: Any) -> BoundCall:
    return found.bind(args, kwargs)


# ---- binding and keys


@pytest.mark.rule("L1")
def test_defaults_are_filled_in_and_names_do_not_matter_to_the_key() -> None:
    same = [
        bind(order, "a"),
        bind(order, sku="a"),
        bind(order, "a", 1),
        bind(order, quantity=1, sku="a", express=False),
    ]
    assert {call.key for call in same} == {
        'order({"express":false,"quantity":1,"sku":"a"})',
    }
    assert same[0].arguments == {"sku": "a", "quantity": 1, "express": False}
    assert bind(order, "b").key != same[0].key


@pytest.mark.rule("L1")
def test_arguments_are_coerced_by_the_tools_types_before_they_are_compared() -> None:
    @tool
    def scale(factor: float, times: int, when: dt.date, tags: list[str]) -> None: ...

    exact = bind(scale, 2.0, 3, dt.date(2026, 1, 31), ["a"])
    loose = bind(scale, 2, 3.0, "2026-01-31", ("a",))
    assert loose.key == exact.key
    assert loose.parameters == exact.parameters
    assert type(loose.parameters["factor"]) is float
    assert type(loose.parameters["times"]) is int


@pytest.mark.rule("L2")
def test_keys_tell_apart_what_python_calls_equal() -> None:
    @tool
    def show(thing: Any) -> None: ...

    things = [1, 1.0, True, 0, -0.0, 0.0, "1", None, [1], {"a": 1}, b"1"]
    assert len({bind(show, thing).key for thing in things}) == len(things)


class Line(pydantic.BaseModel):
    sku: str
    quantity: int = 1


@dataclasses.dataclass
class Point:
    x: int
    y: int = 0


def test_records_become_the_models_and_dataclasses_that_a_tool_asks_for() -> None:
    @tool
    def send(line: Line, point: Point, more: list[Line]) -> None: ...

    call = bind(send, dump({"sku": "a"}), {"x": "3"}, [{"sku": "b", "quantity": "2"}])
    assert call.parameters == {
        "line": Line(sku="a"),
        "point": Point(3),
        "more": [Line(sku="b", quantity=2)],
    }
    assert call.arguments == {
        "line": {"sku": "a", "quantity": 1},
        "point": {"x": 3, "y": 0},
        "more": [{"sku": "b", "quantity": 2}],
    }


class Session:
    pass


def test_handles_reach_the_tool_as_their_objects() -> None:
    @tool
    def use(session: Session, many: list[Session]) -> None: ...

    session = Session()
    handle = dump(session)
    assert isinstance(handle, Handle)
    call = bind(use, handle, [handle])
    assert call.parameters == {"session": session, "many": [session]}


@pytest.mark.parametrize(
    ("args", "kwargs", "message"),
    [
        ((), {}, "order(): missing a required argument: 'sku'"),
        (("a", 1, True), {}, "order(): too many positional arguments"),
        (("a",), {"color": 1}, "order(): got an unexpected keyword argument 'color'"),
        (("a",), {"sku": "b"}, "order(): multiple values for argument 'sku'"),
        (("a", "many"), {}, "order(): argument `quantity`: Input should be a valid integer"),
        ((["a"],), {}, "order(): argument `sku`: Input should be a valid string"),
        (("a", 1.5), {}, "order(): argument `quantity`: Input should be a valid integer"),
    ],
)
def test_arguments_that_do_not_fit_are_named(
    args: tuple[Any, ...], kwargs: dict[str, Any], message: str
) -> None:
    with pytest.raises(ArgumentsInvalid) as caught:
        order.bind(args, kwargs)
    assert str(caught.value).startswith(message)


@pytest.mark.rule("L1")
@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_numbers_that_json_lacks_are_no_arguments(number: float) -> None:
    @tool
    def show(thing: Any) -> None: ...

    for thing in (number, [number], {"a": [number]}):
        with pytest.raises(ArgumentsInvalid, match=r"argument `thing`: .* cannot be an argument"):
            bind(show, thing)


def test_a_huge_wrong_argument_gives_a_short_message() -> None:
    with pytest.raises(ArgumentsInvalid) as caught:
        bind(order, "a", "x" * 10**6)
    assert len(str(caught.value)) < 400


def test_parameters_may_have_any_name() -> None:
    @tool
    def odd(schema: str, model_config: int, _x: int, field_0: int, copy: int = 0) -> int:
        return model_config + _x + field_0

    call = bind(odd, "s", 1, 2, field_0=3)
    assert odd.function(**call.parameters) == 6
    assert list(odd.parameters_schema["properties"]) == [
        *("schema", "model_config", "_x", "field_0", "copy"),
    ]


@given(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    st.integers(-(10**12), 10**12),
    st.booleans(),
)
def test_binding_what_was_bound_changes_nothing(sku: str, quantity: int, express: bool) -> None:
    once = bind(order, sku, quantity, express=express)
    again = order.bind((), json.loads(json.dumps(once.arguments)))
    assert again.key == once.key
    assert again.parameters == once.parameters == dict(once.arguments)


def test_one_argument_can_be_checked_before_the_others_are_known() -> None:
    order.check_argument("quantity", 3)
    order.check_argument(0, "a")
    order.check_shape(1, ["express"])
    with pytest.raises(ArgumentsInvalid, match="argument `quantity`"):
        order.check_argument(1, "many")
    with pytest.raises(ArgumentsInvalid, match="missing a required argument"):
        order.check_shape(0, ["express"])


# ---- context, effects, resources


def test_the_context_is_hidden_from_plans_wherever_it_stands() -> None:
    @tool
    def look(path: str, context: Context[int], deep: bool = False) -> str:
        """Look."""
        return path

    assert look.context_parameter == "context"
    assert list(look.signature.parameters) == ["path", "deep"]
    assert bind(look, "a", True).arguments == {"path": "a", "deep": True}
    assert look.stub() == 'def look(path: str, deep: bool = False) -> str:\n    """Look."""'
    assert "context" not in json.dumps(look.parameters_schema)


@pytest.mark.rule("O1")
def test_a_tool_that_declares_nothing_is_external_and_touches_the_world() -> None:
    assert order.effect is Effect.EXTERNAL
    assert bind(order, "a").resources == {"world"}
    assert bind(order, "a").declared is False


@pytest.mark.rule("O1")
@pytest.mark.parametrize(
    ("options", "resources", "declared"),
    [
        ({"effect": "pure"}, set(), True),
        ({"effect": "reads"}, {"world"}, False),
        ({"effect": "reads", "needs_sandbox": True}, {"workspace"}, False),
        ({"effect": "workspace"}, {"workspace"}, False),
        ({"effect": "external", "resources": ["mail", "disk"]}, {"mail", "disk"}, True),
        ({"resources": lambda given: [f"file:{given['path']}"]}, {"file:a"}, True),
        ({"effect": "pure", "resources": ["mail"]}, set(), True),
    ],
)
def test_what_a_call_touches(options: dict[str, Any], resources: set[str], declared: bool) -> None:
    @tool(**options)
    def touch(path: str) -> None: ...

    call = bind(touch, "a")
    assert (call.resources, call.declared) == (frozenset(resources), declared)


def test_which_effects_change_something() -> None:
    assert [effect.value for effect in Effect if effect.is_effect] == ["workspace", "external"]


# ---- making tools


def test_a_decorated_function_is_still_a_function_and_a_tool_stays_itself() -> None:
    assert order("a", 2) == "2 a False"
    assert tool(order) is order
    assert (order.name, order.description) == ("order", "Order something.")


def _spread(*parts: str) -> None: ...


def _options(**options: str) -> None: ...


def _again(again: bool) -> None: ...


def _by_place(path: str, /) -> None: ...


@pytest.mark.parametrize("function", [_spread, _options, _again, _by_place])
def test_functions_that_plans_cannot_call_by_name_are_refused(function: Callable[..., Any]) -> None:
    with pytest.raises(UserError) as caught:
        tool(function)
    assert function.__name__ in caught.value.what
    assert caught.value.hint


def test_a_type_that_cannot_be_found_is_a_clear_error() -> None:
    class Local:
        pass

    @tool
    def use(thing: Local) -> None: ...

    with pytest.raises(UserError) as caught:
        _ = use.signature
    assert str(caught.value) == (
        "the types of tool `use` cannot be read: name 'Local' is not defined\n\n"
        "hint: define them at the top level of the tool's module"
    )


class Shop:
    """Sells."""

    def __call__(self, sku: str, quantity: int = 1) -> str:
        return f"{quantity} {sku}"

    def sell(self, sku: str, quantity: int = 1) -> str:
        return f"{quantity} {sku}"


@pytest.mark.parametrize(
    "function",
    [Shop(), Shop().sell, functools.partial(Shop().sell), functools.partial(Shop())],
)
def test_methods_objects_and_partials_are_tools_too(function: Callable[..., Any]) -> None:
    found = tool(name="sell")(function)
    call = bind(found, "a", "2")
    assert call.key == 'sell({"quantity":2,"sku":"a"})'
    assert found(**call.parameters) == "2 a"


def test_an_unknown_effect_lists_the_known_ones() -> None:
    with pytest.raises(UserError, match="expected one of `pure`, `reads`, `workspace`, `external`"):
        tool(effect="none")(_plain)


def _plain(a: int) -> None:
    """Do."""


def test_the_schema_hash_changes_with_name_parameters_and_effect_only() -> None:
    base = tool(_plain)
    assert tool(_plain).schema_hash == base.schema_hash
    assert tool(timeout_s=3)(_plain).schema_hash == base.schema_hash

    def _plain_2(a: str) -> None: ...

    for other in (tool(name="b")(_plain), tool(effect="pure")(_plain), tool(_plain_2)):
        assert other.schema_hash != base.schema_hash


def test_the_schema_says_what_a_native_declaration_needs() -> None:
    @tool
    def find(kind: Literal["a", "b"], limit: int | None = None) -> None: ...

    assert find.parameters_schema == {
        "additionalProperties": False,
        "properties": {
            "kind": {"enum": ["a", "b"], "type": "string"},
            "limit": {"anyOf": [{"type": "integer"}, {"type": "null"}], "default": None},
        },
        "required": ["kind"],
        "type": "object",
    }


# ---- names


def named(*names: str) -> list[Tool]:
    return [tool(name=name)(_plain) for name in names]


def test_tools_are_called_by_python_spellings_and_keep_their_names() -> None:
    table = tool_table(named("read", "files.read", "files-read", "class", "2nd"), RESERVED)
    assert {spelled: found.name for spelled, found in table.items()} == {
        "read": "read",
        "files_read": "files.read",
        "files_read_2": "files-read",
        "class_": "class",
        "_2nd": "2nd",
    }


def test_a_tool_with_a_python_name_keeps_it() -> None:
    table = tool_table(named("a-b", "a_b"), RESERVED)
    assert table["a_b"].name == "a_b"
    assert table["a_b_2"].name == "a-b"


def test_two_tools_of_one_name_are_refused() -> None:
    with pytest.raises(UserError, match="two tools are called `read`"):
        tool_table(named("read", "read"), RESERVED)


@pytest.mark.parametrize("name", ["done", "expect", "len", "note", "keep"])
def test_a_tool_cannot_take_a_word_of_the_plan_language(name: str) -> None:
    with pytest.raises(UserError) as caught:
        tool_table(named(name), RESERVED)
    assert f"tool `{name}` clashes with `{name}`" in caught.value.what
    assert caught.value.hint


@given(st.lists(st.text(max_size=5), unique=True, max_size=8))
def test_every_tool_gets_a_spelling_of_its_own(names: list[str]) -> None:
    table = tool_table(named(*(f"t{name}" for name in names)), frozenset())
    assert len(table) == len(names)
    assert all(spelled.isidentifier() for spelled in table)


# ---- native arguments


def test_native_arguments_are_strict_json_objects() -> None:
    assert json_arguments(' {"a": [1, 2.5, null]} ') == {"a": [1, 2.5, None]}
    assert json_arguments("") == json_arguments(" \n") == {}


@pytest.mark.parametrize(
    "text",
    [
        "[1]",
        "3",
        "null",
        '{"a": 1, "a": 2}',
        '{"a": NaN}',
        '{"a": Infinity}',
        '{"a": 1',
        '{"a": 1} x',
        "{'a': 1}",
        '{"a": ' + "[" * 5000 + "]" * 5000 + "}",
        '"\ud800"',
    ],
)
def test_native_arguments_that_are_not_are_a_value_error(text: str) -> None:
    with pytest.raises(ValueError):
        json_arguments(text)
