"""Source text to a program: its statements, what they need, and what undoing one would take."""

from __future__ import annotations

import ast
import builtins
import symtable
from collections.abc import Collection, Mapping
from types import MappingProxyType

from planloop.errors import PlanInvalid
from planloop.language.findings import Finding, nearest
from planloop.language.grammar import RESERVED, WORDS
from planloop.language.harmless import Harm, harm_of
from planloop.language.names import lost_name
from planloop.language.scopes import scopes_of
from planloop.language.source import column_of, read_source, segment, source_lines
from planloop.language.words import is_word, kind_of, says_nothing
from planloop.plan import Flow, Program, Statement, StatementKind
from planloop.tool import Tool

_PROVIDED = frozenset({"MissingKey", "ToolFailed", "ExpectationFailed", "parallel"})
"""Names that the interpreter brings, besides the words of the language."""
_OWN_WORDS = frozenset({"check", "expect", "note"})
"""Words that a program may use for something of its own."""
_BUILTINS = frozenset(dir(builtins)) | {"__name__", "__file__", "__doc__"}
_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_IMPORTS = (ast.Import, ast.ImportFrom)


def read_program(
    tree: ast.Module,
    source: str,
    tools: Mapping[str, Tool],
    names: Collection[str],
    *,
    left: Finding,
    lost: Mapping[str, str] = MappingProxyType({}),
) -> Program:
    """The program that a source is.

    Args:
        tree: its syntax tree.
        tools: by the names that plans use.
        names: what the run has bound already.
        left: where it left the language of flows, and by what.
        lost: names that the run had bound, and what they held.

    Raises:
        PlanInvalid: it reads a name that nothing binds, or binds one that it may not.
    """
    body = [node for node in tree.body if not says_nothing(node)]
    if not body:
        raise PlanInvalid("nothing to do: write a call, or done(…) if all is done")
    _refuse_wrong_names(tree, source, tools, names, lost)
    reader = _Reader(source, tools, body)
    return Program(
        source=source,
        reason=left.message,
        line=left.line,
        column=left.column,
        statements=tuple(reader.statement(index, node) for index, node in enumerate(body)),
        tools=tools,
    )


def as_program(flow: Flow, names: Collection[str]) -> Program:
    """A flow as the interpreter of programs runs it."""
    left = Finding(1, 1, "it reads what lives in the interpreter")
    return read_program(read_source(flow.source), flow.source, flow.tools, names, left=left)


class _Reader:
    def __init__(self, source: str, tools: Mapping[str, Tool], body: list[ast.stmt]) -> None:
        self._lines = source_lines(source)
        self._tools = tools
        self._scopes = scopes_of(self._lines, body)
        self._defined: dict[str, ast.AST] = {}

    def statement(self, index: int, node: ast.stmt) -> Statement:
        """One top-level statement, with the definitions above it in view."""
        if isinstance(node, _DEFINITIONS):
            self._defined[node.name] = node
        harm = harm_of(node, self._tools, self._defined)
        return Statement(
            index=index,
            kind=_kind(node),
            text=ast.unparse(node),
            source=_source_of(self._lines, node),
            line=_first_line(node),
            scope=self._scopes.get(node.lineno),
            node=node,
            reads=reads_of(node),
            binds=binds_of(node),
            calls=(),
            undo=harm.undo,
            settled=harm.settled,
            touches_files=harm.touches_files,
            grants=self._grants(node, harm),
        )

    def _grants(self, node: ast.stmt, harm: Harm) -> frozenset[str]:
        """Tools that the statement names, or a helper that it reaches."""
        reads = reads_of(node)
        named = set(harm.tools) | (reads & {"check"})
        pending, seen = list(reads), set[str]()
        while pending:
            name = pending.pop()
            if name in self._defined and name not in seen:
                seen.add(name)
                reads = reads_of(self._defined[name])
                named |= {one for one in reads if one in self._tools or one == "check"}
                pending += reads
        return frozenset(named)


def reads_of(node: ast.AST) -> frozenset[str]:
    """Names that a statement may read, in functions that it defines too."""
    return frozenset(
        found.id
        for found in ast.walk(node)
        if isinstance(found, ast.Name) and not isinstance(found.ctx, ast.Store)
    ) | frozenset(
        found.target.id
        for found in ast.walk(node)
        if isinstance(found, ast.AugAssign) and isinstance(found.target, ast.Name)
    )


