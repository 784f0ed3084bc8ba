"""How a statement's error is told: class, text, line, and the values that it saw."""

from __future__ import annotations

from typing import Final

from planloop.errors import CallFailed, PlanloopError
from planloop.executor.computing import Stopped
from planloop.language.evaluate import Scope
from planloop.observation import Failure
from planloop.plan import Statement
from planloop.text import bounded_repr
from planloop.values import Value

_MOST_NAMES: Final = 8
_MOST_ITEMS: Final = 20
_MOST_TEXT: Final = 400
_MOST_MESSAGE: Final = 4_000


class ExpectationFailed(PlanloopError):
    """An `expect(…)` of a plan did not hold."""


def failure_of(statement: Statement, error: Exception, stop: Stopped, scope: Scope) -> Failure:
    """The failure of a statement, bounded in size."""
    values = [(name, _shown(value)) for name, value in scope.items() if isinstance(name, str)]
    told = isinstance(error, CallFailed)
    return Failure(
        type=error.error if isinstance(error, CallFailed) else type(error).__name__,
        message=(error.message if isinstance(error, CallFailed) else str(error))[:_MOST_MESSAGE],
        line=stop.line or statement.line,
        values=() if told and not values else tuple(values[:_MOST_NAMES]),
    )


def _shown(value: Value) -> str:
    return bounded_repr(_pruned(value, 3))


def _pruned(value: Value, depth: int) -> Value:
    """As much of a value as could be shown; a deep or wide one would be long to print."""
    if isinstance(value, str | bytes):
        return value[:_MOST_TEXT]
    if isinstance(value, dict):
        items = list(value.items())[:_MOST_ITEMS] if depth else []
        return {key: _pruned(item, depth - 1) for key, item in items}
    if isinstance(value, list | tuple):
        return [_pruned(item, depth - 1) for item in value[: _MOST_ITEMS if depth else 0]]
    if isinstance(value, set):
        return f"<set of {len(value)}>"
    return value
