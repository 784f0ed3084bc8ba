"""The live view: lasting lines scroll by, and what goes on now is redrawn below them."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from planloop.cli import describing
from planloop.cli.lines import Line, Style, duration, last_lines, line
from planloop.cli.terminal import Terminal
from planloop.cli.views import Story, running_calls, stopping
from planloop.events import (
    CallEnded,
    CallStarted,
    Event,
    ModelAsked,
    OutputSeen,
    ReplyProgress,
    RunStarted,
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
        self.reply = ""
        self.stopping = False
        self._began = time.monotonic()
        self._asked_at = 0.0
        self._output: dict[int, str] = {}
        self._started_at: dict[int, float] = {}

    def see(self, event: Event, view: RunView) -> None:
        """Take in an event."""
        self.view = view
        match event:
            case RunStarted():
                self.waiting, self._began = "", time.monotonic()
            case ModelAsked():
                self.reply, self._asked_at = "", time.monotonic()
            case ReplyProgress(text=text):
                self.reply = (self.reply + text)[-_TAIL_CHARACTERS:]
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
            return [line((f"{frame} ", "hint"), self.waiting)]
        lines = self._asking(width, frame) if self.view.asking else []
        running = running_calls(self.view)
        for call in running[:_CALLS_SHOWN]:
            lines += self._call(call, width, frame)
        if len(running) > _CALLS_SHOWN:
            lines.append(line((f"  … and {len(running) - _CALLS_SHOWN} more calls", "dim")))
        budget = describing.budget_text(self.view, time.monotonic() - self._began)
        return [*lines[: max(1, height - 2)], line((one_line(budget, width - 1), "dim"))]

    def _asking(self, width: int, frame: str) -> list[Line]:
        doing = "is writing" if self.reply else "was asked"
        since = duration(time.monotonic() - self._asked_at)
        head = line((f"{frame} ", "hint"), f"{one_line(self.view.model, 50)} {doing}  {since}")
        return [head, *_tail(self.reply, width)]

    def _call(self, call: CallView, width: int, frame: str) -> list[Line]:
        since = duration(time.monotonic() - self._started_at.get(call.serial, time.monotonic()))
        source = self.view.rounds[-1].source
        text = describing.call_text(call, source, max(20, width - 24))
        verb = "stopping" if self.stopping else "running"
        head = line((f"{frame} {verb:<9}", "hint"), text, (f"  {since}", "dim"))
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
            file=sys.stderr, force_terminal=True, no_color=not colored, highlight=False
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
