"""What a running run shows: events in, lines out, in the order in which things happen."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Protocol

from planloop.cli import describing
from planloop.cli.lines import Line, line, quoted
from planloop.cli.terminal import Terminal
from planloop.events import (
    CallDropped,
    CallEnded,
    CallServed,
    CallStarted,
    CheckEnded,
    ChecksPinned,
    Event,
    FeedbackGiven,
    GoalDecomposed,
    ModelAsked,
    Nestable,
    NoteMade,
    PassRestarted,
    PlanStarted,
    ReplyRefused,
    RunStarted,
    ServicesChanged,
    SetupEnded,
    SetupStarted,
    StatementEnded,
    Warned,
    to_json,
)
from planloop.state import StatementResult
from planloop.text import one_line
from planloop.trace.fold import CallView, RunView

_BESIDE = 31
"""Columns of a call's line besides the call."""


class View(Protocol):
    """Shows a run while it goes on."""

    def waiting(self, what: str) -> None:
        """Something takes a while before the first event."""
        ...

    def show(self, event: Event, view: RunView) -> None:
        """An event happened; `view` is the run after it."""
        ...

    def interrupting(self) -> None:
        """The user asked to stop; what is being stopped is said at once."""
        ...

    def close(self) -> None:
        """Nothing more will be shown."""
        ...


