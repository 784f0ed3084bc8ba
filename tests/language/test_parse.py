"""Source to plan: what is a flow, what is a program, and what is wrong, with line and column."""

from __future__ import annotations

import contextlib
from typing import Any
from unittest.mock import ANY

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planloop.errors import PlanInvalid
from planloop.language import RESERVED, parse, parse_native
from planloop.plan import Flow, Program
from planloop.tool import tool, tool_table


@tool(effect="reads")
def search(q: str, limit: int = 10) -> list[dict[str, Any]]:
    """Search."""
    return []


@tool(effect="pure")
def double(n: int) -> int:
    """Twice."""
    return 2 * n


@tool
def order(sku: str, qty: int = 1, *, tags: list[str] | None = None) -> dict[str, Any]:
    """Order."""
    return {}


TOOLS = tool_table([search, double, order], RESERVED)
NAMES = ("rows", "row", "total")


def plan_of(source: str) -> Flow | Program:
    return parse(source, TOOLS, NAMES)


def flow_of(source: str) -> Flow:
    plan = plan_of(source)
    assert isinstance(plan, Flow), plan
    return plan


FLOWS = [
    "search(q='a')",
    "x = search('a', limit=3)[0]['name'].upper()",
    "a, (b, *c) = 1, (2, 3, 4)",
    "a = b = double(2)",
    "x: list[int] = [double(n) for n in range(3) if n]",
    "{r.name: double(r.n) for r in rows}",
    "{double(n) for n in (1, 2)}",
    "[(a, b) for a in rows for b in search(a.q) if double(b.n) > 1]",
    "best = min(rows, key=lambda r: (r.price, -r.qty))",
    "total = sum(double(n) for n in rows)",
    "x = ', '.join(str(r.price) for r in rows)",
    "x = any(r.price > 3 for r in search('a'))",
    "x = next((r for r in rows if r.ok), None)",
    "x = [i for i, r in enumerate(zip(rows, rows), start=1)]",
    "x = list(map(str, filter(None, rows)))",
    "x = f'{total:>{len(rows)}} {row.name!r:10}'",
    "x = 'total %5.2f' % total",
    "x = total if rows else order('a').id",
    "x = row is None or row.price is not None",
    "x = 1 < total <= 9 != 3",
    "x = isinstance(row, (dict, list))",
    "x = rows[1:-1:2] + [*rows, 1]",
    "x = {**row, 'a': 1, 'b': [2]}",
    "order(**row)",
    "order(*rows)",
    "order('a', again=True)",
    "orders = [order(order_.sku) for order_ in rows]",
    "ids = [search.q for search in rows]",
    "expect(total > 1, f'only {total}')",
    "note(rows)",
    "done()",
    "done(answer={'a': 1}) if total else give_up('nothing')",
    "note('a') if total else (done() if rows else None)",
    "keep()\nsearch('a')",
    "restart()\nsearch('a')",
    "check(run='pytest -q')",
    "check(file='a.txt', contains='x')\ncheck(python='assert 1')",
    "'''a docstring'''\nsearch('a')",
    "x = rows.index(3) + row.copy().get('n', 0)",
    "x = sorted({r.n for r in rows})",
    "x = row._private",
    "a, b = map(int, row.text.split(','))",
    "a, b = (double(n) for n in rows)",
    "x = list(zip(*rows)) + [*zip(rows, rows)]",
    "[1 for b in rows for a in [a for a in b]]",
    "if_ = 1",
]


@pytest.mark.rule("O6")
@pytest.mark.parametrize("source", FLOWS)
def test_straight_lines_over_calls_are_a_flow(source: str) -> None:
    flow_of(source)


