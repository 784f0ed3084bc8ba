"""The roles of the loop: all that it knows of who plays them."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Protocol

from planloop.plan import Plan, Statement
from planloop.state import Execution, Feedback, Rejected, State


class PlannerRole(Protocol):
    """Says what to do next."""

    def plan(self, state: State) -> Awaitable[Plan]: ...
    def wrap_up(self, state: State, why: str) -> Awaitable[str | None]: ...


class HeadStartRole(Protocol):
    """Begins with a plan while it is still being written."""

    def begin(self, state: State) -> None: ...
    def statement(self, statement: Statement) -> None: ...
    def program(self) -> None: ...
    def stop(self) -> None: ...


class ApproverRole(Protocol):
    """May refuse a plan."""

    def review(self, plan: Plan, state: State) -> Awaitable[Plan | Rejected]: ...


class ExecutorRole(Protocol):
    """Carries plans out."""

    def execute(self, plan: Plan | Rejected, state: State) -> Awaitable[Execution]: ...


class CollectorRole(Protocol):
    """Says what happened."""

    def collect(self, plan: Plan, execution: Execution, state: State) -> Awaitable[Feedback]: ...


class AccountRole(Protocol):
    """Counts rounds."""

    def begin_round(self) -> int: ...
