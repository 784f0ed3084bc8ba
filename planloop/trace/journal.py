"""One place that every event goes through: the log first, then whoever listens."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from planloop.events import Event, Nestable
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

    def within(self, serial: int) -> Journal:
        """The same for what happens inside a call: its events say so."""
        return _Nested(self, serial)


class _Nested(Journal):
    def __init__(self, above: Journal, serial: int) -> None:
        super().__init__(above.log)
        self._above = above
        self._serial = serial

    def emit(self, event: Event, *, sync: bool = False) -> None:
        if isinstance(event, Nestable) and event.within is None:
            event = dataclasses.replace(event, within=self._serial)
        self._above.emit(event, sync=sync)