def binds_of(node: ast.stmt) -> tuple[str, ...]:
    """Names that a statement may bind or delete at the top level, in the order of the text."""
    if isinstance(node, _DEFINITIONS):
        return (node.name,)
    found: dict[str, None] = {}
    pending: list[ast.AST] = [node]
    while pending:
        part = pending.pop(0)
        match part:
            case ast.Name(id=name, ctx=ast.Store() | ast.Del()):
                found[name] = None
            case ast.Import(names=aliases) | ast.ImportFrom(names=aliases):
                found.update((one.asname or one.name.partition(".")[0], None) for one in aliases)
            case ast.ExceptHandler(name=str(name)):
                found[name] = None
            case ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
                found[name] = None
            case ast.MatchMapping(rest=str(name)):
                found[name] = None
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                found[part.name] = None
                continue
            case ast.Lambda():
                continue
            case ast.ListComp() | ast.SetComp() | ast.DictComp() | ast.GeneratorExp():
                pending[:0] = [one for one in ast.walk(part) if isinstance(one, ast.NamedExpr)]
                continue
            case _:
                pass
        pending[:0] = list(ast.iter_child_nodes(part))
    return tuple(found)


def _kind(node: ast.stmt) -> StatementKind:
    if isinstance(node, _IMPORTS):
        return "import"
    if isinstance(node, _DEFINITIONS):
        return "define"
    if isinstance(node, ast.Expr) and is_word(node.value):
        return kind_of(node.value)
    return "code"


def _source_of(lines: list[str], node: ast.stmt) -> str:
    """A statement's text, decorators included."""
    first = _first_line(node)
    if first < node.lineno:
        return "\n".join(lines[first - 1 : node.end_lineno])
    return segment(lines, node)


def _first_line(node: ast.stmt) -> int:
    decorators = getattr(node, "decorator_list", ())
    return min([int(node.lineno), *(int(one.lineno) for one in decorators)])


def _refuse_wrong_names(
    tree: ast.Module,
    source: str,
    tools: Mapping[str, Tool],
    names: Collection[str],
    lost: Mapping[str, str],
) -> None:
    """Raise `PlanInvalid` for a name that nothing binds, or that a program may not bind."""
    lines = source_lines(source)
    bound = _bound_anywhere(source)
    taken = tools.keys() | (WORDS.keys() - _OWN_WORDS)
    known = {*bound, *names, *tools, *RESERVED, *WORDS, *_PROVIDED, *_BUILTINS}
    imports_all = any(
        isinstance(node, ast.ImportFrom) and node.names[0].name == "*" for node in ast.walk(tree)
    )
    for node in ast.walk(tree):
        problem = None
        if isinstance(node, ast.Name):
            if isinstance(node.ctx, ast.Store) and node.id in tools:
                problem = f"`{node.id}` is a tool; give the value another name"
            elif isinstance(node.ctx, ast.Store) and node.id in WORDS.keys() - _OWN_WORDS:
                problem = f"`{node.id}` is a word of the plan language; choose another name"
            elif node.id in lost and node.id not in known:
                problem = lost_name(node.id, lost[node.id])
            elif node.id not in known and not imports_all:
                problem = f"unknown name `{node.id}`{nearest(node.id, [*bound, *names, *tools])}"
        elif isinstance(node, _DEFINITIONS) and node.name in taken:
            problem = f"`{node.name}` is taken by planloop; give the definition another name"
        if problem:
            place = column_of(lines[node.lineno - 1], node.col_offset)  # type: ignore[attr-defined]
            raise PlanInvalid(problem, line=node.lineno, column=place)  # type: ignore[attr-defined]


def _bound_anywhere(source: str) -> set[str]:
    """Names that some scope of the source binds."""
    found: set[str] = set()
    pending = [symtable.symtable(source, "<plan>", "exec")]
    while pending:
        table = pending.pop()
        pending += table.get_children()
        found.update(
            symbol.get_name()
            for symbol in table.get_symbols()
            if symbol.is_assigned() or symbol.is_parameter() or symbol.is_imported()
        )
    return found
