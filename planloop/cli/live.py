"""The live view: lasting lines scroll by, and what goes on now is redrawn below them."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from planloop.cli import describing
from planloop.cli.lines import Line, Style, duration, last_lines, line
from planloop.cli.terminal import Terminal
from planloop.cli.views import Story, running_calls, running_text, stopping
from planloop.events import (
    CallBegunAhead,
    CallEnded,
    CallStarted,
    Event,
    ModelAsked,
    OutputSeen,
    ReplyProgress,
    RunStarted,
    SetupOutput,
    SetupStarted,
)
from planloop.text import one_line, sanitise
from planloop.trace.fold import CallView, RunView

if TYPE_CHECKING:
    from rich.console import Console, Group
    from rich.live import Live
    from rich.text import Text

_TAIL_CHARACTERS = 4_000
_TAIL_LINES = 4
_CALLS_SHOWN = 4
_INDENT = 2
"""Columns that what is nested moves to the right."""
_RICH: dict[Style, str] = {
    "": "",
    "good": "green",
    "bad": "red",
    "warn": "yellow",
    "hint": "cyan",
    "dim": "dim",
    "bold": "bold",
}
_FRAMES = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_PLAIN_FRAMES = "|/-\\"


class Now:
    """What goes on at this moment: running calls, their output, the reply being written."""

    def __init__(self) -> None:
        self.waiting = ""
        self.view = RunView()
        self._replies: dict[int | None, str] = {}
        self.stopping = False
        self._began = time.monotonic()
        self._asked_at: dict[int | None, float] = {}
        self._setup_output = ""
        self._output: dict[int, str] = {}
        self._started_at: dict[int, float] = {}
        self._ahead_at: dict[int, float] = {}

    def see(self, event: Event, view: RunView) -> None:
        """Take in an event."""
        self.view = view
        match event:
            case SetupStarted(what=what, command=command):
                self.waiting, self._setup_output = f"{what}: {one_line(command, 200)} …", ""
            case SetupOutput(text=text):
                self._setup_output = (self._setup_output + text)[-_TAIL_CHARACTERS:]
            case RunStarted():
                self.waiting, self._began = "", time.monotonic()
            case ModelAsked(within=within):
                self._replies[within], self._asked_at[within] = "", time.monotonic()
            case ReplyProgress(within=within, text=text):
                reply = self._replies.get(within, "") + text
                self._replies[within] = reply[-_TAIL_CHARACTERS:]
            case CallBegunAhead(number=number):
                self._ahead_at[number] = time.monotonic()
            case CallStarted(serial=serial):
                self._started_at[serial] = time.monotonic()
            case OutputSeen(serial=serial, text=text):
                kept = self._output.get(serial, "") + text
                self._output[serial] = kept[-_TAIL_CHARACTERS:]
            case CallEnded(serial=serial):
                self._output.pop(serial, None)
            case _:
                pass

    def lines(self, width: int, height: int, frame: str) -> list[Line]:
        """What to draw, on at most `height` lines."""
        if self.waiting:
            head = line((f"{frame} ", "hint"), self.waiting)
            return [head, *_tail(self._setup_output, width)][: max(1, height - 1)]
        shown = list(self._going_on(self.view, None, width, frame))
        lines = [one for each in shown[:_CALLS_SHOWN] for one in each]
        if len(shown) > _CALLS_SHOWN:
            lines.append(line((f"  … and {len(shown) - _CALLS_SHOWN} more calls", "dim")))
        if self.view.services:
            services = describing.services_text(self.view.services)
            lines.append(line((one_line(services, width - 1), "dim")))
        budget = describing.budget_text(self.view, time.monotonic() - self._began)
        return [*lines[: max(1, height - 2)], line((one_line(budget, width - 1), "dim"))]

    def _going_on(
        self, view: RunView, within: int | None, width: int, frame: str
    ) -> Iterator[list[Line]]:
        """A request, then the running calls, each with what goes on inside it below it."""
        if view.asking:
            yield self._asking(view.model, within, width, frame)
        for call in running_calls(view):
            yield self._call(call, view, width, frame)
            if call.serial in self.view.nested:
                inner = self.view.nested[call.serial]
                for lines in self._going_on(inner, call.serial, width - _INDENT, frame):
                    yield [one.indented(_INDENT) for one in lines]

    def _asking(self, model: str, within: int | None, width: int, frame: str) -> list[Line]:
        reply = self._replies.get(within, "")
        doing = "is writing" if reply else "was asked"
        since = duration(time.monotonic() - self._asked_at.get(within, time.monotonic()))
        head = line((f"{frame} ", "hint"), f"{one_line(model, 50)} {doing}  {since}")
        return [head, *_tail(reply, width)]

    def _call(self, call: CallView, view: RunView, width: int, frame: str) -> list[Line]:
        began = self._ahead_at if call.ahead is not None else self._started_at
        number = call.serial if call.ahead is None else call.ahead
        since = duration(time.monotonic() - began.get(number, time.monotonic()))
        text = running_text(call, view, max(20, width - 27))
        verb = "stopping" if self.stopping else "running"
        head = line((f"{frame} {verb:<12}", "hint"), text, (f"  {since}", "dim"))
        return [head, *_tail(self._output.get(call.serial, ""), width)]


def _tail(text: str, width: int) -> list[Line]:
    rows = sanitise(last_lines(text, _TAIL_LINES)).splitlines()
    return [line((f"      | {one_line(row, width - 9)}", "dim")) for row in rows]


class LiveView:
    """Draws on a terminal. Only what has happened stays there."""

    def __init__(self, terminal: Terminal, *, why: str, verbose: bool = False) -> None:
        from rich.console import Console
        from rich.live import Live

        self._terminal = terminal
        colored = terminal.colored(sys.stderr)
        self._console: Console = Console(
            file=sys.stderr,
            force_terminal=True,
            color_system="auto" if colored else None,
            highlight=False,
        )
        self._now = Now()
        self._story = Story(why=why, width=self._console.width, verbose=verbose)
        self._frames = _FRAMES if _takes(_FRAMES) else _PLAIN_FRAMES
        self._live: Live = Live(
            console=self._console,
            get_renderable=self._draw,
            refresh_per_second=8,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )

    def waiting(self, what: str) -> None:
        """Says what is awaited."""
        self._terminal.clear_note()
        self._now.waiting = f"{what} …"
        self._live.start(refresh=True)

    def show(self, event: Event, view: RunView) -> None:
        """Lasting lines of the event, and the new present."""
        self._now.see(event, view)
        for one in self._story.lines(event, view):
            self._print(one)

    def interrupting(self) -> None:
        """Says what is being stopped."""
        self._now.stopping = True
        for one in stopping(self._now.view):
            self._print(one)

    def close(self) -> None:
        """Leave the terminal as it was."""
        self._live.stop()

    def _print(self, one: Line) -> None:
        self._console.print(_text(one), soft_wrap=True)

    def _draw(self) -> Group:
        from rich.console import Group

        frame = self._frames[int(time.monotonic() * 8) % len(self._frames)]
        size = self._console.size
        lines = self._now.lines(size.width, size.height, frame)
        return Group(*(_text(one, crop=True) for one in lines))


def _text(one: Line, *, crop: bool = False) -> Text:
    from rich.text import Text

    text = Text(no_wrap=crop, overflow="ellipsis" if crop else None)
    for span in one.spans:
        text.append(span.text, style=_RICH[span.style] or None)
    return text


def _takes(text: str) -> bool:
    """Whether standard error can carry these characters."""
    try:
        text.encode(sys.stderr.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
