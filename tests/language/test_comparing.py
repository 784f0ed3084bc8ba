"""When a whole program again goes on, and when it begins anew (R2, R4, R5)."""

from __future__ import annotations

import textwrap

import pytest

from planloop.executor.programs.comparing import Again, GoOn, compare
from planloop.executor.revision import FinishedStatement, Lineage, mode_of
from planloop.language import RESERVED, as_program, parse
from planloop.plan import Flow, Program
from planloop.tool import tool, tool_table


@tool
def order(sku: str) -> str:
    """Order."""
    return sku


TOOLS = tool_table([order], RESERVED)
NAMES = ("a", "b", "c")
FINISHED = (
    "import math\ndef area(r):\n    return math.pi * r\na = area(1)\nb = order('b')\nc = a + 1"
)


def program_of(source: str) -> Program:
    plan = parse(source, TOOLS, NAMES)
    return as_program(plan, NAMES) if isinstance(plan, Flow) else plan


@pytest.mark.rule("R4")
@pytest.mark.parametrize(
    ("new", "run"),
    [
        (f"{FINISHED}\nd = 1", (5,)),
        (f"import json\n{FINISHED}\nd = 1", (0, 6)),
        (f"{FINISHED}\ndef helper():\n    pass\nd = 1", (5, 6)),
        (FINISHED.replace("b = order", "print(a)\nb = order") + "\nd = 1", (3, 6)),
        (FINISHED.replace("c = a", "note(b)\nc = a"), (4,)),
        ("def area(r):\n    return math.pi * r\nimport math\n" + FINISHED.split("r\n")[1], ()),
    ],
)
def test_goes_on(new: str, run: tuple[int, ...]) -> None:
    finished = program_of(FINISHED).statements
    assert compare(finished, program_of(new).statements) == GoOn(run)


@pytest.mark.rule("R5")
@pytest.mark.parametrize(
    "new",
    [
        FINISHED.replace("math.pi * r", "math.pi * r * r"),
        FINISHED.replace("import math", "import cmath as math"),
        FINISHED.replace("area(1)", "area(2)"),
        FINISHED.replace("b = order('b')\n", ""),
        FINISHED.replace("b = order('b')\nc = a + 1", "c = a + 1\nb = order('b')"),
        FINISHED.replace("b = order", "extra = 1\nb = order"),
        FINISHED.replace("b = order", "print(order('x'))\nb = order"),
        FINISHED.replace("a = area(1)\n", "").replace("import math\n", "import math\na = 1\n"),
    ],
)
def test_begins_anew(new: str) -> None:
    finished = program_of(FINISHED).statements
    assert isinstance(compare(finished, program_of(new).statements), Again)


def mode(finished: str, new: str, effects: tuple[str, ...] = ()) -> str:
    done = tuple(
        FinishedStatement(one, one.text in effects, 1) for one in program_of(finished).statements
    )
    return mode_of(program_of(new), Lineage(number=1, finished=done))


@pytest.mark.rule("R2")
@pytest.mark.parametrize(
    ("new", "wanted"),
    [
        ("d = a + c\nif d:\n    pass", "rest"),
        (f"{FINISHED}\nd = 1", "whole"),
        (f"keep()\n{FINISHED}", "rest"),
        ("restart()\nimport os", "whole"),
        (f"def main():\n{textwrap.indent(FINISHED, '  ')}\nmain()", "whole"),
        (f"try:\n{textwrap.indent(FINISHED, '  ')}\nexcept OSError:\n  pass", "whole"),
        (FINISHED.replace("a = ", "x = ").replace("c = a", "c = x"), "whole"),
        ("import math\nq = a + 1\nr = c + 1", "rest"),
    ],
)  # fmt: skip
def test_the_rest_or_the_whole(new: str, wanted: str) -> None:
    assert mode(FINISHED, new) == wanted


@pytest.mark.rule("R2")
def test_a_missing_effect_makes_it_a_rest() -> None:
    finished = "open('a', 'w').write('1')\nx = 1\ny = 2\nz = 3"
    new = "x = 1\ny = 2\nz = 3\nimport os"
    assert mode(finished, new) == "whole"
    assert mode(finished, new, ("open('a', 'w').write('1')",)) == "rest"
