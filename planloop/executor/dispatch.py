"""What the scheduler of flows asks of whoever carries out the calls."""

from __future__ import annotations

from typing import Protocol, TypeVar

from planloop.plan import CallSite, Place, Statement
from planloop.state import StatementResult
from planloop.tool import BoundCall
from planloop.values import Value


class Prepared(Protocol):
    """A call with its arguments bound, waiting for its turn."""

    @property
    def call(self) -> BoundCall:
        """The bound call."""
        ...

    @property
    def by_place(self) -> bool:
        """It must not run before earlier calls of its tool have had their turn."""
        ...


P = TypeVar("P", bound=Prepared)


class Dispatcher(Protocol[P]):
    """Carries out the calls that the scheduler lets start."""

    def prepare(
        self,
        site: CallSite,
        statement: Statement,
        place: Place,
        args: list[Value],
        kwargs: dict[str, Value],
        again: bool,
    ) -> P:
        """Bind a call's arguments. Raises `ArgumentsInvalid`."""
        ...

    async def run(self, prepared: P) -> Value:
        """Carry a call out. Raises `CallFailed`; anything else ends the plan from outside."""
        ...

    def skipped(self, prepared: P, why: str) -> None:
        """A prepared call may not start any more."""
        ...

    def note(self, text: Value, place: Place) -> None:
        """The plan says something to its planner."""
        ...

    async def propose(self, arguments: dict[str, Value], statement: Statement) -> None:
        """The plan proposes a check. Raises `CallFailed`."""
        ...

    def statement_ended(self, statement: Statement, result: StatementResult, place: Place) -> None:
        """A statement has ended; said once for each."""
        ...
