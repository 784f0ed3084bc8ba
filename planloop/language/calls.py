"""Checks a tool call of a plan against the tool's signature and types, before any effect."""

from __future__ import annotations

import ast
import inspect
from typing import Any, Final

from planloop.language.findings import Findings
from planloop.tool import ArgumentsInvalid, Tool
from planloop.values import Value, identifier

AGAIN: Final = "again"
_UNKNOWN: Final = object()


def check_call(node: ast.Call, tool: Tool, findings: Findings) -> None:
    """Note a mistake for arguments that cannot fit."""
    keywords = [word for word in node.keywords if word.arg != AGAIN]
    _check_again(node, findings)
    unpacked = any(isinstance(argument, ast.Starred) for argument in node.args)
    if unpacked or any(word.arg is None for word in keywords):
        return
    try:
        tool.check_shape(len(node.args), [word.arg for word in keywords if word.arg])
    except ArgumentsInvalid as error:
        findings.mistake(node, f"{error}; its signature is {_signature(tool)}")
        return
    for position, argument in enumerate(node.args):
        _check_constant(tool, position, argument, findings)
    for word in keywords:
        _check_constant(tool, word.arg or "", word.value, findings)


def says_again(node: ast.Call) -> bool:
    """Whether a call carries `again=True`."""
    return any(
        word.arg == AGAIN and isinstance(word.value, ast.Constant) and word.value.value is True
        for word in node.keywords
    )


def literal(node: ast.expr) -> Value:
    """The value of a literal, or `UNKNOWN` if it is known only when the plan runs."""
    match node:
        case ast.Constant():
            return node.value
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as number)):
            return -number
        case ast.List() | ast.Tuple():
            items = [literal(item) for item in node.elts]
            return _UNKNOWN if any(item is _UNKNOWN for item in items) else items
        case ast.Dict():
            keys = [_UNKNOWN if key is None else literal(key) for key in node.keys]
            values = [literal(value) for value in node.values]
            if any(found is _UNKNOWN or isinstance(found, list | dict) for found in keys):
                return _UNKNOWN
            known = not any(value is _UNKNOWN for value in values)
            return dict(zip(keys, values, strict=True)) if known else _UNKNOWN
    return _UNKNOWN


def _check_again(node: ast.Call, findings: Findings) -> None:
    for word in node.keywords:
        if word.arg == AGAIN and not (
            isinstance(word.value, ast.Constant) and isinstance(word.value.value, bool)
        ):
            findings.mistake(word.value, "`again=` takes only the constants True and False")


def _check_constant(tool: Tool, position: int | str, node: ast.expr, findings: Findings) -> None:
    value = literal(node)
    if value is _UNKNOWN or _surely_fits(tool, position, value):
        return
    try:
        tool.check_argument(position, value)
    except ArgumentsInvalid as error:
        findings.mistake(node, str(error))


def _surely_fits(tool: Tool, position: int | str, value: Value) -> bool:
    """Spares the usual case a validator built for one value."""
    parameters = tool.signature.parameters
    name = position if isinstance(position, str) else list(parameters)[position]
    annotation: Any = parameters[name].annotation
    return annotation in (Any, inspect.Parameter.empty) or type(value) is annotation in (
        str, int, float, bool,
    )  # fmt: skip


def _signature(tool: Tool) -> str:
    from planloop.text import signature_text

    return f"{identifier(tool.name)}{signature_text(tool.signature)}"
