"""Events: every kind crosses a trace unharmed, and what is no event is refused by name."""

from __future__ import annotations

import dataclasses
import json
import math
import types
import typing
from enum import Enum
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planloop import events
from planloop.budget import Budget, Usage
from planloop.events import (
    CallEnded,
    CallStarted,
    Event,
    FeedbackGiven,
    NoteMade,
    PlanEnded,
    RunEnded,
    RunStarted,
    from_json,
    to_json,
)
from planloop.observation import Observation, Status
from planloop.state import RunStatus
from planloop.tool import Effect

KINDS: tuple[Any, ...] = typing.get_args(Event)

_text = st.text(st.characters(), max_size=8)
_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | _text
    | st.binary(max_size=4)
    | st.dates(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_text, inner, max_size=3),
    max_leaves=6,
)
_limits = st.none() | st.floats(0.01, 1e9)
_counts = st.none() | st.integers(1, 10**9)
_budgets = st.builds(
    Budget,
    cost_usd=_limits,
    wall_s=_limits,
    tokens=_counts,
    rounds=_counts,
    calls=_counts,
    sandbox_s=_limits,
)


def strategy(hint: Any) -> st.SearchStrategy[Any]:
    """Every value that a field of this type may hold."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return _values
    if hint is Budget:
        return _budgets
    if hint is float:
        return st.floats(allow_nan=False)
    if hint in (int, str, bool):
        return {int: st.integers(), str: _text, bool: st.booleans()}[hint]
    if origin is Literal:
        return st.sampled_from(inner)
    if origin is dict:
        return st.dictionaries(_text, _values, max_size=3)
    if origin is tuple and inner[-1] is Ellipsis:
        return st.lists(strategy(inner[0]), max_size=3).map(tuple)
    if origin is tuple:
        return st.tuples(*map(strategy, inner))
    if origin in (typing.Union, types.UnionType):
        return st.one_of(*(strategy(one) for one in inner))
    if hint is type(None):
        return st.none()
    if isinstance(hint, type) and issubclass(hint, Enum):
        return st.sampled_from(hint)
    assert dataclasses.is_dataclass(hint), hint
    return built(hint)


def built(kind: Any) -> st.SearchStrategy[Any]:
    hints = typing.get_type_hints(kind)
    fields = {field.name: strategy(hints[field.name]) for field in dataclasses.fields(kind)}
    return st.builds(kind, **fields)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: str(kind.__name__))
@given(data=st.data())
def test_every_event_crosses_a_trace_unharmed(kind: Any, data: st.DataObject) -> None:
    event = data.draw(built(kind))
    line = json.dumps(to_json(event), allow_nan=False)
    assert "\n" not in line
    assert from_json(json.loads(line)) == event


def test_numbers_that_json_lacks_cross_a_trace() -> None:
    event = PlanEnded(round=1, settled=(), bound={"a": float("nan"), "b": [float("inf")]})
    line = json.dumps(to_json(event), allow_nan=False)
    found = from_json(json.loads(line))
    assert isinstance(found, PlanEnded)
    assert math.isnan(found.bound["a"])
    assert found.bound["b"] == [math.inf]


def test_an_unknown_cost_and_a_lifted_limit_are_not_mistaken_for_the_default() -> None:
    feedback = FeedbackGiven(round=1, text="", failed=False, usage=Usage(cost_usd=None))
    assert from_json(to_json(feedback)) == feedback
    started = RunStarted(
        run_id="r",
        task="t",
        text="",
        folder=None,
        model="m",
        price="",
        sandbox="none",
        environment="e",
        tools=(),
        budget=Budget(cost_usd=None, wall_s=None, rounds=None, calls=None),
        checks=(),
    )
    assert from_json(to_json(started)) == started


def test_the_form_is_flat_and_leaves_empty_fields_out() -> None:
    event = CallEnded(serial=3, observation=Observation(status=Status.OK, value=[1]))
    assert to_json(event) == {
        "kind": "call_ended",
        "serial": 3,
        "observation": {"status": "ok", "value": [1], "duration_s": 0.0, "served": False},
    }
    assert to_json(NoteMade(text="hi")) == {"kind": "note_made", "text": "hi"}


def test_the_numbers_that_a_trace_adds_are_allowed() -> None:
    assert from_json({"kind": "note_made", "text": "a", "seq": 3, "at": 1.5}) == NoteMade(text="a")


def test_every_kind_has_a_name_of_its_own() -> None:
    names = {typing.get_type_hints(kind)["kind"].__args__[0] for kind in KINDS}
    assert len(names) == len(KINDS)
    assert set(events.LIVE_ONLY) < set(KINDS)


STARTED = to_json(
    CallStarted(
        serial=1,
        lineage=1,
        round=1,
        place=(0, 1),
        line=2,
        scope=None,
        tool="t",
        schema_hash="h",
        arguments={"a": b"x"},
        key="t()",
        effect=Effect.READS,
        resources=("world",),
    )
)
ENDED = to_json(
    RunEnded(
        status=RunStatus.SUCCESS,
        reason="",
        output=None,
        checks=(),
        verdict_by="task",
        changed_files=(),
        usage=Usage(),
    )
)


def _deep() -> Any:
    deep: Any = 1
    for _ in range(5000):
        deep = [deep]
    return deep


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (None, "no such event kind: None"),
        ([], "no such event kind: None"),
        ({}, "no such event kind: None"),
        ({"kind": "party"}, "no such event kind: 'party'"),
        ({"kind": []}, r"no such event kind: \[\]"),
        ({"kind": "note_made"}, "event `note_made` does not fit: .*'text'"),
        ({"kind": "note_made", "text": 3}, "expected str, got 3"),
        ({"kind": "note_made", "text": None}, "expected str, got None"),
        ({"kind": "note_made", "text": "a", "more": 1}, r"unknown fields \['more'\]"),
        ({**STARTED, "serial": "1"}, "expected int, got '1'"),
        ({**STARTED, "serial": True}, "expected int, got True"),
        ({**STARTED, "place": "01"}, "expected a list, got '01'"),
        ({**STARTED, "place": ["0"]}, "expected int, got '0'"),
        ({**STARTED, "effect": "magic"}, "'magic' is not a valid Effect"),
        ({**STARTED, "arguments": [1]}, "expected an object"),
        ({**STARTED, "arguments": {"a": {"$bytes": 3}}}, "event `call_started` does not fit"),
        ({**STARTED, "arguments": {"a": {"$date": "x"}}}, "Invalid isoformat"),
        ({**STARTED, "arguments": {"a": _deep()}}, "event `call_started` is nested too deeply"),
        ({**STARTED, "resources": {"a": 1}}, "expected a list"),
        ({**ENDED, "usage": []}, "event `run_ended` does not fit"),
        ({**ENDED, "usage": {"rounds": 1.5}}, "expected int, got 1.5"),
        ({**ENDED, "status": "triumph"}, "'triumph' is not a valid RunStatus"),
        ({"kind": "run_started", "budget": {"cost_usd": -1}}, "event `run_started` does not fit"),
    ],
)
def test_what_is_no_event_is_refused_and_says_why(found: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        from_json(found)


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | _text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_text, inner, max_size=3),
    max_leaves=6,
)


@given(data=st.data())
def test_a_spoiled_event_is_an_event_or_a_value_error(data: st.DataObject) -> None:
    found = dict(data.draw(st.sampled_from([STARTED, ENDED])))
    name = data.draw(st.sampled_from([*found, "seq", "x"]))
    found[name] = data.draw(_json)
    try:
        event = from_json(found)
    except ValueError:
        return
    assert from_json(json.loads(json.dumps(to_json(event)))) == event
