"""What Python evaluates before an expression itself, in which order."""

from __future__ import annotations

import ast
from collections.abc import Container, Iterator
from typing import TypeAlias

from planloop.language.grammar import BUILTINS, ITERATORS

Comprehension: TypeAlias = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp


def parts(node: ast.AST, calls: Container[ast.AST] = ()) -> Iterator[ast.expr]:
    """The sub-expressions that Python evaluates first, always and in this order.

    What is evaluated by turns with `node` (a generator, `zip(…)`) is opened up: its own first
    parts come in its place, unless something in `calls` is by turns evaluated in it. Functions
    (`key=…`) are none. The function of a method call is the look-up of the method.
    """
    match node:
        case ast.BinOp():
            yield from (node.left, node.right)
        case ast.UnaryOp():
            yield node.operand
        case ast.Compare():
            yield from (node.left, node.comparators[0])
        case ast.Subscript():
            yield from (node.value, node.slice)
        case ast.Slice():
            yield from (part for part in (node.lower, node.upper, node.step) if part is not None)
        case ast.Attribute():
            yield node.value
        case ast.Starred():
            yield from iterable_parts(node.value, calls)
        case ast.FormattedValue():
            yield node.value
            if node.format_spec is not None:
                yield node.format_spec
        case ast.List() | ast.Tuple() | ast.Set():
            yield from node.elts
        case ast.Dict():
            for key, value in zip(node.keys, node.values, strict=True):
                if key is not None:
                    yield key
                yield value
        case ast.JoinedStr():
            yield from node.values
        case ast.Call():
            yield from _call_parts(node, calls)


def iterable_parts(node: ast.expr, calls: Container[ast.AST] = ()) -> Iterator[ast.expr]:
    """What Python evaluates before it begins to go through `node`."""
    if isinstance(node, ast.GeneratorExp) and not any(part in calls for part in by_turns(node)):
        yield from iterable_parts(node.generators[0].iter, calls)
    elif is_iterator(node) and not isinstance(node, ast.GeneratorExp):
        yield from parts(node, calls)
    elif not (isinstance(node, ast.Name) and node.id in BUILTINS):
        yield node


def by_turns(node: Comprehension) -> Iterator[ast.AST]:
    """What a comprehension evaluates once an iteration."""
    yield from node.generators[0].ifs
    yield from node.generators[1:]
    yield from results_of(node)


def results_of(node: Comprehension) -> tuple[ast.expr, ...]:
    """The expressions that give the items of a comprehension."""
    return (node.key, node.value) if isinstance(node, ast.DictComp) else (node.elt,)


def method_of(node: ast.AST | None) -> ast.Attribute | None:
    """The look-up of the method, if `node` is a method call."""
    return (
        node.func if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) else None
    )


def mappings_of(node: ast.AST | None) -> tuple[ast.expr, ...]:
    """The parts of a display or a call that `**` unpacks; Python looks at each at once."""
    if isinstance(node, ast.Dict):
        pairs = zip(node.keys, node.values, strict=True)
        return tuple(value for key, value in pairs if key is None)
    if isinstance(node, ast.Call):
        return tuple(word.value for word in node.keywords if word.arg is None)
    return ()


def _call_parts(node: ast.Call, calls: Container[ast.AST]) -> Iterator[ast.expr]:
    if isinstance(node.func, ast.Attribute):
        yield node.func
    for argument in (*node.args, *(word.value for word in node.keywords)):
        if not isinstance(argument, ast.Lambda):
            yield from iterable_parts(argument, calls)


def is_iterator(node: ast.expr) -> bool:
    """Whether the value of an expression is used up by one reading."""
    func = node.func if isinstance(node, ast.Call) else None
    named = isinstance(func, ast.Name) and func.id in ITERATORS
    return named or isinstance(node, ast.GeneratorExp)
