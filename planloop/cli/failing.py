"""Errors as people read them: what, where, and what to do next."""

from __future__ import annotations

import traceback

from planloop.cli.lines import Line, line, quoted, rows
from planloop.cli.terminal import Terminal
from planloop.errors import InfrastructureError, PlanloopError, TaskError, UserError


def show_error(terminal: Terminal, error: BaseException) -> None:
    """Write an error to standard error; its traceback only with `--debug`."""
    if terminal.debug:
        terminal.say(*quoted("".join(traceback.format_exception(error)), indent=2))
    terminal.say(*error_lines(error))


def error_lines(error: BaseException) -> list[Line]:
    """`error: what`, where it is, and a hint."""
    match error:
        case TaskError(excerpt=excerpt) if excerpt:
            return _lines(_head(error), error.hint, excerpt)
        case UserError():
            return _lines(_head(error), error.hint)
        case InfrastructureError():
            return _lines(error.message, error.hint)
        case PlanloopError():
            return _lines(str(error))
        case _:
            return _lines(
                f"planloop itself failed: {type(error).__name__}: {error}",
                "this is a bug; `--debug` shows where, please report it",
            )


def _head(error: UserError) -> str:
    return f"{error.where}: {error.what}" if error.where else error.what


def _lines(what: str, hint: str | None = None, excerpt: str = "") -> list[Line]:
    lines = [line(("error: ", "bad"), what)]
    lines += rows(excerpt.rstrip("\n")) if excerpt else []
    return [*lines, line(""), line(("hint: ", "hint"), hint)] if hint else lines
