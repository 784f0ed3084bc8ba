"""Generated flows give the same values and the same effects as real Python."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from flow_world import (
    Recorder,
    World,
    resource_of,
    run_here,
    run_in_python,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from planloop.observation import Status


class Writer:
    """Draws the text of a flow, typed, so that most of it runs."""

    def __init__(self, draw: Any) -> None:
        self._draw = draw
        self.names: dict[str, list[str]] = {"int": [], "str": [], "list": [], "rec": []}
        self._locals: list[str] = []
        self._fresh = itertools.count()
        self._calls = True

    def pick(self, *choices: Any) -> Any:
        return self._draw(st.sampled_from(choices))

    def number(self, depth: int) -> str:
        if depth <= 0:
            known = [*self._locals, *self.names["int"]]
            return self.pick(*known, "0", "1", "2", "5", "13", "-3")
        deeper = depth - 1
        kind = self.pick(
            "leaf", "arith", "len", "attr", "item", "if", "max", "call", "call", "sum", "and", "or",
            "get", "index", "call", "lazy", "rows", "find",
        )  # fmt: skip
        match kind:
            case "arith":
                operator = self.pick("+", "-", "*", "//", "%", "|", "&")
                return f"({self.number(deeper)} {operator} {self.number(deeper)})"
            case "len":
                return f"len({self.pick(self.numbers(deeper), self.text(deeper))})"
            case "attr":
                return f"{self.record(deeper)}.v"
            case "item":
                return f"{self.record(deeper)}['v']"
            case "get":
                return f"{self.record(deeper)}.get('v', {self.number(deeper)})"
            case "if":
                test = self.truth(deeper)
                return f"({self.number(deeper)} if {test} else {self.number(deeper)})"
            case "max":
                return f"{self.pick('max', 'min')}({self.number(deeper)}, {self.number(deeper)})"
            case "sum":
                return f"sum({self.numbers(deeper)})"
            case "and" | "or":
                return f"({self.number(deeper)} {kind} {self.number(deeper)})"
            case "index":
                return f"{self.numbers(deeper)}[{self.pick('0', '-1', '1')}]"
            case "lazy" if self._calls:
                return f"sum(peek('a', {self.pick('k', '0')}) for k in {self.numbers(deeper)})"
            case "rows":
                kind = self.pick("{%s: %s for k in %s}", "{%s + %s for k in %s}")
                parts = (self.inner("k", deeper), self.inner("k", deeper), self.numbers(deeper))
                return f"len({kind % parts})"
            case "find":
                return f"{self.text(deeper)}.find({self.text(deeper)}, {self.number(deeper)})"
            case "call" if self._calls:
                return self.call(deeper)
        return self.number(0)

    def inner(self, name: str, depth: int) -> str:
        """A number that may depend on a variable of a comprehension."""
        self._locals.append(name)
        found = self.number(depth)
        self._locals.pop()
        return found

    def call(self, depth: int) -> str:
        number = self.number(depth)
        key = self.pick("'a'", "'b'", "'c'", "'a'")
        return self.pick(
            f"peek({key}, {number})", f"peek(n={number}, key={key})", f"put({key}, {number})",
            f"log_it({number})", f"pay({number}).v", f"double({number}).v",
            f"put({key}, n={number})", f"peek({key})",
        )  # fmt: skip

    def record(self, depth: int) -> str:
        options = [*self.names["rec"]]
        if self._calls:
            options += [f"double({self.number(depth)})", f"pay({self.number(depth)})"]
        return self.pick(*options) if options else "{'v': 1}"

    def text(self, depth: int) -> str:
        if depth <= 0:
            return self.pick(*self.names["str"], "'x'", "'héllo'", "''", "'a-b'")
        deeper = depth - 1
        match self.pick("leaf", "f", "method", "join", "str", "name", "times", "slice"):
            case "f":
                inner = self.pick(self.number(deeper), self.text(0)).replace("'", '"')
                spec = self.pick("", "!r", ":>5", ":<3")
                return f"f'<{{{inner}{spec}}}>'" if '"' not in inner else f"str({self.text(0)})"
            case "method":
                method = self.pick("upper()", "strip('x')", "replace('a', 'bb')", "title()")
                return f"{self.text(deeper)}.{method}"
            case "join":
                return f"'-'.join(str(x) for x in {self.numbers(deeper)})"
            case "str":
                return f"{self.pick('str', 'repr')}({self.numbers(deeper)})"
            case "name":
                return f"{self.record(deeper)}.name"
            case "times":
                return f"({self.text(deeper)} * {self.pick('0', '2', '3')})"
            case "slice":
                return f"{self.text(deeper)}[{self.pick('1:', ':2', '::-1')}]"
        return self.text(0)

    def numbers(self, depth: int) -> str:
        if depth <= 0:
            return self.pick(*self.names["list"], "[1, 2, 5]", "[]", "[3]")
        deeper = depth - 1
        match self.pick("leaf", "list", "comp", "comp", "nested", "sorted", "look", "cut", "call"):
            case "list":
                return f"[{self.number(deeper)}, {self.number(deeper)}]"
            case "comp":
                return self.comprehension(deeper)
            case "nested":
                item, below = self.inner("j", deeper), self.inner("i", 1)
                source = self.pick("range(i % 3)", f"[{below}, 1]")
                test = self.pick("", f" if {self.inner('i', 1)}")
                return f"[{item} for i in {self.numbers(0)}{test} for j in {source}]"
            case "sorted":
                return f"sorted({self.numbers(deeper)}, key=lambda k: k % 3)"
            case "look" if self._calls:
                return f"[r.v for r in look({self.number(deeper)})]"
            case "cut":
                return f"{self.numbers(deeper)}[{self.pick('1:', ':2', '::-1')}]"
            case "call":
                function = self.pick("sorted(set", "list(tuple", "list(reversed")
                return f"{function}([{self.number(deeper)}]))"
        return self.numbers(0)

    def comprehension(self, depth: int) -> str:
        source = self.numbers(depth)
        name = f"x{next(self._fresh)}"
        self._locals.append(name)
        test = f" if {self.truth(depth)}" if self.pick(True, False) else ""
        item = self.number(depth)
        self._locals.pop()
        return f"[{item} for {name} in {source}{test}]"

    def truth(self, depth: int) -> str:
        deeper = depth - 1
        match self.pick("compare", "chain", "in", "not", "and", "any"):
            case "chain":
                parts = " < ".join(self.number(deeper) for _ in range(3))
                return f"({parts})"
            case "in":
                return f"({self.number(deeper)} in {self.numbers(deeper)})"
            case "not":
                return f"(not {self.number(deeper)})"
            case "and":
                return f"({self.number(deeper)} > 1 and {self.number(deeper)} < 9)"
            case "any":
                return f"any(k > 1 for k in {self.numbers(deeper)})"
        operator = self.pick("<", "==", "!=", ">=")
        return f"({self.number(deeper)} {operator} {self.number(deeper)})"

    def statement(self) -> str:
        depth = self.pick(1, 2, 2, 3)
        kind = self.pick(
            "int", "int", "str", "list", "rec", "two", "star", "call", "call", "expect", "note",
            "loop", "rebind",
        )  # fmt: skip
        name = f"n{next(self._fresh)}"
        match kind:
            case "int" | "str" | "list":
                made = {"int": self.number, "str": self.text, "list": self.numbers}[kind](depth)
                self.names[kind].append(name)
                return f"{name} = {made}"
            case "rec":
                line = f"{name} = {self.pick('pay', 'double')}({self.number(depth)})"
                self.names["rec"].append(name)
                return line
            case "two":
                line = f"{name}, {name}b = {self.number(depth)}, {self.number(depth)}"
                self.names["int"] += [name, f"{name}b"]
                return line
            case "star":
                line = f"{name}, *{name}b = {self.numbers(depth)}"
                self.names["int"].append(name)
                self.names["list"].append(f"{name}b")
                return line
            case "expect":
                return f"expect({self.truth(depth)}, {self.text(1)})"
            case "note":
                return f"note({self.text(depth)})"
            case "loop":
                return f"[put('abc'[i % 3], i) for i in {self.numbers(depth)}]"
            case "rebind" if self.names["int"]:
                name = self.pick(*self.names["int"])
                return f"{name} = {self.number(depth)}"
        return self.call(depth)


@st.composite
def flows(draw: Any) -> str:
    writer = Writer(draw)
    lines = [writer.statement() for _ in range(draw(st.integers(1, 8)))]
    match writer.pick("done", "done", "none", "if"):
        case "done":
            lines.append(f"done({writer.number(1)})")
        case "if":
            lines.append(f"done('early') if {writer.truth(1)} else None")
            lines += [writer.statement() for _ in range(draw(st.integers(0, 3)))]
    return "\n".join(lines)


@pytest.mark.rule("O3")
@pytest.mark.rule("O2")
@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much], deadline=None)
@given(flows(), st.lists(st.integers(0, 4), min_size=1, max_size=9), st.booleans())
def test_a_flow_gives_the_values_and_effects_of_python(
    source: str, turns: list[int], by_place: bool
) -> None:
    here, there = World(), World()
    recorder = Recorder(here.tools, itertools.cycle(turns), by_place=by_place)
    outcome = run_here(source, here, recorder)
    python = run_in_python(source, there)

    failed = [found for found in outcome.results if found.status is Status.FAILED]
    if python.failed_at is None:
        before = [found for found in failed if not (python.done or python.gave_up)]
        assert not before, (before, source)
        assert outcome.names == python.names
        assert (outcome.done, outcome.output) == (python.done, python.output)
    else:
        first = failed[0]
        assert (first.index, first.error.type) == (python.failed_at, type(python.error).__name__)
        assert not outcome.done
        assert outcome.names.items() >= python.names.items() or _only_rebound(outcome, python)
    assert list(outcome.notes) == python.notes == recorder.notes
    check_effects(here, there, python)


def _only_rebound(outcome: Any, python: Any) -> bool:
    """A name that an independent later statement binds anew may already have its later value."""
    later = {
        name
        for result in outcome.results
        if result.index > python.failed_at
        for name in result.text.split(" = ")[0].replace("*", "").split(", ")
    }
    return all(
        outcome.names.get(name) == value or name in later for name, value in python.names.items()
    )


def check_effects(here: World, there: World, python: Any) -> None:
    """Effects are Python's up to the failure, save those on disjoint declared resources."""
    resources = {resource_of(effect) for effect in here.effects + there.effects}
    extra = len(here.effects) - len(there.effects)
    for resource in resources:
        mine = [effect for effect in here.effects if resource_of(effect) == resource]
        theirs = [effect for effect in there.effects if resource_of(effect) == resource]
        assert mine[: len(theirs)] == theirs
        if len(mine) > len(theirs):
            assert resource is not None
            assert python.failed_call is not None
            failed_on = resource_of(python.failed_call)
            assert failed_on not in (None, resource)
    if not extra:
        for index, effect in enumerate(here.effects):
            if resource_of(effect) is None:
                other = there.effects.index(effect)
                assert (
                    sorted(map(repr, here.effects[:index]))
                    == sorted(map(repr, there.effects[:other]))
                    or here.effects.count(effect) > 1
                )