PROGRAMS = [
    ("import os", 1, 1, "`import`"),
    ("x = 1\nfor r in rows:\n    search(r)", 2, 1, "`for` statement"),
    ("while total:\n    pass", 1, 1, "`while`"),
    ("if total:\n    done()", 1, 1, "`if`"),
    ("def f():\n    return double(1)\nx = f()", 1, 1, "`def`"),
    ("class A:\n    pass", 1, 1, "`class`"),
    ("with open('a') as f:\n    pass", 1, 1, "`with`"),
    ("try:\n    search('a')\nexcept Exception:\n    pass", 1, 1, "`try`"),
    ("total += 1", 1, 1, "`+=`"),
    ("row['a'] = 1", 1, 1, "part of a value"),
    ("row.a, x = 1, 2", 1, 1, "part of a value"),
    ("x: int", 1, 1, "declaration"),
    ("del row", 1, 1, "`del`"),
    ("assert total", 1, 1, "`assert`"),
    ("raise ValueError('x')", 1, 1, "`raise`"),
    ("global x", 1, 1, "`global`"),
    ("match total:\n    case 1:\n        pass", 1, 1, "`match`"),
    ("rows.append(1)", 1, 1, "`.append()`"),
    ("x = sorted(rows)\nx.sort()", 2, 1, "`.sort()`"),
    ("x = '{}'.format(1)", 1, 5, "`.format()`"),
    ("x = (y := 3)", 1, 6, "`:=`"),
    ("x = await search('a')", 1, 5, "`await`"),
    ("x = any(order(r) for r in rows)", 1, 9, "lazy generator"),
    ("x = any(search(r) for r in rows)", 1, 9, "lazy generator"),
    ("x = [order(r) for r in (order(s) for s in rows)]", 1, 25, "lazy generator"),
    ("x = sum(order(r).n for r in rows)", 1, 9, "effect inside a generator"),
    ("x = sorted(rows, key=lambda r: double(r))", 1, 32, "lambda"),
    ("x = list(map(lambda r: order(r), rows))", 1, 24, "lambda"),
    ("x = list(map(double, rows))", 1, 14, "`double` as a value"),
    ("f = search", 1, 5, "`search` as a value"),
    ("f = len", 1, 5, "`len` as a value"),
    ("f = lambda: 1", 1, 5, "lambda as a value"),
    ("x = sorted(rows, key=str.lower)", 1, 22, "method as a value"),
    ("x = (r for r in rows)", 1, 5, "generator as a value"),
    ("x = zip(rows, rows)", 1, 5, "`zip(…)` as a value"),
    ("x = row is rows", 1, 5, "`is`"),
    ("a = b, c = zip(rows, rows)", 1, 12, "`zip(…)` as a value"),
    ("x = total is 1", 1, 5, "`is`"),
    ("open('a')", 1, 1, "`open`"),
    ("print(total)", 1, 1, "`note(…)`"),
    ("x = eval('1')", 1, 5, "`eval`"),
    ("x = (lambda: 1)()", 1, 5, "calling the value"),
    ("x = 1j", 1, 5, "1j"),
    ("x = ...", 1, 5, "Ellipsis"),
    ("x = isinstance(row, object)", 1, 21, "isinstance"),
    ("x = double()\nimport os", 2, 1, "`import`"),
]


@pytest.mark.rule("O6")
@pytest.mark.parametrize(("source", "line", "column", "reason"), PROGRAMS)
def test_other_python_is_a_program_and_says_where_it_left_the_language(
    source: str, line: int, column: int, reason: str
) -> None:
    plan = plan_of(source)
    assert isinstance(plan, Program)
    assert (plan.line, plan.column) == (line, column)
    assert reason in plan.reason
    assert plan.source == source