class QuietView:
    """Shows only what must be known."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal

    def waiting(self, what: str) -> None:
        """Nothing: it is not asked for."""

    def show(self, event: Event, view: RunView) -> None:
        """Warnings."""
        if isinstance(event, Warned):
            self._terminal.warn(event.text)

    def interrupting(self) -> None:
        """Says so."""
        self._terminal.say(*stopping(RunView()))

    def close(self) -> None:
        """Nothing is open."""


class JsonView(QuietView):
    """One event a line on standard output, and nothing else there."""

    def show(self, event: Event, view: RunView) -> None:
        """The event as JSON, in ASCII so that every reader gets it."""
        self._terminal.out_raw(json.dumps(to_json(event)) + "\n")
        super().show(event, view)


class PlainView:
    """Lines on standard error as things happen, without animation."""

    def __init__(self, terminal: Terminal, *, why: str, width: int, verbose: bool = False) -> None:
        self._terminal = terminal
        self._view = RunView()
        self.story = Story(why=why, width=width, verbose=verbose)

    def waiting(self, what: str) -> None:
        """Says what is awaited."""
        self._terminal.say(line((f"{what} …", "dim")))

    def show(self, event: Event, view: RunView) -> None:
        """The lines of this event."""
        lines = list(self.story.lines(event, view))
        if isinstance(event, SetupStarted):
            command = f"{event.what}: {one_line(event.command, 200)} …"
            lines.append(line((command, "dim")))
        if isinstance(event, ModelAsked):
            lines.append(line((f"asking {one_line(asked_model(event, view))} …", "dim")))
        self._view = view
        self._terminal.say(*lines)

    def interrupting(self) -> None:
        """Says what is being stopped."""
        self._terminal.say(*stopping(self._view))

    def close(self) -> None:
        """Nothing is open."""


def asked_model(event: ModelAsked, view: RunView) -> str:
    """The model that an event speaks of."""
    return view.model if event.within is None else view.nested[event.within].model


def stopping(view: RunView) -> list[Line]:
    """What an interrupt stops."""
    calls = running_calls(view)
    what = ", ".join(running_text(call, view, 40) for call in calls[:3]) or "the run"
    more = f" and {len(calls) - 3} more calls" if len(calls) > 3 else ""
    return [line(("stopping ", "warn"), f"{what}{more}; press Ctrl-C again to force")]


def running_calls(view: RunView) -> list[CallView]:
    """Calls of the newest round, and of a plan that is being written, that have not ended."""
    calls = (*(view.rounds[-1].calls if view.rounds else ()), *view.ahead)
    return [call for call in calls if call.observation is None and not call.served]


def running_text(call: CallView, view: RunView, width: int) -> str:
    """A running call as its plan wrote it; one that began early has no plan yet."""
    source = view.rounds[-1].source if view.rounds and call not in view.ahead else ""
    return describing.call_text(call, source, width)


class Story:
    """Turns events to lasting lines: what has happened, never what goes on."""

    def __init__(self, *, why: str = "", width: int = 80, verbose: bool = False) -> None:
        self._why = why
        self._width = max(20, width - _BESIDE)
        self._verbose = verbose
        self._scope: str | None = None
        self._nested: dict[int, Story] = {}
        self._depths: dict[int, int] = {}

    def lines(self, event: Event, view: RunView) -> Iterator[Line]:
        """What this event adds to the story; `view` is the run after it."""
        within = event.within if isinstance(event, Nestable) else None
        if isinstance(event, CallStarted):
            self._depths[event.serial] = self._depths.get(within or 0, 0) + 1
        if within is None:
            yield from self._told(event, view)
        else:
            yield from self._told_within(event, view, within)

    def _told_within(self, event: Event, view: RunView, within: int) -> Iterator[Line]:
        """What happens inside a call, moved to the right below the line that names it."""
        indent = 2 * self._depths.get(within, 1)
        told = self._nested.get(within)
        story = told or Story(width=self._width + _BESIDE - indent, verbose=self._verbose)
        lines = list(story._told(event, view.nested[within]))
        if lines and told is None:
            self._nested[within] = story
            yield describing.goal_line(within, view, self._width).indented(indent - 2)
        yield from (one.indented(indent) for one in lines)

    def _told(self, event: Event, view: RunView) -> Iterator[Line]:
        match event:
            case RunStarted():
                yield from describing.heading(view, self._why)
            case SetupEnded():
                yield from describing.setup_lines(event)
            case PlanStarted():
                yield from self._plan(view)
            case ReplyRefused():
                yield describing.refusal_line(view.refused[-1])
            case CallEnded() | CallServed():
                yield from self._call(event.serial, view)
            case CallDropped():
                text = describing.call_text(view.dropped[-1], "", self._width)
                yield line(
                    "  ", ("dropped     ", "dim"), text, ("  began early, for nothing", "dim")
                )
            case StatementEnded(result=result):
                yield from self._statement(result, view)
            case ServicesChanged(services=services):
                yield from describing.service_lines(services)
            case GoalDecomposed(parts=parts):
                yield from describing.parts_lines(parts)
            case NoteMade(text=text):
                yield from quoted(text, "", indent=2)
            case PassRestarted(reason=reason):
                yield line(("  from the top: ", "warn"), one_line(reason, 200))
            case ChecksPinned(labels=labels, proposed=True):
                yield from (line(f"  check proposed  {one_line(label)}") for label in labels)
            case CheckEnded(result=result):
                yield from describing.check_lines(result)
            case FeedbackGiven(text=text):
                yield from quoted(text) if self._verbose else ()
            case Warned(text=text):
                yield line(("warning: ", "warn"), text)
            case _:
                return

    def _plan(self, view: RunView) -> Iterator[Line]:
        self._scope = None
        found = view.rounds[-1]
        yield describing.plan_line(found)
        if self._verbose:
            yield from quoted(found.source)

    def _statement(self, result: StatementResult, view: RunView) -> Iterator[Line]:
        lines = describing.statement_lines(result, view.rounds[-1].calls)
        if lines and result.scope is not None and result.scope != self._scope:
            yield describing.scope_line(result.scope)
            self._scope = result.scope
        yield from lines

    def _call(self, serial: int, view: RunView) -> Iterator[Line]:
        found = view.rounds[-1]
        ended = [call for call in found.calls if call.serial == serial]
        if not ended:
            return
        call = ended[-1]
        if call.scope != self._scope and call.scope is not None:
            yield describing.scope_line(call.scope)
        self._scope = call.scope
        yield describing.call_line(call, found.source, self._width)
        yield from describing.call_details(call)
