"""One place that every event goes through: the log first, then whoever listens."""

from __future__ import annotations

from collections.abc import Callable

from planloop.events import Event
from planloop.trace.log import Log

Listener = Callable[[Event], None]


class Journal:
    """Writes events to a run's log and tells listeners. A listener must not raise or block."""

    def __init__(self, log: Log, listeners: tuple[Listener, ...] = ()) -> None:
        self.log = log
        self._listeners = listeners

    def emit(self, event: Event, *, sync: bool = False) -> None:
        """Record an event, then tell the listeners.

        Raises:
            InfrastructureError: it could not be recorded; nobody is told then.
        """
        self.log.append(event, sync=sync)
        for listener in self._listeners:
            listener(event)
