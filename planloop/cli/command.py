"""How verbs look: help with examples before options, and the options that several share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from planloop.cli.terminal import Terminal

_F = TypeVar("_F", bound=Callable[..., Any])

_EXAMPLE_WIDTH = 70
"""Characters of a command and what it is for on one line of help."""


class Verb(click.Command):
    """A command whose help shows examples before options.

    Args:
        usage: what follows the command's name, as `<required>`, `[optional]`, `<repeat>...`.
        examples: commands and what they are for.
    """

    def __init__(
        self,
        *args: Any,
        usage: str = "[options]",
        examples: tuple[tuple[str, str], ...] = (),
        **keywords: Any,
    ) -> None:
        keywords["add_help_option"] = False
        super().__init__(*args, **keywords)
        self._usage = usage
        self._examples = examples

    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """One line."""
        formatter.write_usage(ctx.command_path, self._usage, "Usage: ")

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """What it does, then examples."""
        super().format_help_text(ctx, formatter)
        write_examples(formatter, self._examples)


def write_examples(formatter: click.HelpFormatter, examples: tuple[tuple[str, str], ...]) -> None:
    """Commands, and what each is for where that fits beside it, else above it."""
    if not examples:
        return
    beside = [one for one in examples if _fits(*one)]
    column = max((len(command) for command, _ in beside), default=0)
    with formatter.section("Examples"):
        for command, purpose in examples:
            if not purpose:
                formatter.write(f"  $ {command}\n")
            elif column + len(purpose) <= _EXAMPLE_WIDTH and (command, purpose) in beside:
                formatter.write(f"  $ {command:<{column}}  # {purpose}\n")
            else:
                formatter.write(f"  # {purpose}\n  $ {command}\n")


def _fits(command: str, purpose: str) -> bool:
    return bool(purpose) and len(command) + len(purpose) <= _EXAMPLE_WIDTH


def shared_options(function: _F) -> _F:
    """`--color`, `--debug`, `--help`: of every verb."""
    for option in (
        click.option(
            "-h",
            "--help",
            is_flag=True,
            is_eager=True,
            expose_value=False,
            callback=_show_help,
            help="Show this message.",
        ),
        click.option(
            "--debug",
            is_flag=True,
            expose_value=False,
            callback=_remember("debug"),
            help="Show where an unexpected error comes from.",
        ),
        click.option(
            "--color",
            type=click.Choice(["auto", "always", "never"]),
            default="auto",
            expose_value=False,
            callback=_remember("color"),
            help="Colours; `auto` asks the terminal, `NO_COLOR` and `TERM`.  [default: auto]",
        ),
    ):
        function = option(function)
    return function


def _show_help(ctx: click.Context, parameter: click.Parameter, value: bool) -> None:
    """Click's own would write past the terminal's care for readers that go away."""
    terminal = ctx.find_object(Terminal)
    if value and terminal is not None:
        terminal.out_raw(ctx.get_help() + "\n")
        ctx.exit(0)


def _remember(name: str) -> Callable[[click.Context, click.Parameter, Any], Any]:
    def remember(ctx: click.Context, parameter: click.Parameter, value: Any) -> Any:
        terminal = ctx.find_object(Terminal)
        given = ctx.get_parameter_source(parameter.name or "") is ParameterSource.COMMANDLINE
        if terminal is not None and given:
            setattr(terminal, name, value)
        return value

    return remember


def task_options(function: _F) -> _F:
    """What decides how a task runs; `run` and `prompt` share it."""
    options = (
        click.option(
            "--model",
            metavar="<name>",
            help="`provider:model`, or `replay:FILE`.  [env: PLANLOOP_MODEL]",
        ),
        click.option(
            "--base-url",
            metavar="<url>",
            help="Where the model answers; your key may go there.  [env: PLANLOOP_BASE_URL]",
        ),
        click.option(
            "--sandbox",
            metavar="<kind>",
            help="auto, bubblewrap, docker or none.  [env: PLANLOOP_SANDBOX]",
        ),
        click.option(
            "--budget",
            metavar="<limit>=<value>",
            multiple=True,
            help="cost (US dollars), time (10m), tokens, rounds, calls, sandbox-time or depth (of "
            "goals); `none` lifts one; repeatable.  [env: PLANLOOP_BUDGET_COST, …]",
        ),
        click.option(
            "--trust",
            is_flag=True,
            help="Agree to what the task asks for beyond the defaults, this once.",
        ),
        click.option(
            "--yes",
            is_flag=True,
            help="Answer yes to every question; agreements are remembered.",
        ),
        click.option(
            "--unsafe-local",
            is_flag=True,
            help="No sandbox: the model's code runs on this machine, as you.",
        ),
    )
    for option in reversed(options):
        function = option(function)
    return function
