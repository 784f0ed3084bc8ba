# ruff: noqa: E501
"""The evaluator gives the values and the error classes of the real interpreter."""

from __future__ import annotations

import ast
import datetime as dt
import itertools
from typing import Any

import pytest

from planloop.language import grammar
from planloop.language.evaluate import Evaluator
from planloop.language.limits import LimitExceeded
from planloop.values import Record

VALUES: dict[str, Any] = {
    "zero": 0,
    "three": 3,
    "minus": -2,
    "half": 0.5,
    "huge": 1e300,
    "nan": float("nan"),
    "yes": True,
    "none": None,
    "empty": "",
    "word": "Hello, World",
    "lines": "a b\nc\r\nd",
    "digits": "42",
    "data": b"ab\x00",
    "nothing": [],
    "numbers": [3, 1, 2],
    "words": ["b", "a", "c"],
    "mixed": [1, "a", None],
    "pair": ("k", 1),
    "pairs": [("k", 1), ("l", 2)],
    "keyed": {"k": 1, "l": [1]},
    "row": Record({"k": 1, "name": "x", "rows": [Record({"k": 2})]}),
    "few": {3, 1},
    "day": dt.date(2024, 2, 29),
    "when": dt.datetime(2024, 2, 29, 12, 30),
    "clock": dt.time(12, 30),
    "span": range(1, 9, 3),
}
BINARY = ("+", "-", "*", "/", "//", "%", "**", "<<", ">>", "&", "|", "^", "@")
COMPARE = ("==", "!=", "<", "<=", ">", ">=", "in", "not in")
ORDER_TEXT = "sorted(…)"
"""In the text of every refusal that comes of a set's order."""


def both(source: str, scope: dict[str, Any] = VALUES) -> tuple[Any, Any]:
    """What the evaluator and Python make of an expression: a value, or an error."""
    node = ast.parse(source, mode="eval").body
    return attempt(lambda: Evaluator().value(node, dict(scope))), attempt(
        lambda: eval(source, dict(scope))
    )


def attempt(step: Any) -> Any:
    try:
        found = step()
        return found if isinstance(found, tuple(map(type, VALUES.values()))) else drained(found)
    except Exception as error:
        return error


def drained(found: Any) -> Any:
    return list(found) if hasattr(found, "__next__") else found


def same(mine: Any, theirs: Any) -> bool:
    if isinstance(theirs, Exception):
        return type(mine).__name__ == type(theirs).__name__
    return type(mine) is type(theirs) and repr(mine) == repr(theirs)


def refused(mine: Any) -> bool:
    """Whether a limit, or the order of a set, is why there is no value."""
    return isinstance(mine, LimitExceeded) or ORDER_TEXT in str(mine)


def check(source: str, scope: dict[str, Any] = VALUES) -> None:
    mine, theirs = both(source, scope)
    if not refused(mine):
        assert same(mine, theirs), (source, mine, theirs)


@pytest.mark.rule("O6")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("operator", BINARY + COMPARE)
def test_operators_are_those_of_python(operator: str) -> None:
    for left, right in itertools.product(VALUES, VALUES):
        check(f"{left} {operator} {right}")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", sorted(grammar.BUILTINS - {"isinstance"}))
def test_builtins_are_those_of_python(name: str) -> None:
    for first in VALUES:
        if name in grammar.MAPPERS:
            check(f"{name}(str, {first})") if name == "map" else check(f"{name}(None, {first})")
            continue
        check(f"{name}({first})")
        for second in VALUES:
            check(f"{name}({first}, {second})")
    for rest in ("", "numbers, key=lambda n: -n", "words, reverse=True", "nothing, default=3"):
        check(f"{name}({rest})")


def method_calls() -> list[str]:
    arguments = ["", *(name for name in VALUES), "'l'", "'l', 'LL'", "' ', 1", "3, '*'", "'k', 0"]
    return [f".{name}({given})" for name in sorted(grammar.METHODS) for given in arguments]


@pytest.mark.parametrize("owner", sorted(VALUES))
def test_methods_are_those_of_python(owner: str) -> None:
    value = VALUES[owner]
    for call in method_calls():
        name = call[1:].split("(")[0]
        if hasattr(type(value), name) or isinstance(value, Record):
            mine, theirs = both(owner + call)
            unknown = isinstance(mine, AttributeError) and "has no attribute" in str(mine)
            ours_only = unknown and not isinstance(value, str | list | dict)
            if not (refused(mine) or ours_only or "; known: " in str(mine)):
                assert same(mine, theirs), (owner + call, mine, theirs)


