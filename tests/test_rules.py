"""Every rule of the plan semantics has a test, and every marker a rule."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

TESTS = Path(__file__).resolve().parent
SEMANTICS = TESTS.parent / "docs" / "semantics.md"
RULES = {
    *(f"O{number}" for number in range(1, 7)),
    *(f"L{number}" for number in range(1, 11)),
    *(f"R{number}" for number in range(1, 11)),
}


def test_every_rule_is_held_by_a_test() -> None:
    assert sorted(RULES - set(marked())) == []


def test_every_rule_that_a_test_names_is_written_down() -> None:
    unknown = {rule: where for rule, where in marked().items() if rule not in written()}
    assert unknown == {}


def test_the_rules_are_written_down() -> None:
    assert sorted(RULES - written()) == []


def written() -> set[str]:
    """Ids of the rules in the document: `**O1.** …` begins one."""
    return set(re.findall(r"^\*\*([A-Z]\d+)\.", SEMANTICS.read_text("utf-8"), re.MULTILINE))


def marked() -> dict[str, str]:
    """Rule id → a test file that names it."""
    found: dict[str, str] = {}
    for path in sorted(TESTS.rglob("test_*.py")):
        for rule in _rules(ast.parse(path.read_text("utf-8"))):
            found.setdefault(rule, str(path.relative_to(TESTS)))
    return found


def _rules(tree: ast.AST) -> Iterator[str]:
    """Arguments of `pytest.mark.rule(...)`, wherever it stands."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("mark.rule"):
            for argument in node.args:
                assert isinstance(argument, ast.Constant), "a rule's id is written out"
                yield str(argument.value)
