"""Walks the expressions of a plan: what is outside the language, and what is wrong."""

from __future__ import annotations

import ast
import builtins
import datetime as dt
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import Enum
from typing import Final

from planloop.language import grammar
from planloop.language.calls import AGAIN, check_call
from planloop.language.findings import Findings, nearest
from planloop.language.names import Names, target_parts
from planloop.language.order import Comprehension
from planloop.plan import CallSite
from planloop.tool import Tool

_PYTHON: Final = frozenset(name for name in dir(builtins) if not name.startswith("_"))
_VALUE_TYPES: Final = (
    str,
    bytes,
    list,
    tuple,
    dict,
    set,
    int,
    float,
    dt.date,
    dt.datetime,
    dt.time,
)


class Laziness(Enum):
    """How a generator or lambda body is evaluated."""

    EXHAUSTED = "read to its end before anything else happens"
    LAZY = "evaluated one by one, perhaps not at all"


class Validator:
    """Validates the expressions of a plan, statement by statement.

    `reads` and `calls` collect what the present statement needs.
    """

    def __init__(self, findings: Findings, tools: Mapping[str, Tool], names: Names) -> None:
        self._findings = findings
        self._tools = tools
        self._names = names
        self._callable = frozenset(tools) | grammar.BUILTINS | frozenset(grammar.WORDS)
        self._lazy: Laziness | None = None
        self.reads: set[str] = set()
        self.calls: list[CallSite] = []

    def begin(self) -> None:
        """Start a new statement."""
        self.reads, self.calls = set(), []

    def bind(self, target: ast.expr) -> tuple[str, ...]:
        """Bind the names of an assignment's target."""
        names: list[str] = []
        for node in target_parts(target):
            if isinstance(node, ast.Name):
                self._refuse_name(node)
                names.append(node.id)
            elif not isinstance(node, ast.Tuple | ast.List | ast.Starred):
                self._findings.outside(node, "assigning to a part of a value")
        self._names.bind(names)
        return tuple(dict.fromkeys(names))

    def _refuse_name(self, node: ast.Name) -> None:
        if (problem := self._names.problem(node.id)) is not None:
            self._findings.mistake(node, problem)

    # Expressions

    def expression(self, node: ast.expr) -> None:
        """Validate an expression whose value is used as a value."""
        match node:
            case ast.Constant():
                self._constant(node)
            case ast.Name():
                self._name(node)
            case ast.Attribute():
                self._attribute(node)
            case ast.Call():
                self._call(node)
            case ast.Compare():
                self._compare(node)
            case ast.Starred():
                self._iterable(node.value, Laziness.EXHAUSTED)
            case ast.GeneratorExp():
                self._findings.outside(node, "a generator as a value (write a list instead)")
            case ast.ListComp() | ast.SetComp() | ast.DictComp():
                self._comprehension(node)
            case ast.Lambda():
                self._findings.outside(node, "a lambda as a value")
            case _ if type(node) in grammar.EXPRESSIONS:
                self._children(node)
            case _:
                self._findings.outside(node, _described(node))

    def _children(self, node: ast.AST) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.expr):
                self.expression(child)

    def _constant(self, node: ast.Constant) -> None:
        value = node.value
        if isinstance(value, complex) or value is ...:
            self._findings.outside(node, f"the constant {value!r}")

    def _compare(self, node: ast.Compare) -> None:
        sides = [node.left, *node.comparators]
        for index, operator in enumerate(node.ops):
            if isinstance(operator, ast.Is | ast.IsNot) and not any(
                isinstance(side, ast.Constant) and isinstance(side.value, bool | None)
                for side in sides[index : index + 2]
            ):
                self._findings.outside(node, "comparing identity with `is` (write `==`)")
        self._children(node)

    def _name(self, node: ast.Name) -> None:
        name = node.id
        if self._names.is_local(name):
            if self._names.is_too_early(name):
                self._findings.mistake(node, f"`{name}` is used before its `for` binds it")
        elif self._names.is_bound(name):
            self.reads.add(name)
        elif name in self._tools:
            self._findings.outside(node, f"the tool `{name}` as a value")
        elif name in grammar.WORDS:
            self._findings.mistake(node, f"`{name}` must be called, as a statement of its own")
        elif name in _PYTHON:
            self._findings.outside(node, f"the builtin `{name}` as a value")
        else:
            self._findings.mistake(node, self._names.unknown(name))

    def _attribute(self, node: ast.Attribute) -> None:
        name = node.attr
        if name.startswith("__"):
            self._findings.mistake(node, f"`.{name}`: a plan has no names with two underscores")
        elif name in grammar.RECORD_NAMES:
            self._findings.mistake(
                node, f"`.{name}` is a method of every record: write `[{name!r}]` for the key"
            )
        self.expression(node.value)

    # Comprehensions

    def _comprehension(self, node: Comprehension, how: Laziness | None = None) -> None:
        generators = node.generators
        targets = [list(target_parts(generator.target)) for generator in generators]
        names = [{part.id for part in parts if isinstance(part, ast.Name)} for parts in targets]
        self._iterable(generators[0].iter)
        with self._names.scope(set().union(*names)) as unbound, self._laziness(how):
            for index, generator in enumerate(generators):
                if index:
                    self._iterable(generator.iter)
                self._loop_target(generator, targets[index])
                unbound -= names[index]
                for test in generator.ifs:
                    self.expression(test)
            if isinstance(node, ast.DictComp):
                self.expression(node.key)
                self.expression(node.value)
            else:
                self.expression(node.elt)

    def _loop_target(self, generator: ast.comprehension, parts: list[ast.expr]) -> None:
        if generator.is_async:
            self._findings.outside(generator.target, "an `async for`")
        for part in parts:
            if isinstance(part, ast.Name) and part.id.startswith("__"):
                self._refuse_name(part)
            elif not isinstance(part, ast.Name | ast.Tuple | ast.List | ast.Starred):
                self._findings.outside(part, "assigning to a part of a value")

    @contextmanager
    def _laziness(self, how: Laziness | None) -> Iterator[None]:
        before = self._lazy
        if how is not None and before is not Laziness.LAZY:
            self._lazy = how
        yield
        self._lazy = before

    def _iterable(self, node: ast.expr, how: Laziness = Laziness.LAZY) -> None:
        """An expression that is read through once, where an iterator may stand."""
        if isinstance(node, ast.GeneratorExp):
            self._comprehension(node, how)
        elif isinstance(node, ast.Call) and self._builtin_name(node) in grammar.ITERATORS:
            self._builtin(node, self._builtin_name(node))
        else:
            self.expression(node)

    # Calls

    def _call(self, node: ast.Call) -> None:
        if isinstance(node.func, ast.Attribute):
            self._method_call(node, node.func)
        elif isinstance(node.func, ast.Name):
            self._named_call(node, node.func.id)
        else:
            self._findings.outside(node, "calling the value of an expression")

    def _named_call(self, node: ast.Call, name: str) -> None:
        if self._names.is_local(name) or (
            self._names.is_bound(name) and name not in self._callable
        ):
            self._findings.mistake(node, f"`{name}` is a value, not a function")
        elif name in self._tools:
            self._tool_call(node, self._tools[name])
        elif name in grammar.WORDS:
            self._findings.mistake(node, f"`{name}(…)` must be a statement of its own")
        elif name in grammar.ITERATORS:
            self._findings.outside(node, f"`{name}(…)` as a value (write `list({name}(…))`)")
        elif name in grammar.BUILTINS:
            self._builtin(node, name)
            return
        elif name in _PYTHON:
            hint = " (write `note(…)`)" if name == "print" else ""
            self._findings.outside(node, f"the builtin `{name}`{hint}")
        else:
            self._findings.mistake(
                node, f"unknown function `{name}`{nearest(name, self._callable)}"
            )
        self._arguments(node)

    def _arguments(self, node: ast.Call) -> None:
        for argument in node.args:
            self.expression(argument)
        for word in node.keywords:
            if word.arg != AGAIN:
                self.expression(word.value)

    def _tool_call(self, node: ast.Call, tool: Tool) -> None:
        if self._lazy is Laziness.LAZY:
            self._findings.outside(
                node, "a tool call inside a lambda or a lazy generator (write a list)"
            )
        elif self._lazy is Laziness.EXHAUSTED and tool.effect.is_effect:
            self._findings.outside(node, "a call with an effect inside a generator")
        check_call(node, tool, self._findings)
        assert isinstance(node.func, ast.Name)
        column = self._findings.column(node)
        self.calls.append(CallSite(node.func.id, node, node.lineno, column))

    def _builtin_name(self, node: ast.Call) -> str:
        known = isinstance(node.func, ast.Name) and not self._names.is_local(node.func.id)
        return node.func.id if known and isinstance(node.func, ast.Name) else ""

    def _builtin(self, node: ast.Call, name: str) -> None:
        if name == "isinstance":
            self._isinstance(node)
            return
        if name == "str" and len(node.args) + len(node.keywords) > 1:
            self._findings.outside(node, "`str` with an encoding")
        rest = node.args
        if name in grammar.MAPPERS and rest:
            self._function(rest[0])
            rest = rest[1:]
        how = Laziness.EXHAUSTED if name in grammar.EXHAUSTING else Laziness.LAZY
        for argument in rest:
            if name in grammar.CONSUMERS:
                self._iterable(argument, how)
            else:
                self.expression(argument)
        for word in node.keywords:
            if word.arg == "key" and name in grammar.KEYED:
                self._function(word.value)
            else:
                self.expression(word.value)

    def _isinstance(self, node: ast.Call) -> None:
        if len(node.args) != 2 or node.keywords:
            self._findings.mistake(node, "`isinstance` takes a value and a type")
            return
        self.expression(node.args[0])
        types = node.args[1].elts if isinstance(node.args[1], ast.Tuple) else [node.args[1]]
        for found in types:
            if not (isinstance(found, ast.Name) and found.id in grammar.TYPES):
                known = ", ".join(sorted(grammar.TYPES))
                self._findings.outside(found, f"`isinstance` with another type than {known}")

    def _function(self, node: ast.expr) -> None:
        """An argument that must be a function."""
        match node:
            case ast.Constant(value=None):
                return
            case ast.Lambda():
                self._lambda(node)
            case ast.Name(id=name) if name in grammar.BUILTINS and not self._names.is_local(name):
                if name in grammar.ITERATORS or name == "isinstance":
                    self._findings.outside(node, f"`{name}` as a function value")
            case ast.Attribute():
                self._findings.outside(node, "a method as a value (write a lambda)")
            case _:
                self.expression(node)

    def _lambda(self, node: ast.Lambda) -> None:
        arguments = node.args
        names = [argument.arg for argument in arguments.args]
        others = (arguments.posonlyargs, arguments.kwonlyargs, arguments.defaults)
        if any(others) or arguments.vararg or arguments.kwarg:
            self._findings.outside(node, "a lambda with more than plain parameters")
            return
        with self._names.scope(set(names)) as unbound, self._laziness(Laziness.LAZY):
            unbound.clear()
            self.expression(node.body)

    def _method_call(self, node: ast.Call, func: ast.Attribute) -> None:
        name = func.attr
        if name.startswith("__"):
            self._findings.mistake(func, f"`.{name}`: a plan has no names with two underscores")
        elif name not in grammar.METHODS:
            self._unknown_method(func)
        self.expression(func.value)
        takes_iterable = name == "join" or name in grammar.SET_METHODS
        for argument in node.args:
            if takes_iterable:
                self._iterable(argument, Laziness.EXHAUSTED)
            else:
                self.expression(argument)
        for word in node.keywords:
            self.expression(word.value)

    def _unknown_method(self, func: ast.Attribute) -> None:
        name = func.attr
        if any(hasattr(kind, name) for kind in _VALUE_TYPES):
            self._findings.outside(func, f"the method `.{name}()`")
        elif name in self._tools:
            self._findings.mistake(func, f"`{name}` is a tool: call it as `{name}(…)`")
        else:
            self._findings.mistake(
                func, f"values have no method `.{name}()`{nearest(name, grammar.METHODS)}"
            )


def _described(node: ast.expr) -> str:
    match node:
        case ast.NamedExpr():
            return "`:=`"
        case ast.Await():
            return "`await`"
        case ast.Yield() | ast.YieldFrom():
            return "`yield`"
    return f"`{type(node).__name__}`"
