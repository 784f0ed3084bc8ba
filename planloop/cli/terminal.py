"""The process's streams: what is a terminal, what may be coloured, and writing that never fails."""

from __future__ import annotations

import os
import sys
from typing import Any, TextIO

from planloop.cli.lines import Line, Style, line

_ANSI: dict[Style, dict[str, Any]] = {
    "": {},
    "good": {"fg": "green"},
    "bad": {"fg": "red"},
    "warn": {"fg": "yellow"},
    "hint": {"fg": "cyan"},
    "dim": {"dim": True},
    "bold": {"bold": True},
}


class Terminal:
    """Standard output and standard error of this process, and how the user wants them."""

    def __init__(self) -> None:
        self.color = "auto"
        """`auto`, `always` or `never`."""
        self.debug = False
        """Whether unexpected errors show where they come from."""
        self.hushed = False
        """Whether progress is left out: `--quiet`, `--json`."""
        self.failure: str | None = None
        """Why standard output took no more, if it did not because of its reader."""
        self._noted = False
        for stream in (sys.stdout, sys.stderr):
            # A character that the locale lacks must not end a run.
            if hasattr(stream, "reconfigure"):
                stream.reconfigure(errors="replace")

    @property
    def interactive(self) -> bool:
        """Whether somebody can be asked."""
        return _is_terminal(sys.stdin) and _is_terminal(sys.stderr)

    @property
    def animated(self) -> bool:
        """Whether standard error can be redrawn."""
        return _is_terminal(sys.stderr) and not _is_dumb()

    def colored(self, stream: TextIO | None) -> bool:
        """Whether a stream takes colours: the flag, `NO_COLOR`, `TERM`, then what it is."""
        if self.color != "auto":
            return self.color == "always"
        if os.environ.get("NO_COLOR") or _is_dumb():
            return False
        return _is_terminal(stream)

    def say(self, *lines: Line) -> None:
        """Write lines to standard error: progress, notes, verdicts."""
        self._write(sys.stderr, lines)

    def out(self, *lines: Line) -> None:
        """Write lines to standard output: data."""
        self._write(sys.stdout, lines)

    def out_raw(self, text: str) -> None:
        """Write a text that is harmless already, such as JSON, to standard output."""
        self.clear_note()
        self._put(sys.stdout, text)

    def note(self, text: str, *, brief: bool = False) -> None:
        """Say what is awaited, unless progress is left out; where it can, it goes away again.

        Args:
            brief: it is over in a moment, so that only a terminal needs it.
        """
        if self.hushed or (brief and not self.animated):
            return
        self.clear_note()
        shown = line((f"{text} …", "dim"))
        if self.animated:
            self._put(sys.stderr, _styled(shown) if self.colored(sys.stderr) else shown.text)
            self._noted = True
        else:
            self.say(shown)

    def clear_note(self) -> None:
        """Take the last note away, if it is still there."""
        if self._noted:
            self._put(sys.stderr, "\r\x1b[2K")
            self._noted = False

    def warn(self, text: str) -> None:
        """Something that people should know."""
        self.say(line(("warning: ", "warn"), text))

    def warn_unsafe(self) -> None:
        """The bare host is used: said in red, whatever else is left out."""
        text = "--unsafe-local: the model's code runs on this machine, as you, without a sandbox"
        self.say(line(("warning: ", "bad"), (text, "bad")))

    def _write(self, stream: TextIO | None, lines: tuple[Line, ...]) -> None:
        self.clear_note()
        colored = self.colored(stream)
        self._put(stream, "".join(f"{_styled(one) if colored else one.text}\n" for one in lines))

    def _put(self, stream: TextIO | None, text: str) -> None:
        """Write at once. A reader that has gone is no error; what else fails is told at the end."""
        if stream is None:  # closed before we began
            return
        try:
            stream.write(text)
            stream.flush()
        except BrokenPipeError:
            drop(stream)
        except OSError as error:
            drop(stream)
            if stream is sys.stdout:
                self.failure = error.strerror or str(error)


def _styled(found: Line) -> str:
    import click

    return "".join(
        click.style(span.text, **_ANSI[span.style]) if span.style else span.text
        for span in found.spans
    )


def drop(stream: TextIO) -> None:
    """Send everything that is still written to a stream nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def _is_terminal(stream: TextIO | None) -> bool:
    try:
        return stream is not None and stream.isatty()
    except ValueError:
        return False


def _is_dumb() -> bool:
    return os.environ.get("TERM", "") in ("dumb", "unknown")
