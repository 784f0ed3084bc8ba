"""Drives one run from its first event to its end, and shows it on the way."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Any, cast

from planloop.cli.prepare import Prepared
from planloop.cli.signals import Interrupts, interrupts
from planloop.cli.views import View
from planloop.events import Event
from planloop.state import Result
from planloop.trace.fold import RunView, after

if TYPE_CHECKING:
    from planloop.agent import Agent


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ending:
    """How a run ended, as far as it went."""

    view: RunView
    result: Result | None = None
    """None if it did not come to an end of its own."""
    error: Exception | None = None
    interrupted: int | None = None
    """The exit code of the signal that came; None if none did."""


def drive(agent: Agent[Any, Any], prepared: Prepared, view: View) -> Ending:
    """Run a task to its end; errors and interrupts are part of the ending."""
    follower = _Follower(agent, prepared, view)
    with interrupts(agent.close) as signals, contextlib.suppress(asyncio.CancelledError):
        asyncio.run(follower.follow(signals))
    return Ending(
        view=follower.seen,
        result=agent.result,
        error=follower.error,
        interrupted=signals.exit_code,
    )


class _Follower:
    def __init__(self, agent: Agent[Any, Any], prepared: Prepared, view: View) -> None:
        self._agent = agent
        self._prepared = prepared
        self._view = view
        self.seen = RunView()
        self.error: Exception | None = None

    async def follow(self, signals: Interrupts) -> None:
        """Show every event of the run."""
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None

        def stop() -> None:
            loop.call_soon_threadsafe(self._stop, task)

        signals.call(stop)
        try:
            # An async generator, whatever its annotation promises: it must be closed.
            events = cast(AsyncGenerator[Event, None], self._agent.stream(self._prepared.task))
            async with contextlib.aclosing(events):
                async for event in events:
                    self.seen = after(self.seen, event)
                    self._view.show(event, self.seen)
        except Exception as error:  # shown by the caller, which knows how far the run came
            self.error = error
        finally:
            self._agent.close()
            await self._prepared.model.model.close()
            if self._prepared.executor is not None:
                await self._prepared.executor.model.close()

    def _stop(self, task: asyncio.Task[None]) -> None:
        self._view.interrupting()
        if self.seen.run_id:
            self._agent.cancel()
        else:  # nothing goes round yet that could end by itself
            task.cancel()
