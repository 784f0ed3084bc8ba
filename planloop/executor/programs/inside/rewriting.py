"""Rewrites a statement: loops are counted, branches of `parallel` become functions, tools await."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterable
from typing import Any

GATHERING = ("gather", "create_task", "wait_for", "ensure_future", "shield")
WATCH = "__planloop_loop__"


class Rewrite(ast.NodeTransformer):
    """See the module. `tools` are the names of the tools."""

    def __init__(self, tools: Collection[str]) -> None:
        self._tools = tools
        self._awaited = 0

    def visit_For(self, node: ast.For) -> ast.AST:
        self.generic_visit(node)
        node.iter = watched(node.iter, node)
        return node

    def visit_comprehension(self, node: ast.comprehension) -> ast.AST:
        self.generic_visit(node)
        if not node.is_async:
            node.iter = watched(node.iter, node.target)
        return node

    def visit_Await(self, node: ast.Await) -> ast.AST:
        self._awaited += 1
        self.generic_visit(node)
        self._awaited -= 1
        return node

    def visit_Lambda(self, node: ast.Lambda) -> ast.AST:
        awaited, self._awaited = self._awaited, 0
        self.generic_visit(node)
        self._awaited = awaited
        return node

    def visit_Call(self, node: ast.Call) -> ast.AST:
        name = node.func.id if isinstance(node.func, ast.Name) else None
        attribute = node.func.attr if isinstance(node.func, ast.Attribute) else None
        gathers = attribute in GATHERING
        self._awaited += gathers
        self.generic_visit(node)
        self._awaited -= gathers
        if name == "parallel":
            node.args = [branches(argument) for argument in node.args]
        elif self._awaited and name in self._tools:
            awaitable = ast.Attribute(node.func, "asynchronous", ast.Load())
            node.func = ast.copy_location(awaitable, node.func)
        return node


def watched(iterable: ast.expr, node: Any) -> ast.expr:
    where = ast.Constant(f"{node.lineno}:{node.col_offset}")
    call = ast.Call(ast.Name(WATCH, ast.Load()), [where, iterable], [])
    return ast.fix_missing_locations(ast.copy_location(call, iterable))


def branches(argument: ast.expr) -> ast.expr:
    """What `parallel` is given, with every branch as a function."""
    if isinstance(argument, (ast.GeneratorExp, ast.ListComp)):
        bound = [
            found.id
            for generator in argument.generators
            for found in ast.walk(generator.target)
            if isinstance(found, ast.Name)
        ]
        argument.elt = function(argument.elt, dict.fromkeys(bound))
        return argument
    return function(argument, ()) if isinstance(argument, ast.Call) else argument


def function(body: ast.expr, names: Iterable[str]) -> ast.expr:
    arguments = ast.arguments(
        posonlyargs=[],
        args=[ast.arg(name) for name in names],
        kwonlyargs=[],
        kw_defaults=[],
        defaults=[ast.Name(name, ast.Load()) for name in names],
    )
    made = ast.copy_location(ast.Lambda(arguments, body), body)
    return ast.fix_missing_locations(made)
