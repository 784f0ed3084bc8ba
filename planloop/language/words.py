"""Validates statements that are a word of the language: `expect(…)`, `done(…)` and so on."""

from __future__ import annotations

import ast
from typing import Final, TypeGuard

from planloop.language.findings import Findings
from planloop.language.grammar import REQUIRED, WORDS
from planloop.language.validate import Validator
from planloop.plan import StatementKind

_CHECKS: Final = ("run", "file", "python")
_KINDS: Final[dict[str, StatementKind]] = {
    "expect": "expect",
    "note": "note",
    "done": "done",
    "give_up": "give_up",
    "check": "check",
    "keep": "keep",
    "restart": "restart",
}


def is_word(node: ast.expr) -> TypeGuard[ast.Call]:
    """Whether an expression is a call of a statement word."""
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in WORDS


def says_nothing(node: ast.stmt) -> bool:
    """`pass`, and constants that stand alone, such as a docstring."""
    if isinstance(node, ast.Pass):
        return True
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def word_of(node: ast.Call) -> str:
    """The word that a call of one is."""
    assert isinstance(node.func, ast.Name)
    return node.func.id


def has_words(node: ast.expr) -> bool:
    """Whether an expression is a word, or a conditional between words."""
    if isinstance(node, ast.IfExp):
        return has_words(node.body) or has_words(node.orelse)
    return is_word(node)


def kind_of(node: ast.expr) -> StatementKind:
    """The kind of an expression statement; a conditional has that of its first word."""
    if isinstance(node, ast.IfExp) and has_words(node):
        return kind_of(node.body if has_words(node.body) else node.orelse)
    return _KINDS[word_of(node)] if is_word(node) else "expression"


def may_end(node: ast.expr) -> bool:
    """Whether an expression statement may end the plan: `done(…)` or `give_up(…)`, or a branch."""
    if isinstance(node, ast.IfExp):
        return may_end(node.body) or may_end(node.orelse)
    return is_word(node) and word_of(node) in ("done", "give_up")


def check_words(node: ast.expr, validator: Validator, findings: Findings, index: int) -> None:
    """Validate an expression statement, which may be a word or a conditional between words."""
    if is_word(node):
        _check_word(node, validator, findings, index)
    elif isinstance(node, ast.IfExp) and has_words(node):
        validator.expression(node.test)
        for branch in (node.body, node.orelse):
            check_words(branch, validator, findings, index)
            if is_word(branch) and word_of(branch) in ("keep", "restart"):
                findings.mistake(branch, f"`{word_of(branch)}()` cannot depend on a condition")
    else:
        validator.expression(node)


def arguments_of(node: ast.Call) -> dict[str, ast.expr]:
    """A word's arguments by the names of its parameters."""
    names = WORDS[word_of(node)]
    found = dict(zip(names, node.args, strict=False))
    found.update((word.arg, word.value) for word in node.keywords if word.arg)
    return found


def _check_word(node: ast.Call, validator: Validator, findings: Findings, index: int) -> None:
    word = word_of(node)
    if word in ("keep", "restart") and index:
        findings.mistake(node, f"`{word}()` must be the first statement of the plan")
    problem = _shape_problem(node, word)
    if problem:
        findings.mistake(node, problem)
        return
    for argument in arguments_of(node).values():
        validator.expression(argument)


def _shape_problem(node: ast.Call, word: str) -> str | None:
    names = WORDS[word]
    keywords = [found.arg for found in node.keywords]
    if any(isinstance(argument, ast.Starred) for argument in node.args) or None in keywords:
        return f"`{word}` takes its arguments one by one, without `*`"
    given = [*names[: len(node.args)], *keywords]
    too_many = len(node.args) > len(names) or (word == "check" and node.args)
    unknown = [name for name in given if name not in names]
    if too_many or unknown or len(set(given)) < len(given):
        return f"`{word}` is written {_usage(word)}"
    if word in REQUIRED and REQUIRED[word] not in given:
        return f"`{word}` is written {_usage(word)}"
    return _check_problem(given) if word == "check" else None


def _check_problem(given: list[str | None]) -> str | None:
    kinds = [name for name in given if name in _CHECKS]
    extras = [name for name in given if name not in _CHECKS]
    if len(kinds) != 1 or (extras and kinds != ["file"]):
        return f"`check` is written {_usage('check')}"
    return None


def _usage(word: str) -> str:
    return {
        "expect": "`expect(condition, why)`",
        "note": "`note(text)`",
        "done": "`done(answer)`",
        "give_up": "`give_up(why)`",
        "keep": "`keep()`",
        "restart": "`restart()`",
        "check": '`check(run="…")`, `check(file="…", contains="…")` or `check(python="…")`',
    }[word]
