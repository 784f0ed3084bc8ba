"""Call-free work of a running flow: bounded, and never long on the event loop."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

import anyio
import anyio.lowlevel
import anyio.to_thread

from planloop.language.evaluate import Evaluator
from planloop.language.limits import (
    INLINE_OPERATIONS,
    MAX_FLOW_OPERATIONS,
    MAX_OPERATIONS,
    LimitExceeded,
    Meter,
    Paused,
    Scale,
)
from planloop.plan import Place

T = TypeVar("T")


class Stopped(Exception):
    """Internal: an expression came to no value, by an error or, without one, since it may not."""

    def __init__(self, error: Exception | None, place: Place, line: int = 0) -> None:
        super().__init__(error)
        self.error = error
        self.place = place
        self.line = line


class Progress:
    """What the statements of one running flow share."""

    def __init__(self) -> None:
        self.scale = Scale()
        self.stopped_at: Place | None = None
        """The first place where something went wrong."""
        self.spent = 0
        self._since_yield = 0

    def stop(self, place: Place) -> None:
        """Nothing with an effect may start after this place."""
        if self.stopped_at is None or place < self.stopped_at:
            self.stopped_at = place

    def stopped(self, error: Exception, place: Place, line: int = 0) -> Stopped:
        """An error at a place; from there on nothing with an effect starts."""
        self.stop(place)
        return Stopped(error, place, line)

    async def give_way(self, operations: int) -> None:
        """Let the event loop run, every so many operations."""
        self.spent += operations
        self._since_yield += operations
        if self._since_yield > INLINE_OPERATIONS:
            self._since_yield = 0
            await anyio.lowlevel.checkpoint()


@dataclasses.dataclass(frozen=True, slots=True)
class _Outcome:
    value: Any
    error: Exception | None
    spent: int


class Computer:
    """Does the call-free work of one statement."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._spent = 0

    async def compute(self, step: Callable[[Evaluator], T], place: Place) -> T:
        """Do a piece of work, in a thread if it turns out to be long.

        Raises:
            Stopped: it raised.
        """
        if self._progress.spent > MAX_FLOW_OPERATIONS:
            too_much = LimitExceeded(f"a flow may take {MAX_FLOW_OPERATIONS:,} operations")
            raise self._progress.stopped(too_much, place)
        outcome = self._attempt(step, INLINE_OPERATIONS)
        if isinstance(outcome.error, Paused):
            outcome = await anyio.to_thread.run_sync(self._attempt, step, MAX_OPERATIONS)
        spent, self._spent = outcome.spent - self._spent, max(self._spent, outcome.spent)
        await self._progress.give_way(spent)
        if outcome.error is not None:
            raise self._progress.stopped(outcome.error, place)
        return outcome.value  # type: ignore[no-any-return]

    def _attempt(self, step: Callable[[Evaluator], Any], inline: int) -> _Outcome:
        meter = Meter(self._spent, inline)
        try:
            return _Outcome(step(Evaluator(meter, self._progress.scale)), None, meter.spent)
        except Exception as error:  # the plan's own error: it becomes the statement's failure
            return _Outcome(None, error, meter.spent)


def first_of(stops: list[Stopped]) -> Stopped:
    """The stop that Python would have seen: of those with an error, the first in order."""
    return min(stops, key=lambda stop: (stop.error is None, stop.place))


async def together(jobs: Sequence[Callable[[], Coroutine[Any, Any, None]]]) -> None:
    """Do all jobs at once; they begin in order."""
    if len(jobs) == 1:
        await jobs[0]()
    elif jobs:
        async with anyio.create_task_group() as group:
            for job in jobs:
                group.start_soon(job)