@pytest.mark.parametrize(
    "source",
    [
        "numbers[0]", "numbers[9]", "numbers[1:]", "numbers[::-1]", "word[1:4]", "word['a']",
        "keyed['k']", "keyed['none']", "keyed.k", "row.k", "row.none", "row.rows[0].k",
        "row['rows'][0]['k']", "row.rows[1]", "none.x", "numbers.x", "three[0]", "data[0]",
        "day.year", "when.hour", "clock.minute", "(day - day).days", "(when - when).total_seconds()",
        "day.isoformat()", "day.strftime('%Y')", "f'{day:%d.%m.%Y}'", "day < when", "three.real",
        "f'{three}'", "f'{three:05d}'", "f'{half:.3f}'", "f'{word!r:>20}'", "f'{three:{three}}'",
        "f'{numbers}'", "f'{numbers:3}'", "f'{none:d}'", "f'{word:d}'", "f'{three=}'",
        "'%s and %r' % (word, numbers)", "'%d' % word", "'%5.1f|%x' % (half, three)", "'%s' % pair",
        "'%(k)s' % keyed", "'%s' % ()", "'100%'", "'%'  % 3",
        "1 < three < 9", "1 < three < 2 < zero / 0", "three > 9 < 1 / 0", "three in numbers in [1]",
        "zero and 1 / 0", "three or 1 / 0", "zero or none or empty", "not numbers", "-word", "~three",
        "1 if numbers else 1 / 0", "[n * 2 for n in numbers if n > 1]",
        "[(a, b) for a in numbers for b in words if a > 1]", "[x for row in [[1], [2]] for x in row]",
        "{n: str(n) for n in numbers}", "{len(w) for w in words}", "[k for k, v in pairs]",
        "[k for k, v in numbers]", "[a for a, *b in ['abc', 'd']]", "[a for a, b in ['abc']]",
        "{**keyed, 'm': 2}", "{**numbers}", "[*numbers, *words]", "(*pair, 3)", "{*numbers, 1}",
        "{[]: 1}", "{numbers}", "{1: 2, 1: 3}", "any(n > 1 for n in numbers)",
        "all(1 / n for n in [1, 2, 0])", "any(1 / n for n in [1, 0])", "all(n > 3 for n in [1, 0])",
        "next(n for n in numbers if n > 1)", "next((n for n in nothing), 'none')",
        "next(n for n in nothing)", "[next(n for n in nothing) for _ in numbers]",
        "[n for n in numbers if next(m for m in nothing)]", "list(next(m for m in nothing) for n in numbers)",
        "next(numbers)", "sum(n for n in numbers)", "sum(words)", "sum([[1], [2]], [])",
        "min(numbers, key=lambda n: -n)", "max(pairs, key=lambda p: p[1])", "min(nothing)",
        "max(nothing, default=0)", "max(1, 2.0, key=abs)", "sorted(mixed)", "sorted(mixed, key=str)",
        "sorted(words, key=len, reverse=True)", "sorted(numbers, key=three)", "min(3, 'a')",
        "list(zip(numbers, words))", "list(zip(numbers, [1], strict=True))", "dict(zip(words, numbers))",
        "list(enumerate(words, start=1))", "list(map(str, numbers))", "list(map(lambda n: n + 1, numbers))",
        "list(map(lambda a, b: a, numbers))", "list(map(int, words))", "list(filter(None, mixed))",
        "list(filter(lambda n: n > 1, numbers))", "list(reversed(words))", "list(keyed)",
        "list(keyed.items())", "keyed.keys() & row.keys()", "str(keyed.keys())", "dict(keyed, z=1)",
        "dict(k=1)", "dict(pairs)", "dict([1])", "dict([(1, 2, 3)])", "dict(['ab'])", "set(words) == set('abc')",
        "len({1, 1.0, True})", "few | {9}", "few - {1}", "sorted(few)", "3 in few", "min(few)", "sum(few)",
        "' '.join(words)", "' '.join(numbers)", "','.join(str(n) for n in numbers)", "''.join('abc')",
        "word.split(',')", "word.split()", "word.split('')", "lines.splitlines()", "word.replace('l', 'L', 1)",
        "word.center(20, '*')", "digits.zfill(5)", "word.find('o', 5)", "word.index('z')", "word.encode()",
        "data.decode('utf-8')", "data.decode('ascii')", "data.hex()", "'{}'.isalpha()", "word.title()",
        "int('x')", "int('ff', 16)", "int(3.9)", "int(nan)", "float('1e3')", "float('x')", "round(2.5)",
        "round(2.567, 2)", "round(1234, -2)", "abs(-3)", "divmod(7, 0)", "pow(2, 10)", "pow(2, -1)",
        "pow(3, 4, 5)", "bin(5)", "hex(255)", "oct(8)", "chr(97)", "chr(-1)", "ord('a')", "ord('ab')",
        "2 ** -1", "0 ** 0", "0 ** -1", "2.0 ** 9999", "7 // -2", "7 % -2", "1 / 0", "1.5 // 0", "1 << -1",
        "str(numbers)", "repr(word)", "str()", "bool([])", "list()", "tuple(numbers)", "range(3)[1]",
        "str(range(3))", "list(range(0, 10, 3))", "range(1, 2, 0)", "range('a')", "len(range(9))", "len(3)",
        "numbers.count(1)", "numbers.index(9)", "pair.count('k')", "keyed.get('none')", "keyed.get([])",
        "keyed.copy()", "row.get('name')", "row.copy().k", "row.name.upper()", "row.k()", "row.none()", "word.none()",
        "three.bit_length()", "half.is_integer()", "'a' 'b'", "word * -1", "numbers * 2", "numbers + 'a'",
        "isinstance(three, int)", "isinstance(yes, (str, int))", "isinstance(row, dict)", "yes + yes",
        "[n for n in numbers for n in [n + 1]]", "[[m for m in range(n)] for n in numbers]",
        "(lambda: 1)" , "nan == nan", "nan in [nan]", "numbers == [3, 1, 2]", "(1, 2) == [1, 2]", "1 == 1.0 == yes",
        "none is None", "three is not None", "'a' < 'b' < 'c'", "[1, 2] < [1, 3]", "'a' < 1", "{} < {}",
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore")
def test_expressions_are_those_of_python(source: str) -> None:
    mine, theirs = both(source)
    if source == "(lambda: 1)":
        assert callable(mine)
        return
    assert same(mine, theirs), (source, mine, theirs)


def test_messages_name_the_nearest_keys() -> None:
    mine, _ = both("row.nmae")
    assert "'name'" in str(mine)
    assert type(mine).__name__ == "MissingKey"
