"""The root command: which verbs there are, and help that loads none of them."""

from __future__ import annotations

import importlib
import os
from typing import Any

import click

from planloop.cli.command import shared_options, write_examples

VERBS = {
    "run": "Run a task on a copy of its folder, to a diff and a verdict.",
    "apply": "Bring the changes of a run into your folder.",
    "undo": "Take the changes of `apply` back.",
    "show": "Show a run: plans, calls, checks, verdict.",
    "list": "List the runs of this folder.",
    "prompt": "Show what would be sent to the model, by part.",
    "doctor": "Try what planloop needs here, and say how to fix it.",
    "clean": "Remove what runs that were killed have left.",
    "help": "Explain a topic, or a command.",
}
"""The common ones first; what each does, in a line."""

_EXAMPLES = (
    ("planloop run task.md", "runs a task; your files stay as they are"),
    ("planloop show 7f3a", "what happened, by the beginning of the run's id"),
    ("planloop apply 7f3a", "takes the changes over"),
    ("planloop doctor", "what works here"),
)


class Root(click.Group):
    """Verbs by name, each loaded when it is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The common ones first."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """The verb of this name; None if there is none."""
        if name not in VERBS:
            return None
        command: click.Command = importlib.import_module(f"planloop.cli.{name}").verb
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The verb that the first argument names; an unknown one suggests the near one."""
        if args and args[0] not in VERBS and not args[0].startswith("-"):
            raise _unknown(args[0], ctx)
        return super().resolve_command(ctx, args)

    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """One line."""
        formatter.write_usage(ctx.command_path, "<command> [options]", "Usage: ")

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """What planloop is, then examples."""
        super().format_help_text(ctx, formatter)
        write_examples(formatter, _EXAMPLES)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Verbs, then options; no verb is loaded for it."""
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))
        click.Command.format_options(self, ctx, formatter)
        with formatter.section("Topics"):
            formatter.write_dl([("planloop help exit-codes", "What the exit codes mean.")])


def _short_help(ctx: click.Context) -> str:
    formatter = ctx.make_formatter()
    ctx.command.format_usage(ctx, formatter)
    write_examples(formatter, _EXAMPLES)
    formatter.write("\n`planloop --help` shows every command.\n")
    return formatter.getvalue()


def _unknown(name: str, ctx: click.Context) -> click.UsageError:
    import difflib

    error = click.UsageError(f"there is no command `{name[:60]}`", ctx)
    near = difflib.get_close_matches(name, VERBS, n=1)
    if not near and (name.endswith(".md") or os.path.exists(name)):
        near = [f"planloop run {name[:60]}"]
    error.possibilities = near  # type: ignore[attr-defined]
    return error


@click.group(
    cls=Root,
    add_help_option=False,
    invoke_without_command=True,
)
@click.option("--version", is_flag=True, help="Show the version.")
@shared_options
@click.pass_context
def root(ctx: click.Context, version: bool) -> Any:
    """Plan, execute and revise until the checks pass.

    A run works on a copy of your folder and ends with a diff and a verdict.
    """
    if version:
        from planloop._version import __version__

        ctx.obj.out_raw(f"planloop {__version__}\n")
        ctx.exit(0)
    if ctx.invoked_subcommand is None:
        ctx.obj.out_raw(_short_help(ctx))
        ctx.exit(0)