INVALID = [
    ("", 0, 0, "nothing to do"),
    ("# only a comment\npass", 0, 0, "nothing to do"),
    ("x = (1", 1, 5, "never closed"),
    ("x = 1\n  y = 2", 2, ANY, "indent"),
    ("return 1", 1, 1, "done(…)"),
    ("x = *rows", 1, 5, "starred"),
    ("search('a', q='b')", 1, 1, "multiple values"),
    ("search()", 1, 1, "missing a required argument: 'q'"),
    ("search('a', 1, 2)", 1, 1, "too many positional"),
    ("search(query='a')", 1, 1, "search(q: str, limit: int = 10)"),
    ("x = 1\ny = search(3)", 2, 12, "valid string"),
    ("search('a', limit='many')", 1, 19, "valid integer"),
    ("order('a', tags=[1, 'b'])", 1, 17, "valid string"),
    ("order('a', again=total)", 1, 18, "`again=`"),
    ("serch('a')", 1, 1, "did you mean `search`"),
    ("x = rowz", 1, 5, "did you mean `row` or `rows`"),
    ("x = json.dumps(rows)", 1, 5, "must be imported"),
    ("note(x)\nx = 1", 1, 6, "bound only at line 2"),
    ("x = y + 1\ny = 1", 1, 5, "bound only at line 2"),
    ("x = x + 1", 1, 5, "bound only at line 1"),
    ("x = total()", 1, 5, "is a value, not a function"),
    ("[search('a') for search in rows]", 1, 2, "is a value, not a function"),
    ("x = [b for a in b for b in rows]", 1, 17, "unknown name `b`"),
    ("x = [1 for a in rows if b for b in a]", 1, 25, "before its `for`"),
    ("search = search('a')", 1, 1, "`search` is a tool"),
    ("note = 1", 1, 1, "word of the plan language"),
    ("list = [1]", 1, 1, "word of the plan language"),
    ("x = row.items", 1, 5, "['items']"),
    ("x = row.keys + 1", 1, 5, "['keys']"),
    ("x = row.__class__", 1, 5, "two underscores"),
    ("x = __import__('os')", 1, 5, "__import__"),
    ("__x = 1", 1, 1, "two underscores"),
    ("x = row.shout()", 1, 5, "no method `.shout()`"),
    ("x = row.search('a')", 1, 5, "`search` is a tool"),
    ("x = note('a')", 1, 5, "statement of its own"),
    ("[done(r) for r in rows]", 1, 2, "statement of its own"),
    ("total or give_up('x')", 1, 10, "statement of its own"),
    ("x = expect", 1, 5, "must be called"),
    ("search('a')\nkeep()", 2, 1, "must be the first"),
    ("keep() if total else None", 1, 1, "condition"),
    ("keep(1)", 1, 1, "written `keep()`"),
    ("done(1)\nsearch('a')", 2, 1, "nothing runs after"),
    ("give_up('x')\nnote('y')", 2, 1, "nothing runs after"),
    ("give_up()", 1, 1, "written `give_up(why)`"),
    ("expect()", 1, 1, "written `expect(condition, why)`"),
    ("expect(total, reason='x')", 1, 1, "written `expect(condition, why)`"),
    ("check('x')", 1, 1, "written `check("),
    ("check(run='x', file='y')", 1, 1, "written `check("),
    ("check(run='x', contains='y')", 1, 1, "written `check("),
    ("x = 'é' + nope", 1, 11, "unknown name `nope`"),
    ("x = [\n  1,\n  nope,\n]", 3, 3, "unknown name `nope`"),
    ("isinstance(row)", 1, 1, "a value and a type"),
]


@pytest.mark.parametrize(("source", "line", "column", "text"), INVALID)
def test_a_mistake_is_named_with_line_and_column(
    source: str, line: int, column: int, text: str
) -> None:
    with pytest.raises(PlanInvalid) as caught:
        plan_of(source)
    assert text in caught.value.message
    assert (caught.value.line, caught.value.column) == (line, column)


def test_several_mistakes_are_told_at_once() -> None:
    with pytest.raises(PlanInvalid, match=r"(?s)`a`.*line 2, column 5.*`b`.*and 1 more"):
        plan_of("x = a\ny = b\nz = c\nw = d")


def test_quotes_spaces_and_comments_do_not_change_a_statements_text() -> None:
    plain = flow_of("x = search(q='it', limit=2)\ny = x[0]")
    other = flow_of('# why\nx: list = search( q = "it",\n   limit=2)  # how\n\ny=(x[0])')
    assert [s.text for s in plain.statements] == [s.text for s in other.statements]
    assert [s.line for s in other.statements] == [2, 5]
    assert other.statements[0].source.startswith("x: list = search( q")


def test_a_statement_knows_what_it_reads_binds_and_calls() -> None:
    flow = flow_of("a, b = search(row.q), [double(total) for total in rows if total]\nc = a + b")
    first, second = flow.statements
    assert (first.kind, first.binds) == ("assign", ("a", "b"))
    assert first.reads == {"row", "rows"}
    assert [(call.tool, call.line, call.column) for call in first.calls] == [
        ("search", 1, 8),
        ("double", 1, 24),
    ]
    assert second.reads == {"a", "b"}
    assert second.calls == ()
    assert flow.tools == TOOLS


