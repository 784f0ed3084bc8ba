"""Source text to a plan: a flow, validated whole, or the reason why it is a program."""

from __future__ import annotations

import ast
from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from planloop.errors import PlanInvalid
from planloop.language.findings import Finding, Findings
from planloop.language.grammar import STATEMENTS
from planloop.language.limits import MAX_STATEMENTS
from planloop.language.names import Names, bound_lines
from planloop.language.order import is_iterator
from planloop.language.programs import read_program
from planloop.language.scopes import scopes_of
from planloop.language.source import check_compiles, read_source, refuse_deep, segment, source_lines
from planloop.language.validate import Validator
from planloop.language.words import check_words, is_word, kind_of, says_nothing, word_of
from planloop.plan import Flow, Program, Statement, StatementKind
from planloop.tool import Tool

_DESCRIPTIONS: Mapping[type[ast.stmt], str] = {
    ast.AugAssign: "an assignment such as `+=`",
    ast.FunctionDef: "a `def`",
    ast.AsyncFunctionDef: "an `async def`",
    ast.ClassDef: "a `class`",
    ast.Import: "an `import`",
    ast.ImportFrom: "an `import`",
    ast.For: "a `for` statement",
    ast.AsyncFor: "an `async for` statement",
    ast.While: "a `while` statement",
    ast.If: "an `if` statement",
    ast.With: "a `with` statement",
    ast.AsyncWith: "an `async with` statement",
    ast.Try: "a `try` statement",
    ast.TryStar: "a `try` statement",
    ast.Match: "a `match` statement",
    ast.Delete: "a `del` statement",
    ast.Assert: "an `assert` statement (write `expect(…)`)",
    ast.Raise: "a `raise` statement",
    ast.Global: "a `global` statement",
    ast.Nonlocal: "a `nonlocal` statement",
}
_ANNOTATIONS = (
    ast.Name, ast.Attribute, ast.Subscript, ast.Constant, ast.BinOp, ast.BitOr, ast.Tuple,
    ast.List, ast.Load,
)  # fmt: skip


def parse(
    source: str,
    tools: Mapping[str, Tool],
    names: Collection[str],
    *,
    lost: Mapping[str, str] = MappingProxyType({}),
    living: Collection[str] = (),
) -> Flow | Program:
    """Read a plan.

    Args:
        source: what the planner wrote.
        tools: by the names that plans use, as `tool_table` makes them.
        names: what the run has bound already.
        lost: names that the run had bound, and what they held.
        living: those that live in the interpreter of programs: what reads one runs there.

    Raises:
        PlanInvalid: it is no valid plan; the text says where, why and what to do.
    """
    tree = read_source(source)
    check_compiles(tree)
    body = [node for node in tree.body if not says_nothing(node)]
    if len(body) > MAX_STATEMENTS:
        many = Finding(body[MAX_STATEMENTS].lineno, 1, f"more than {MAX_STATEMENTS} statements")
        return read_program(tree, source, tools, names, left=many, lost=lost)
    if (reader := _reader_of(tree, living)) is not None:
        inside = Finding(reader.lineno, 1, f"`{reader.id}` lives in the interpreter of programs")
        return read_program(tree, source, tools, names, left=inside, lost=lost)
    findings = Findings(source)
    known = Names(names, tools, bound_lines(body), lost)
    statements = Reader(source, findings, tools, known).read(body)
    if (left := findings.first_outside()) is not None:
        # Reading the flow may have rewritten nodes of its tree: a program is read from the text.
        return read_program(read_source(source), source, tools, names, left=left, lost=lost)
    findings.raise_mistakes()
    if not statements:
        raise PlanInvalid("nothing to do: write a call, or done(…) if all is done")
    return Flow(statements=statements, source=source, tools=tools)


def _reader_of(tree: ast.Module, living: Collection[str]) -> ast.Name | None:
    return next(
        (
            node
            for node in ast.walk(tree)
            if isinstance(node, ast.Name) and node.id in living and isinstance(node.ctx, ast.Load)
        ),
        None,
    )


def parse_native(
    calls: Sequence[tuple[str, str, dict[str, Any]]],
    tools: Mapping[str, Tool],
    names: Collection[str],
) -> Flow:
    """Native tool calls as a flow of one statement each, in order.

    Args:
        calls: id, name and arguments of each call.
        tools: by the names that plans use.
        names: what the run has bound already.

    Raises:
        PlanInvalid: a tool is unknown or its arguments cannot fit; `line` is the call's number.
    """
    if not calls:
        raise PlanInvalid("nothing to do: no tool was called")
    body = [_native_statement(n, *call[1:]) for n, call in enumerate(calls, 1)]
    source = "\n".join(ast.unparse(node) for node in body)
    findings = Findings(source)
    statements = Reader(source, findings, tools, Names(names, tools, bound_lines(body))).read(body)
    findings.raise_mistakes()
    if (left := findings.first_outside()) is not None:
        raise PlanInvalid(left.message, line=left.line, column=left.column)
    ids = tuple(call[0] for call in calls)
    return Flow(statements=statements, source=source, native_ids=ids, tools=tools)


