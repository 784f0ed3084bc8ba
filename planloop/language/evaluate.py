"""Evaluates call-free expressions of a flow on values: same values and errors as Python.

No `getattr` by a plan's name, no `eval`; every operation is charged before it happens.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from typing import Any, Final, TypeAlias

from planloop.language.functions import as_callable, call_function, types_of
from planloop.language.limits import Meter, Scale
from planloop.language.methods import Method, attribute, method
from planloop.language.operations import CONTAINERS, Operations
from planloop.language.settle import settle
from planloop.values import Value

Scope: TypeAlias = dict[Any, Value]
"""Names, and syntax nodes whose value is already known."""

_CONVERSIONS: Final[dict[int, Callable[[Value], str]]] = {
    ord("s"): str,
    ord("r"): repr,
    ord("a"): ascii,
}


class Evaluator:
    """Evaluates the expressions of one statement.

    Every method raises what Python would raise, `LimitExceeded` where a flow's limits are
    passed, and `Paused` where the meter says so.
    """

    def __init__(self, meter: Meter | None = None, scale: Scale | None = None) -> None:
        self.meter = meter or Meter()
        self.operations = Operations(self.meter, scale or Scale())

    def value(self, node: ast.expr, scope: Scope) -> Value:
        """The value of an expression."""
        self.meter.spend()
        if node in scope:
            return scope[node]
        return _HANDLERS[type(node)](self, node, scope)

    def method(self, node: ast.Attribute, scope: Scope) -> Method:
        """The method that `node` names, where it is about to be called."""
        if node in scope:
            return scope[node]  # type: ignore[no-any-return]
        return method(self.value(node.value, scope), node.attr)

    def arguments(self, node: ast.Call, scope: Scope) -> tuple[list[Value], dict[str, Value]]:
        """The arguments of a call, evaluated in order."""
        args: list[Value] = []
        for argument in node.args:
            if isinstance(argument, ast.Starred):
                args += self.value(argument, scope)
            else:
                args.append(self.value(argument, scope))
        kwargs: dict[str, Value] = {}
        for word in node.keywords:
            found = self.value(word.value, scope)
            self._add_keyword(kwargs, word.arg, found)
        return args, kwargs

    def _add_keyword(self, kwargs: dict[str, Value], name: str | None, found: Value) -> None:
        given = {name: found} if name is not None else self.mapping(found)
        for key in given:
            if not isinstance(key, str):
                raise TypeError("keywords must be strings")
            if key in kwargs:
                raise TypeError(f"got multiple values for keyword argument {key!r}")
        kwargs.update(given)

    def mapping(self, found: Value) -> dict[Value, Value]:
        """A value that `**` unpacks. Raises `TypeError` if it is no mapping."""
        if not isinstance(found, dict):
            raise TypeError(f"{type(found).__name__!r} object is not a mapping")
        return found

    def assign(self, target: ast.expr, found: Value, scope: Scope) -> None:
        """Bind names to a value, unpacking it where the target says so."""
        if isinstance(target, ast.Name):
            scope[target.id] = found
        elif isinstance(target, ast.Tuple | ast.List):
            parts = self._unpack(target.elts, found)
            for part, item in zip(target.elts, parts, strict=True):
                inner = part.value if isinstance(part, ast.Starred) else part
                self.assign(inner, item, scope)

    def _unpack(self, targets: list[ast.expr], found: Value) -> list[Value]:
        try:
            items = self.operations.items(found)
        except TypeError:
            if isinstance(found, set):
                raise
            raise TypeError(f"cannot unpack non-iterable {type(found).__name__} object") from None
        wanted = len(targets)
        star = next((i for i, one in enumerate(targets) if isinstance(one, ast.Starred)), None)
        least = wanted if star is None else wanted - 1
        if len(items) < least:
            more = "" if star is None else "at least "
            raise ValueError(
                f"not enough values to unpack (expected {more}{least}, got {len(items)})"
            )
        if star is None:
            if len(items) > wanted:
                raise ValueError(f"too many values to unpack (expected {wanted})")
            return items
        tail = len(items) - (wanted - star - 1)
        return [*items[:star], items[star:tail], *items[tail:]]

    def settled(self, found: Value) -> Value:
        """A fresh copy of a value, in the form in which it leaves its statement."""
        if isinstance(found, CONTAINERS):
            size, _, _ = self.operations.scale.measure(found, self.meter)
            self.meter.characters(size)
        return settle(found)

    def kept(self, found: Value) -> Value:
        """`settled`, of a value that a name will hold: later uses know its size at once."""
        settled, scale = self.settled(found), self.operations.scale
        scale.keep(found, scale.measure(found, self.meter))
        return settled

    # One method for each kind of node.

    def _constant(self, node: ast.Constant, scope: Scope) -> Value:
        return node.value

    def _name(self, node: ast.Name, scope: Scope) -> Value:
        if node.id in scope:
            return scope[node.id]
        return as_callable(node.id, self.operations)

    def _attribute(self, node: ast.Attribute, scope: Scope) -> Value:
        return attribute(self.value(node.value, scope), node.attr)

    def _subscript(self, node: ast.Subscript, scope: Scope) -> Value:
        owner = self.value(node.value, scope)
        index = self.value(node.slice, scope)
        if isinstance(index, slice) and isinstance(owner, str | bytes | list | tuple):
            self.meter.characters(len(owner) if isinstance(owner, str | bytes) else 8 * len(owner))
        self.operations.look_up(index)
        return owner[index]

    def _slice(self, node: ast.Slice, scope: Scope) -> Value:
        parts = (node.lower, node.upper, node.step)
        return slice(*(None if part is None else self.value(part, scope) for part in parts))

    def _binary(self, node: ast.BinOp, scope: Scope) -> Value:
        left = self.value(node.left, scope)
        right = self.value(node.right, scope)
        if isinstance(node.op, ast.Mod) and isinstance(node.left, ast.Constant):
            template = node.left.value
            if isinstance(template, str):
                return self.operations.percent(template, right)
        return self.operations.binary(type(node.op), left, right)

    def _unary(self, node: ast.UnaryOp, scope: Scope) -> Value:
        return self.operations.unary(type(node.op), self.value(node.operand, scope))

    def _boolean(self, node: ast.BoolOp, scope: Scope) -> Value:
        stop_at = isinstance(node.op, ast.Or)
        found: Value = None
        for part in node.values:
            found = self.value(part, scope)
            if bool(found) is stop_at:
                break
        return found

    def _compare(self, node: ast.Compare, scope: Scope) -> Value:
        left, found = self.value(node.left, scope), None
        for operator, comparator in zip(node.ops, node.comparators, strict=True):
            right = self.value(comparator, scope)
            found = self.operations.compare(type(operator), left, right)
            if not found:
                break
            left = right
        return found

    def _conditional(self, node: ast.IfExp, scope: Scope) -> Value:
        return self.value(node.body if self.value(node.test, scope) else node.orelse, scope)

    def _call(self, node: ast.Call, scope: Scope) -> Value:
        if isinstance(node.func, ast.Attribute):
            found = self.method(node.func, scope)
            args, kwargs = self.arguments(node, scope)
            return found.call(self.operations, args, kwargs)
        assert isinstance(node.func, ast.Name)  # the parser lets nothing else through
        if node.func.id == "isinstance":
            return isinstance(self.value(node.args[0], scope), types_of(node.args[1]))
        args, kwargs = self.arguments(node, scope)
        return call_function(node.func.id, self.operations, args, kwargs)

    def _joined(self, node: ast.JoinedStr, scope: Scope) -> Value:
        parts = [str(self.value(part, scope)) for part in node.values]
        return self.operations.concatenate(parts)

    def _formatted(self, node: ast.FormattedValue, scope: Scope) -> Value:
        found = self.value(node.value, scope)
        if node.conversion in _CONVERSIONS:
            found = self.operations.text(found, _CONVERSIONS[node.conversion])
        spec = "" if node.format_spec is None else self.value(node.format_spec, scope)
        return self.operations.format(found, spec)

    def _starred(self, node: ast.Starred, scope: Scope) -> Value:
        return self.operations.items(self.value(node.value, scope))

    def _elements(self, nodes: list[ast.expr], scope: Scope) -> list[Value]:
        found: list[Value] = []
        for node in nodes:
            if isinstance(node, ast.Starred):
                found += self.value(node, scope)
            else:
                found.append(self.value(node, scope))
        return found

    def _list(self, node: ast.List, scope: Scope) -> Value:
        return self._elements(node.elts, scope)

    def _tuple(self, node: ast.Tuple, scope: Scope) -> Value:
        return tuple(self._elements(node.elts, scope))

    def _set(self, node: ast.Set, scope: Scope) -> Value:
        return self.operations.make_set(self._elements(node.elts, scope))

    def _dict(self, node: ast.Dict, scope: Scope) -> Value:
        pairs: list[tuple[Value, Value]] = []
        for key, inner in zip(node.keys, node.values, strict=True):
            if key is None:
                found = self.mapping(self.value(inner, scope))
                self.meter.spend(len(found) // 8 + 1)
                pairs += found.items()
            else:
                pairs.append((self.value(key, scope), self.value(inner, scope)))
        return self.operations.make_dict(pairs)

    def _list_comprehension(self, node: ast.ListComp, scope: Scope) -> Value:
        found: list[Value] = []
        self._loop(node, scope, lambda inner: found.append(self.value(node.elt, inner)))
        return found

    def _set_comprehension(self, node: ast.SetComp, scope: Scope) -> Value:
        found: list[Value] = []
        self._loop(node, scope, lambda inner: found.append(self.value(node.elt, inner)))
        return self.operations.make_set(found)

    def _dict_comprehension(self, node: ast.DictComp, scope: Scope) -> Value:
        pairs: list[tuple[Value, Value]] = []

        def add(inner: Scope) -> None:
            pairs.append((self.value(node.key, inner), self.value(node.value, inner)))

        self._loop(node, scope, add)
        return self.operations.make_dict(pairs)

    def _loop(
        self,
        node: ast.ListComp | ast.SetComp | ast.DictComp,
        scope: Scope,
        body: Callable[[Scope], None],
    ) -> None:
        inner = dict(scope)

        def run(level: int, items: Iterator[Value]) -> None:
            generator = node.generators[level]
            for item in items:
                self.meter.spend()
                self.assign(generator.target, item, inner)
                if not self.passes(generator.ifs, inner):
                    continue
                if level + 1 < len(node.generators):
                    run(level + 1, self.iterable(node.generators[level + 1], inner))
                else:
                    body(inner)

        run(0, self.iterable(node.generators[0], scope))

    def passes(self, tests: list[ast.expr], scope: Scope) -> bool:
        """Whether all conditions of a comprehension hold."""
        # Not `all(…)`: a generator turns the StopIteration of `next` into another error.
        for test in tests:  # noqa: SIM110
            if not self.value(test, scope):
                return False
        return True

    def iterable(self, generator: ast.comprehension, scope: Scope) -> Iterator[Value]:
        """What a `for` of a comprehension goes through."""
        return self.operations.iterate(self.value(generator.iter, scope))

    def _generator(self, node: ast.GeneratorExp, scope: Scope) -> Iterator[Value]:
        first = self.iterable(node.generators[0], scope)
        return self._generate(node, 0, first, dict(scope))

    def _generate(
        self, node: ast.GeneratorExp, level: int, items: Iterator[Value], inner: Scope
    ) -> Iterator[Value]:
        generator = node.generators[level]
        for item in items:
            self.meter.spend()
            self.assign(generator.target, item, inner)
            if not self.passes(generator.ifs, inner):
                continue
            if level + 1 < len(node.generators):
                below = self.iterable(node.generators[level + 1], inner)
                yield from self._generate(node, level + 1, below, inner)
            else:
                yield self.value(node.elt, inner)

    def _lambda(self, node: ast.Lambda, scope: Scope) -> Value:
        names = [argument.arg for argument in node.args.args]

        def call(*args: Value) -> Value:
            if len(args) != len(names):
                raise TypeError(f"<lambda>() takes {len(names)} arguments but {len(args)} given")
            return self.value(node.body, {**scope, **dict(zip(names, args, strict=True))})

        return call


_HANDLERS: Final[dict[type[ast.AST], Callable[[Evaluator, Any, Scope], Value]]] = {
    ast.Constant: Evaluator._constant,
    ast.Name: Evaluator._name,
    ast.Attribute: Evaluator._attribute,
    ast.Subscript: Evaluator._subscript,
    ast.Slice: Evaluator._slice,
    ast.BinOp: Evaluator._binary,
    ast.UnaryOp: Evaluator._unary,
    ast.BoolOp: Evaluator._boolean,
    ast.Compare: Evaluator._compare,
    ast.IfExp: Evaluator._conditional,
    ast.Call: Evaluator._call,
    ast.JoinedStr: Evaluator._joined,
    ast.FormattedValue: Evaluator._formatted,
    ast.Starred: Evaluator._starred,
    ast.List: Evaluator._list,
    ast.Tuple: Evaluator._tuple,
    ast.Set: Evaluator._set,
    ast.Dict: Evaluator._dict,
    ast.ListComp: Evaluator._list_comprehension,
    ast.SetComp: Evaluator._set_comprehension,
    ast.DictComp: Evaluator._dict_comprehension,
    ast.GeneratorExp: Evaluator._generator,
    ast.Lambda: Evaluator._lambda,
}