def test_a_comment_names_the_scope_until_a_blank_line_or_the_next_one() -> None:
    source = (
        "# compare\n# the suppliers\na = search('a')\nb = search('b')\n\nc = search('c')\n"
        "# order  \nx = '''\n# no comment\n'''\nd = 1\n# far\n\ne = 1\n"
    )
    scopes = [statement.scope for statement in flow_of(source).statements]
    assert scopes == ["compare", "compare", None, "order", "order", None]


def test_the_kind_of_a_statement_is_its_word() -> None:
    source = "keep()\nexpect(1)\nnote('')\ncheck(run='x')\nsearch('a')\ndone() if total else None"
    kinds = [statement.kind for statement in flow_of(source).statements]
    assert kinds == ["keep", "expect", "note", "check", "expression", "done"]
    assert flow_of(source).keeps


def test_a_flow_that_only_reads_names_is_no_surprise_to_the_parser() -> None:
    assert flow_of("rows").statements[0].kind == "expression"


def test_more_statements_than_a_flow_may_have_are_a_program() -> None:
    plan = plan_of("x = 1\n" * 1_001)
    assert isinstance(plan, Program)
    assert plan.line == 1_001


def test_native_calls_become_a_flow_of_one_statement_each() -> None:
    arguments = {"q": 'it\'s {x} "y"\n', "limit": -2}
    calls = [("id1", "search", arguments), ("id2", "done", {"answer": [1, {"a": None}]})]
    flow = parse_native(calls, TOOLS, NAMES)
    assert flow.native_ids == ("id1", "id2")
    assert [s.line for s in flow.statements] == [1, 2]
    assert [s.kind for s in flow.statements] == ["expression", "done"]
    again = flow_of(flow.source)
    assert [s.text for s in again.statements] == [s.text for s in flow.statements]


@pytest.mark.parametrize(
    ("calls", "line", "text"),
    [
        ([], 0, "nothing to do"),
        ([("1", "serch", {})], 1, "did you mean `search`"),
        ([("1", "search", {"q": "a"}), ("2", "search", {"q": 1})], 2, "valid string"),
        ([("1", "search", {"query": "a"})], 1, "search(q: str"),
        ([("1", "search", {"q w": "a"})], 1, "search(q: str"),
        ([("1", "note", {})], 1, "written `note(text)`"),
        ([("1", "done", {}), ("2", "search", {"q": "a"})], 2, "nothing runs after"),
        ([("1", "open", {"file": "a"})], 1, "`open`"),
    ],
)
def test_a_wrong_native_call_is_named_by_its_number(calls: Any, line: int, text: str) -> None:
    with pytest.raises(PlanInvalid) as caught:
        parse_native(calls, TOOLS, NAMES)
    assert text in str(caught.value)
    assert caught.value.line == line


def test_a_deeply_nested_native_argument_is_refused() -> None:
    value: Any = []
    for _ in range(500):
        value = [value]
    with pytest.raises(PlanInvalid, match="nested"):
        parse_native([("1", "done", {"answer": value})], TOOLS, NAMES)


@given(st.text(max_size=80))
def test_any_text_is_a_flow_a_program_or_a_mistake(source: str) -> None:
    with contextlib.suppress(PlanInvalid):
        assert isinstance(plan_of(source), Flow | Program)


PIECES = st.sampled_from(
    [
        "x", "=", "search", "(", ")", "[", "]", "{", "}", "'a'", "for", "in", "rows", ":", "\n",
        "lambda", "if", "else", ".", ",", "*", "**", "1", "not", "f'{x}'", "await", "yield",
        ":=", "note", "done", "del", "import", "#", "\\", "\t", "    ", "def", "return", "+=", "@",
    ]
)  # fmt: skip


@given(st.lists(PIECES, max_size=25))
def test_any_pieces_of_python_are_a_flow_a_program_or_a_mistake(pieces: list[str]) -> None:
    with contextlib.suppress(PlanInvalid):
        assert isinstance(plan_of(" ".join(pieces)), Flow | Program)
