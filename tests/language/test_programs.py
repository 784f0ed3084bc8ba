"""Programs as the parser reads them: their statements, and what undoing one would take."""

from __future__ import annotations

import pytest

from planloop.errors import PlanInvalid
from planloop.language import RESERVED, parse
from planloop.plan import Program, Statement
from planloop.tool import tool, tool_table


@tool
def order(sku: str) -> str:
    """Order."""
    return sku


@tool(effect="workspace")
def put(path: str) -> None:
    """Write."""


@tool(effect="pure")
def price(sku: str) -> float:
    """Price."""
    return 1.0


TOOLS = tool_table([order, put, price], RESERVED)
NAMES = ("goods", "total", "box", "rows")


def program_of(source: str) -> Program:
    plan = parse(source, TOOLS, NAMES)
    assert isinstance(plan, Program), plan
    return plan


def last_of(source: str) -> Statement:
    return program_of(f"import math\n{source}").statements[-1]


UNDONE = [
    ("x = price('a')", "none"),
    ("order('a')", "none"),
    ("[order(x) for x in rows]", "none"),
    ("x = math.sqrt(4)", "none"),
    ("x = [y := 1, 2]", "names"),
    ("total += price('a')", "names"),
    ("for x in rows:\n    total += x", "names"),
    ("for x in rows:\n    goods.append(x)", "names"),
    ("del total", "names"),
    ("box.n = 1", "state"),
    ("rows[0] = 1", "state"),
    ("rows[0].append(1)", "state"),
    ("open('f', 'w').write('x')", "state"),
    ("with open('f') as f:\n    f.read()", "state"),
    ("while total:\n    total -= 1", "state"),
    ("def f():\n    global total\n    total = 1\nf()", "state"),
    ("def f(x):\n    x.append(1)\nf(goods)", "state"),
    ("def f(x):\n    return price(x)\ny = f('a')", "names"),
    ("box.run()", "state"),
    ("eval('1')", "state"),
    ("await order('a')", "state"),
    ("import os", "state"),
    ("import json", "none"),
    ("def f():\n    return 1", "none"),
]


@pytest.mark.rule("R6")
@pytest.mark.parametrize(("source", "undo"), UNDONE)
def test_what_undoing_a_half_executed_statement_takes(source: str, undo: str) -> None:
    assert last_of(source).undo == undo


@pytest.mark.parametrize(
    ("source", "touches"),
    [
        ("x = price('a')", False),
        ("put('f')", False),
        ("for x in rows:\n    goods.append(x)", False),
        ("open('f')", True),
        ("box.save()", True),
        ("def f():\n    open('f', 'w')\nf()", True),
        ("import os", True),
    ],
)
def test_what_may_touch_files_by_itself(source: str, touches: bool) -> None:
    assert last_of(source).touches_files is touches


@pytest.mark.parametrize(
    ("source", "grants"),
    [
        ("order('a')", {"order"}),
        ("x = [price(y) for y in rows if order(y)]", {"price", "order"}),
        ("def f(x):\n    return order(x)\ndef g(x):\n    return f(x)\ng(1)", {"order"}),
        ("math.sqrt(2)", set()),
        ("check(run='true') if total else None", {"check"}),
    ],
)
def test_a_statement_may_call_what_its_text_names(source: str, grants: set[str]) -> None:
    assert last_of(source).grants == grants


def test_names_that_statements_bind() -> None:
    source = (
        "import os.path as p\nfrom json import loads\nfor a, (b, *c) in rows:\n    d = 1\n"
        "try:\n    pass\nexcept ValueError as e:\n    pass\nwith open('x') as f:\n    pass\n"
        "class K:\n    inner = 1\n[x for x in rows]\n(y := 2)\ndel total"
    )
    bound = [statement.binds for statement in program_of(source).statements]
    assert bound == [
        ("p",), ("loads",), ("a", "b", "c", "d"), ("e",), ("f",), ("K",), (), ("y",), ("total",),
    ]  # fmt: skip


def test_a_decorated_function_comes_with_its_decorators() -> None:
    source = "import functools\n@functools.cache\ndef f():\n    return 1"
    statement = program_of(source).statements[1]
    assert statement.line == 2
    assert statement.source.startswith("@functools.cache")


@pytest.mark.parametrize(
    ("source", "line", "message"),
    [
        ("import os\nx = ordr('a')", 2, "unknown name `ordr`; did you mean `order`?"),
        ("for order in rows:\n    pass", 1, "`order` is a tool"),
        ("def price():\n    pass", 1, "`price` is taken by planloop"),
        ("if total:\n    done = 1", 2, "`done` is a word of the plan language"),
        (
            "import os\nnext(stream)",
            2,
            "`stream` is lost with the interpreter that held it (a file)",
        ),
    ],
)
def test_wrong_names(source: str, line: int, message: str) -> None:
    with pytest.raises(PlanInvalid) as caught:
        parse(source, TOOLS, NAMES, lost={"stream": "a file"})
    assert message in caught.value.message
    assert caught.value.line == line


@pytest.mark.rule("O5")
def test_what_reads_a_living_name_is_a_program() -> None:
    plan = parse("x = price(goods)", TOOLS, NAMES, living={"goods"})
    assert isinstance(plan, Program)
    assert plan.reason == "`goods` lives in the interpreter of programs"


def test_a_lost_name_in_a_flow_is_told_as_lost() -> None:
    with pytest.raises(PlanInvalid, match="`stream` is lost"):
        parse("x = price(stream)", TOOLS, NAMES, lost={"stream": "a file"})


def test_keep_and_restart() -> None:
    assert program_of("keep()\nimport os").keeps
    assert program_of("restart()\nimport os").restarts
