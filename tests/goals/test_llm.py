"""`llm(prompt, schema=…)`: one question, an answer of the asked shape."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planloop import Budget, RunStatus
from planloop.goals.shapes import NoShape, problems, shape_of
from planloop.values import Value
from tests.goals.scripts import Script, block

PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer", "minimum": 0}},
    "required": ["name"],
}


@pytest.mark.anyio
async def test_a_question_without_a_shape_is_answered_by_a_text() -> None:
    script = Script({"main": [block('done(llm("Say hi."))')], "main/1.1": [" hi \n"]})
    assert (await script.run()).output == "hi"
    assert script.told("main/1.1") == ["Say hi."]


@pytest.mark.anyio
async def test_an_answer_of_another_shape_is_sent_back_once() -> None:
    plan = block('done(llm("Who?", schema="list[int]"))')
    replies = ["I think: 1, 2", "```json\n[1, 2]\n```"]
    script = Script({"main": [plan], "main/1.1": replies})
    assert (await script.run()).output == [1, 2]
    assert "no JSON" in script.told("main/1.1")[1]


@pytest.mark.anyio
async def test_a_second_misfit_fails_the_call() -> None:
    plan = block('done(llm("Who?", schema={"type": "object", "required": ["name"]}))')
    script = Script({"main": [plan, "No."], "main/1.1": ["{}", '{"nome": 1}']})
    assert (await script.run()).output == "No."
    assert "has no `name`" in script.told("main")[1]


@pytest.mark.anyio
async def test_an_equal_question_of_a_revision_is_served() -> None:
    plan = block('x = llm("Say x.")\nlook("gone")\ndone(x)')
    script = Script({"main": [plan, plan, "No."], "main/1.1": ["x"]})
    from tests.goals.scripts import World

    world = World()
    world.broken = {"gone"}
    await script.run(world)
    assert script.told("main/2.1") == []
    assert world.looks == ["gone", "gone"]


@pytest.mark.anyio
async def test_questions_are_on_the_budget_of_the_run() -> None:
    plan = block('a = llm("1")\nb = llm("2" + a)\nc = llm("3" + b)\ndone(c)')
    script = Script({"main": [plan], "main/1.1": ["x" * 3000], "main/1.2": ["y" * 3000]})
    result = await script.run(budget=Budget(tokens=9_000))
    assert result.status is RunStatus.CAPPED


@pytest.mark.parametrize(
    ("said", "good", "bad"),
    [
        ("int", [0, -4], [1.5, "1", True, None, 2.5]),
        ("float | None", [1, 1.5, None], ["1", False]),
        ("list[str]", [[], ["a"]], [["a", 1], "a", {}]),
        ("dict[str, list[int]]", [{}, {"a": [1]}], [{"a": 1}, []]),
        (PERSON, [{"name": "a", "age": 3}], [{}, {"name": 1}, {"name": "a", "age": -1}]),
        (PERSON, [{"name": "a"}], [{"name": "a", "other": 1}]),
        ({"enum": ["a", 1]}, ["a", 1], ["b", True, 1.5]),
        ({"anyOf": [{"type": "null"}, {"const": 3}]}, [None, 3], [4, "3"]),
        ({"type": "array", "items": {"maxLength": 2}, "minItems": 1}, [["ab"]], [[], ["abc"]]),
        ({"type": "number", "exclusiveMaximum": 2}, [1.9], [2, 3]),
    ],
)
def test_shapes_are_strict(said: Any, good: list[Value], bad: list[Value]) -> None:
    schema = shape_of(said)
    assert [problems(value, schema) for value in good] == [[]] * len(good)
    assert all(problems(value, schema) for value in bad)


@pytest.mark.parametrize(
    "said",
    [
        "integer", "list[", "list[int, int]", "dict[int, int]", "", "a" * 10_000, "list[" * 500,
        {"pattern": "a+"}, {"type": "int"}, {"properties": []}, {"items": {"format": "date"}},
        {"minimum": "1"}, {"anyOf": [1]},
    ],
)  # fmt: skip
def test_what_cannot_be_checked_is_no_shape(said: Any) -> None:
    with pytest.raises(NoShape):
        shape_of(said)


@given(st.recursive(
    st.sampled_from(["str", "int", "float", "bool", "None"]),
    lambda inner: inner.map("list[{}]".format) | inner.map("dict[str, {}]".format),
    max_leaves=5,
))  # fmt: skip
def test_every_type_that_can_be_written_is_a_shape(name: str) -> None:
    assert problems(object(), shape_of(name))