def _native_statement(number: int, name: str, arguments: dict[str, Any]) -> ast.stmt:
    keywords = [
        ast.keyword(arg=key, value=_constant(value, number)) for key, value in arguments.items()
    ]
    call = ast.Call(func=ast.Name(id=name, ctx=ast.Load()), args=[], keywords=keywords)
    node = ast.Expr(value=call)
    for found in ast.walk(node):
        found.lineno = found.end_lineno = number  # type: ignore[attr-defined]
        found.col_offset = 0  # type: ignore[attr-defined]
    refuse_deep(node)
    return node


def _constant(value: Any, number: int, depth: int = 0) -> ast.expr:
    if depth > 100:
        raise PlanInvalid("the arguments are nested too deeply", line=number, column=1)
    if isinstance(value, list):
        return ast.List([_constant(item, number, depth + 1) for item in value], ast.Load())
    if isinstance(value, dict):
        keys: list[ast.expr | None] = [ast.Constant(key) for key in value]
        return ast.Dict(keys, [_constant(item, number, depth + 1) for item in value.values()])
    return ast.Constant(value)


class Reader:
    """Reads statements in order, each with the names above it in view."""

    def __init__(
        self,
        source: str,
        findings: Findings,
        tools: Mapping[str, Tool],
        names: Names,
    ) -> None:
        self._lines = source_lines(source)
        self._findings = findings
        self._validator = Validator(findings, tools, names)
        self._scopes: dict[int, str] = {}

    def read(self, body: list[ast.stmt], after: Sequence[ast.stmt] = ()) -> tuple[Statement, ...]:
        """All statements; what is wrong is in the findings.

        Args:
            after: those above them, which were read before.
        """
        self._scopes = scopes_of(self._lines, [*after, *body])
        found: list[Statement] = []
        for index, node in enumerate(body, len(after)):
            statement = self._statement(index, node)
            if statement is not None:
                found.append(statement)
                self._refuse_after_end(found, node)
        return tuple(found)

    def _refuse_after_end(self, found: list[Statement], node: ast.stmt) -> None:
        before = found[-2].node if len(found) > 1 else None
        if isinstance(before, ast.Expr) and is_word(before.value):
            word = word_of(before.value)
            if word in ("done", "give_up"):
                self._findings.mistake(node, f"nothing runs after `{word}(…)`; make it the last")

    def _statement(self, index: int, node: ast.stmt) -> Statement | None:
        if type(node) not in STATEMENTS:
            reason = _DESCRIPTIONS.get(type(node), f"`{type(node).__name__}`")
            self._findings.outside(node, reason)
            return None
        self._validator.begin()
        if isinstance(node, ast.Expr):
            check_words(node.value, self._validator, self._findings, index)
            return self._made(index, kind_of(node.value), node, ())
        assignment = self._plain_assignment(node)
        if assignment is None:
            return None
        self._validator.expression(assignment.value)
        binds = [name for target in assignment.targets for name in self._validator.bind(target)]
        return self._made(index, "assign", assignment, tuple(binds))

    def _plain_assignment(self, node: ast.stmt) -> ast.Assign | None:
        """An assignment without its annotation; what is unpacked is read out at once."""
        if isinstance(node, ast.Assign):
            if len(node.targets) == 1 and isinstance(node.targets[0], ast.Tuple | ast.List):
                node.value = _read_out(node.value)
            return node
        assert isinstance(node, ast.AnnAssign)
        plain = all(isinstance(part, _ANNOTATIONS) for part in ast.walk(node.annotation))
        if node.value is None or not plain:
            self._findings.outside(node, "a declaration")
            return None
        return ast.copy_location(ast.Assign(targets=[node.target], value=node.value), node)

    def _made(
        self, index: int, kind: StatementKind, node: ast.Assign | ast.Expr, binds: tuple[str, ...]
    ) -> Statement:
        return Statement(
            index=index,
            kind=kind,
            text=ast.unparse(node),
            source=segment(self._lines, node),
            line=node.lineno,
            scope=self._scopes.get(node.lineno),
            node=node,
            reads=frozenset(self._validator.reads),
            binds=tuple(dict.fromkeys(binds)),
            calls=tuple(self._validator.calls),
        )


def _read_out(node: ast.expr) -> ast.expr:
    """`[*zip(…)]` for `zip(…)`: an iterator that is unpacked never becomes a value."""
    if not is_iterator(node):
        return node
    starred = ast.copy_location(ast.Starred(node, ast.Load()), node)
    return ast.copy_location(ast.List([starred], ast.Load()), node)
