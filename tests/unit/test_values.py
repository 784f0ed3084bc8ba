"""Values: what tools return becomes one type, crosses files unharmed, and hashes the same."""

from __future__ import annotations

import ast
import dataclasses
import datetime as dt
import enum
import itertools
import json
import math
import time
from typing import Any

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planloop.values import (
    MAX_DEPTH,
    Handle,
    MissingKey,
    Record,
    canonical,
    decode,
    digest,
    dump,
    encode,
    fresh,
    identifier,
    identifiers,
)

_keys = st.text(max_size=6) | st.sampled_from(["$bytes", "$dict", "$float", "$handle", "$date"])
_scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(), max_size=8)
    | st.binary(max_size=8)
    | st.dates()
    | st.datetimes(timezones=st.none() | st.just(dt.UTC))
    | st.times()
)
values = st.recursive(
    _scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_keys, inner, max_size=4),
    max_leaves=20,
)


def same(left: Any, right: Any) -> bool:
    """Equal, in type too, and NaN equals NaN."""
    if isinstance(left, float) and isinstance(right, float):
        if math.isnan(left):
            return math.isnan(right)
        return left == right and math.copysign(1, left) == math.copysign(1, right)
    if isinstance(left, dict) and isinstance(right, dict):
        return list(left) == list(right) and all(same(left[k], right[k]) for k in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same, left, right))
    return type(left) is type(right) and left == right


@pytest.mark.rule("O5")
@given(values)
def test_a_value_crosses_a_file_unharmed(value: Any) -> None:
    line = json.dumps(encode(value), allow_nan=False)
    assert same(decode(json.loads(line)), value)


@given(values)
def test_what_is_read_from_a_file_has_records_all_the_way_down(value: Any) -> None:
    def records(found: Any) -> bool:
        if isinstance(found, dict):
            return isinstance(found, Record) and all(map(records, found.values()))
        return not isinstance(found, list) or all(map(records, found))

    assert records(decode(encode(value)))
    assert records(dump(value))
    assert records(fresh(value))


@given(values)
def test_the_canonical_form_is_one_text_for_equal_values(value: Any) -> None:
    text = canonical(value)
    assert canonical(fresh(value)) == text
    assert canonical(decode(encode(value))) == text
    assert digest(fresh(value)) == digest(value)
    if isinstance(value, dict):
        assert canonical(dict(reversed(value.items()))) == text


@given(values, values)
def test_values_of_one_canonical_form_are_equal(left: Any, right: Any) -> None:
    if canonical(left) == canonical(right):
        assert encode(left) == encode(right)


def test_numbers_that_python_calls_equal_stay_apart() -> None:
    forms = [canonical(value) for value in (2, 2.0, True, 1, 1.0, 0.0, -0.0, "1", None, "null")]
    assert len(set(forms)) == len(forms)


def test_a_copy_shares_nothing() -> None:
    value = Record(a=[Record(b=1)])
    copy = fresh(value)
    copy.a[0]["b"] = 2
    copy["a"].append(3)
    assert value == {"a": [{"b": 1}]}


class Colour(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 3


@dataclasses.dataclass
class Point:
    x: int
    tags: tuple[str, ...]


class Order(pydantic.BaseModel):
    sku: str
    at: dt.datetime


class Name(str):
    __slots__ = ()


def test_what_tools_return_becomes_a_value() -> None:
    now = dt.datetime(2026, 1, 31, 10, 30, tzinfo=dt.UTC)
    assert dump(Point(1, ("a", "b"))) == {"x": 1, "tags": ["a", "b"]}
    assert dump(Order(sku="s", at=now)) == {"sku": "s", "at": now}
    assert dump({2: "a", None: "b", True: "c", Colour.RED: "d"}) == {
        "2": "a",
        "null": "b",
        "true": "c",
        "red": "d",
    }
    assert dump((1, [2, (3,)])) == [1, [2, [3]]]
    assert dump({3, 1, 2}) == [1, 2, 3]
    assert dump(Colour.RED) == "red"
    assert dump(bytearray(b"x")) == b"x"
    for given_value, plain in ((Name("n"), str), (Level.HIGH, int)):
        assert type(dump(given_value)) is plain


def test_what_has_no_value_form_is_a_handle_that_knows_its_object() -> None:
    thing = object()
    handle = dump([thing])[0]
    assert isinstance(handle, Handle)
    assert handle.object is thing
    assert handle.type_name == "object"
    assert dump(handle) is handle
    assert decode(encode(handle)) == {"$handle": handle.id, "type": "object"}


def test_what_contains_itself_or_is_too_deep_is_refused() -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(ValueError, match="nested deeper than"):
        dump(loop)
    deep: Any = 1
    for _ in range(MAX_DEPTH):
        deep = [deep]
    assert dump(deep) == deep
    with pytest.raises(ValueError, match="nested deeper than"):
        dump([[deep]])


def test_a_record_reads_by_attribute_key_and_spelling() -> None:
    row = Record({"price": 3, "items": 4, "unit price": 5, "class": 6, "2nd": 7})
    assert row.price == row["price"] == 3
    assert row["items"] == 4
    assert callable(row.items)
    assert (row.unit_price, row.class_, row._2nd) == (5, 6, 7)
    assert json.loads(json.dumps(row)) == dict(row)


def test_a_missing_key_is_one_error_for_both_ways_of_asking_and_names_the_nearest() -> None:
    row = Record(price=3, sku="a")
    with pytest.raises(MissingKey, match="no key 'pirce'; nearest: 'price'"):
        _ = row.pirce
    assert issubclass(MissingKey, KeyError)
    assert issubclass(MissingKey, AttributeError)
    assert not hasattr(row, "pirce")
    with pytest.raises(MissingKey, match="the record is empty"):
        _ = Record().x
    with pytest.raises(MissingKey) as caught:
        getattr(Record({"k" * 10_000: 1}), "x" * 10_000)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    ("name", "spelled"),
    [
        ("price", "price"),
        ("unit-price", "unit_price"),
        ("class", "class_"),
        ("2nd", "_2nd"),
        ("", "_"),
        ("größe", "größe"),
        ("a\u200bb", "a_b"),
        ("files.read", "files_read"),
        ("None", "None_"),
        ("ﬁle", "file"),
        ("m²", "m2"),
        ("²", "_2"),
    ],
)
def test_any_name_has_a_python_spelling(name: str, spelled: str) -> None:
    assert identifier(name) == spelled


@given(st.lists(st.text(max_size=6), unique=True, max_size=12))
def test_spellings_are_identifiers_and_never_collide(names: list[str]) -> None:
    table = identifiers(names)
    assert sorted(table.values()) == sorted(names)
    for spelled in table:
        assert spelled.isidentifier()
        node = ast.parse(spelled, mode="eval").body
        assert isinstance(node, ast.Name)
        assert node.id == spelled


def test_colliding_names_get_numbers_in_order_and_real_names_stay() -> None:
    assert identifiers(["a-b", "a.b", "a_b", "a b"]) == {
        "a_b_2": "a-b",
        "a_b_3": "a.b",
        "a_b": "a_b",
        "a_b_4": "a b",
    }
    assert identifiers(["x-", "x.", "x__2"]) == {"x_": "x-", "x__3": "x.", "x__2": "x__2"}


def test_many_colliding_names_take_no_time() -> None:
    names = ["".join(one) for one in itertools.product("-.!?+", repeat=6)]
    started = time.process_time()
    assert len(identifiers(names)) == len(names)
    assert time.process_time() - started < 5
