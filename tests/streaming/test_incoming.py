"""The complete statements of a reply that is being written are those of the whole reply."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planloop import tool
from planloop.language import parse
from planloop.language.grammar import RESERVED
from planloop.plan import Flow, Statement
from planloop.planner.incoming import Incoming
from planloop.state import State
from planloop.tool import tool_table


@tool(effect="reads")
def look(what: str, deep: int = 0) -> str:
    """Look."""
    return what


TOOLS = tool_table([look], RESERVED)
NAMES = ("known",)

FLOWS = [
    'a = look("x")\nb = look(a)\ndone(b)\n',
    '# first\na = look("x")\n# second\nb = look(\n    a,\n    deep=1,\n)\n\nc = look(known)\n',
    'a = look("""# no comment\n)]} and "quotes" \\""" \n""")\nb = look(a)\n',
    "a = look('it\\'s # [')  # it's ([{ \\\nb = look(a)\n",
    'a = look("x") + \\\n    look("y")\nb = [look(n) for n in "ab"]\n',
    'a = look("x"); b = look(a); c = 1\nd = look(b)\n',
    '"""A docstring."""\n\na = look("x")\npass\nb = a\nexpect(b, "why")\nnote(b)\n',
    'keep()\na = look("x")\nb: str = look(a)\nd = {"k": [\n1,\n2]}\n',
    "a = look(f'{known!r:>{3}} {{ }}')\nä = look('ö')\nb = look(ä)\n",
    'a = look("x")\ndone(a) if a else note("no")\nb = look("y")\n',
]  # fmt: skip


def facts(found: tuple[Statement, ...] | list[Statement]) -> list[tuple[object, ...]]:
    return [
        (
            one.index, one.kind, one.text, one.source, one.line, one.scope, one.reads, one.binds,
            [(site.tool, site.line, site.column) for site in one.calls],
        )
        for one in found
    ]  # fmt: skip


class Told:
    """A head start that only keeps what it is told."""

    def __init__(self) -> None:
        self.statements: list[Statement] = []
        self.programs = 0

    def begin(self, state: State) -> None: ...

    def statement(self, statement: Statement) -> None:
        self.statements.append(statement)

    def program(self) -> None:
        self.programs += 1

    def stop(self) -> None: ...


def heard(text: str, cuts: list[int]) -> list[Statement]:
    return told(text, cuts).statements


def told(text: str, cuts: list[int]) -> Told:
    found = Told()
    incoming = Incoming(TOOLS, NAMES, found)
    places = sorted({0, len(text), *(cut % (len(text) + 1) for cut in cuts)})
    for begin, end in itertools.pairwise(places):
        incoming.hear(text[begin:end])
    assert incoming.began(text)
    return found


@given(st.sampled_from(FLOWS), st.lists(st.integers(0, 400), max_size=60), st.booleans())
def test_statements_come_as_the_whole_plan_has_them(
    source: str, cuts: list[int], windows: bool
) -> None:
    text = f"Here is the plan.\n\n```python\n{source}```\nThat was it.\n"
    text = text.replace("\n", "\r\n") if windows else text
    flow = parse(source, TOOLS, NAMES)
    assert isinstance(flow, Flow)
    wanted = facts(flow.statements)
    ending = next((n for n, one in enumerate(flow.statements) if one.kind == "done"), len(wanted))
    # What comes after a `done` that hangs on a condition is not begun with.
    assert facts(heard(text, cuts)) == wanted[: ending + 1]


@pytest.mark.parametrize("source", FLOWS[:3])
def test_a_statement_comes_with_the_end_of_its_line(source: str) -> None:
    flow = parse(source, TOOLS, NAMES)
    assert isinstance(flow, Flow)
    head_start = Told()
    found = head_start.statements
    incoming = Incoming(TOOLS, NAMES, head_start)
    incoming.hear("```python\n")
    lines = source.splitlines(keepends=True)
    for number, line in enumerate(lines, 1):
        incoming.hear(line)
        ended = [one for one in flow.statements if one.node.end_lineno == number]
        assert all(facts([one])[0] in facts(found) for one in ended)
        assert all(one.line <= number for one in found)
    assert len(found) == len(flow.statements)


BROKEN = [
    ('a = look("x")\nb = look(unknown)\nc = look("y")\n', 1),
    ('a = look("x")\nfor n in a:\n    look(n)\nc = look("y")\n', 1),
    ('a = look("x")\n  b = look("y")\nc = look("y")\n', 1),
    ('import os\na = look("x")\n', 0),
    ('a = look("x\nb = look("y")\n', 0),
    ('a = look("x"\nb = look("y")\n', 0),
    ('a = look("x")]\nb = look("y")\n', 0),
    ('a = look(1)\nb = look("y")\n', 0),
    ('a = look("x")\nlook = 3\nb = look("y")\n', 1),
]


@pytest.mark.parametrize(("source", "count"), BROKEN)
def test_nothing_comes_from_where_the_text_can_be_no_flow(source: str, count: int) -> None:
    assert len(heard(f"```python\n{source}```\n", [])) == count


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ('look("x")\nlook("y")\n', 0),
        ('```\nlook("x")\n```\n', 0),
        ('```json\nlook("x")\n```\n', 0),
        ('```json\n{}\n```\n```python\nlook("x")\n```\n', 1),
        ('```python\nlook("x")\n```\n```python\nlook("y")\n```\n', 1),
        ('1. First:\n   ~~~~py\n   a = look("x")\n   ~~~\n   b = look(a)\n   ~~~~\n', 1),
        ('1. First:\n   ~~~py\n   a = look("x")\n   b = look(a)\n   ~~~\n', 2),
    ],
)
def test_only_a_block_that_says_python_is_read_early(text: str, count: int) -> None:
    assert len(heard(text, [])) == count


def test_a_long_string_is_read_in_one_go() -> None:
    import time

    lines = "\n".join(f"line {number} with some text in it" for number in range(1_500))
    text = f'```python\na = look("""{lines}""")\nb = look(a)\n```\n'
    began = time.process_time()
    assert len(heard(text, [])) == 2
    assert time.process_time() - began < 1  # it takes 0.02; parsing at each line takes 10


@pytest.mark.parametrize(
    ("source", "programs"),
    [
        ('a = look("x")\nfor n in a:\n    look(n)\n    look(n)\n', 1),
        ("import os\nlook(os.name)\n", 1),
        ("a = 1\na += 1\n", 1),
        ("@decorated\ndef f():\n    pass\n", 1),
        ('a = look("x")\ndone(a)\n', 0),
        ('a = look("x\nb = 1\n', 0),
        ("a = look(unknown)\n", 0),
    ],
)
def test_a_program_is_told_once_and_at_its_first_sign(source: str, programs: int) -> None:
    assert told(f"```python\n{source}```\n", []).programs == programs
