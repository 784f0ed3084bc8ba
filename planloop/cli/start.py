"""Where every command begins and ends: arguments in, an exit code out, no traceback."""

from __future__ import annotations

import os
from collections.abc import Sequence

import click

from planloop.cli.root import VERBS, root
from planloop.cli.terminal import Terminal


def start(arguments: Sequence[str]) -> int:
    """Run one command line; its exit code."""
    terminal = Terminal()
    _settle_home()
    try:
        code = root.main(list(arguments), prog_name="planloop", standalone_mode=False, obj=terminal)
        terminal.clear_note()
        return _checked(terminal, code if isinstance(code, int) else 0)
    except click.ClickException as error:
        _show_usage_error(terminal, error, arguments)
        return 2
    except (KeyboardInterrupt, click.Abort):
        from planloop.cli.lines import line

        terminal.say(line(("interrupted", "bad")))
        return 130
    except Exception as error:
        from planloop.cli.failing import show_error
        from planloop.errors import PlanloopError

        show_error(terminal, error)
        return 2 if isinstance(error, PlanloopError) else 3


def _settle_home() -> None:
    """A user without a home has none: nothing is remembered, and that is no error."""
    if os.path.expanduser("~") == "~":
        os.environ["HOME"] = os.devnull


def _checked(terminal: Terminal, code: int) -> int:
    """The exit code, unless results could not be written: nothing fails silently."""
    if terminal.failure is None:
        return code
    from planloop.cli.failing import show_error
    from planloop.errors import InfrastructureError

    show_error(
        terminal, InfrastructureError(f"standard output cannot be written: {terminal.failure}")
    )
    return code or 3


def _show_usage_error(
    terminal: Terminal, error: click.ClickException, arguments: Sequence[str]
) -> None:
    from planloop.cli.failing import error_lines
    from planloop.errors import UserError

    context = getattr(error, "ctx", None)
    verb = " ".join(word for word in arguments[:1] if word in VERBS)
    path = context.command_path if context else f"planloop {verb}".rstrip()
    near = _near(error)
    hint = f"did you mean {near}? " if near else ""
    shown = UserError(_what(error), hint=f"{hint}`{path} --help` shows what there is")
    terminal.say(*error_lines(shown))


def _what(error: click.ClickException) -> str:
    match error:
        case click.NoSuchOption(option_name=name):
            return f"there is no option `{name}`"
        case click.BadOptionUsage(option_name=name) if "requires" in error.message:
            return f"`{name}` needs a value"
        case click.MissingParameter(param=parameter) if parameter is not None:
            return f"{_named(parameter)} is missing"
        case click.BadParameter(param=parameter) if parameter is not None:
            return f"{_named(parameter)}: {error.message}".rstrip(".")
        case _:
            return error.format_message().rstrip(".")


def _named(parameter: click.Parameter) -> str:
    names = [name for name in parameter.opts if name.startswith("--")]
    return f"`{(names or [parameter.human_readable_name])[0]}`"


def _near(error: click.ClickException) -> str:
    found = getattr(error, "possibilities", None) or ()
    word = getattr(error, "option_name", "")
    nearest = max(found, key=lambda name: _likeness(word, name), default=None)
    return f"`{nearest}`" if nearest else ""


def _likeness(word: str, name: str) -> float:
    import difflib

    return difflib.SequenceMatcher(None, word, name).ratio()
