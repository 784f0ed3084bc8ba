"""What a task file or a project file says, before anything is decided about it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal, TypeVar

from planloop.budget import Budget
from planloop.errors import TaskError
from planloop.sandbox import SandboxSpec
from planloop.task import Check, ModelSpec, PackagesSpec, SetupSpec, WorkspaceSpec
from planloop.taskfile.nodes import Mark, Source
from planloop.values import Value

T = TypeVar("T")

LIMIT_NAMES = {
    "cost": "cost_usd",
    "time": "wall_s",
    "tokens": "tokens",
    "rounds": "rounds",
    "calls": "calls",
    "sandbox_time": "sandbox_s",
    "depth": "depth",
}
"""Budget limits as files and flags call them → fields of `Budget`."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """The fields of one file. None, or an absent limit, where it says nothing."""

    name: str | None = None
    model: ModelSpec | None = None
    executor: ModelSpec | None = None
    on_fail: Literal["tell", "decompose"] | None = None
    sandbox: SandboxSpec | None = None
    environment: str | None = None
    workspace: WorkspaceSpec | None = None
    setup: SetupSpec | None = None
    packages: PackagesSpec | None = None
    tools: tuple[str, ...] | None = None
    checks: tuple[Check, ...] | None = None
    limits: Mapping[str, float | None] = dataclasses.field(default_factory=dict)
    """Fields of `Budget` that are given; None for no limit."""
    inputs: Mapping[str, Value] | None = None
    outputs: tuple[str, ...] | None = None
    source: Source | None = None
    places: Mapping[str, Mark] = dataclasses.field(default_factory=dict)
    """Where each given field stands in the source, by dotted name."""

    def place(self, name: str) -> str:
        """Where a field stands, or the field above it: `task.md, line 4`."""
        mark = self._mark(name)
        return "" if self.source is None or mark is None else self.source.place(mark)

    def error(self, name: str, what: str, hint: str) -> TaskError:
        """An error that points at a field."""
        mark = self._mark(name)
        if self.source is None or mark is None:
            return TaskError(what, hint=hint)
        return self.source.error(what, mark, hint)

    def _mark(self, name: str) -> Mark | None:
        while name and name not in self.places:
            name = name.rpartition(".")[0]
        return self.places.get(name)


def budget_of(limits: Mapping[str, float | None]) -> Budget:
    """A budget with these limits, and the defaults for the others."""
    whole = ("tokens", "rounds", "calls", "depth")
    numbers: dict[str, Any] = {
        name: int(limit) if name in whole and limit is not None else limit
        for name, limit in limits.items()
    }
    return Budget(**numbers)


def first(*candidates: T | None) -> T | None:
    """The first that is given; an empty one counts as given."""
    return next((found for found in candidates if found is not None), None)
