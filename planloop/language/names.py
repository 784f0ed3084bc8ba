"""The names that an expression of a plan may see: of the run, of the plan, of a comprehension."""

from __future__ import annotations

import ast
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType

from planloop.language.findings import nearest
from planloop.language.grammar import RESERVED


class Names:
    """Which names are bound at the present place of a plan.

    Args:
        run: names that the run has bound already.
        tools: names of the tools.
        lines: the first line of the plan that binds a name.
        lost: names that the run had bound, and what they held.
    """

    def __init__(
        self,
        run: Collection[str],
        tools: Collection[str],
        lines: Mapping[str, int],
        lost: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self._bound = set(run)
        self._lost = lost
        self._tools = tools
        self._lines = lines
        self._local: list[set[str]] = []
        self._unbound: list[set[str]] = []

    def bind(self, names: Iterable[str]) -> None:
        """From here on these names are bound."""
        self._bound.update(names)

    def is_bound(self, name: str) -> bool:
        """Whether the run, or a statement above, binds a name."""
        return name in self._bound

    def is_local(self, name: str) -> bool:
        """Whether a name is a variable of a comprehension or lambda around the present place."""
        return any(name in names for names in self._local)

    def is_too_early(self, name: str) -> bool:
        """Whether the comprehension to which a name belongs has not bound it yet."""
        for names, unbound in zip(reversed(self._local), reversed(self._unbound), strict=True):
            if name in names:
                return name in unbound
        return False

    @contextmanager
    def scope(self, names: set[str]) -> Iterator[set[str]]:
        """Variables of a comprehension or lambda; take out of the set what is bound."""
        unbound = set(names)
        self._local.append(names)
        self._unbound.append(unbound)
        yield unbound
        self._local.pop()
        self._unbound.pop()

    def problem(self, name: str) -> str | None:
        """Why a plan may not bind a name, if it may not."""
        if name.startswith("__"):
            return f"`{name}`: no names with two underscores; rename it"
        if name in self._tools:
            return f"`{name}` is a tool; give the value another name"
        if name in RESERVED:
            return f"`{name}` is a word of the plan language; give the value another name"
        return None

    def unknown(self, name: str) -> str:
        """What to say of a name that nothing above binds."""
        if name in self._lost:
            return lost_name(name, self._lost[name])
        if name in self._lines:
            return f"`{name}` is bound only at line {self._lines[name]}; move that line up"
        if name.startswith("__"):
            return f"`{name}`: a plan has no names with two underscores"
        near = nearest(name, [*self._bound, *self._tools])
        if not near and name in sys.stdlib_module_names:
            return f"unknown name `{name}`; a module must be imported, which makes a program"
        return f"unknown name `{name}`{near}"


def lost_name(name: str, what: str) -> str:
    """What to say of a name that went with the interpreter in which it lived."""
    return f"`{name}` is lost with the interpreter that held it ({what}); make it again"


def target_parts(target: ast.expr) -> Iterator[ast.expr]:
    """An assignment's target, and all targets in it."""
    yield target
    if isinstance(target, ast.Tuple | ast.List):
        for part in target.elts:
            yield from target_parts(part)
    elif isinstance(target, ast.Starred):
        yield from target_parts(target.value)


def bound_lines(body: Iterable[ast.stmt]) -> dict[str, int]:
    """The first line that binds each name of a plan."""
    found: dict[str, int] = {}
    for node in body:
        targets = node.targets if isinstance(node, ast.Assign) else []
        for target in [*targets, *([node.target] if isinstance(node, ast.AnnAssign) else [])]:
            for part in target_parts(target):
                if isinstance(part, ast.Name):
                    found.setdefault(part.id, node.lineno)
    return found
