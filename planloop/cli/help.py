"""`planloop help`: topics, and the help of a command."""

from __future__ import annotations

import click

from planloop.cli.command import Verb, shared_options
from planloop.cli.terminal import Terminal

TOPICS = ("exit-codes",)


@click.command(
    "help",
    cls=Verb,
    usage="[topic | command]",
    examples=(("planloop help exit-codes", ""), ("planloop help run", "")),
)
@click.argument("word", required=False, metavar="[topic | command]")
@shared_options
@click.pass_context
def verb(ctx: click.Context, /, word: str | None) -> int:
    """Explain a topic, or a command."""
    terminal: Terminal = ctx.obj
    assert ctx.parent is not None
    if word == "exit-codes":
        terminal.out_raw(exit_codes())
        return 0
    if word is None:
        terminal.out_raw(ctx.parent.get_help() + "\n")
        return 0
    group = ctx.parent.command
    assert isinstance(group, click.Group)
    command = group.get_command(ctx.parent, word)
    if command is None:
        raise click.UsageError(f"there is no topic or command `{word[:60]}`", ctx.parent)
    with click.Context(command, info_name=word, parent=ctx.parent) as inner:
        terminal.out_raw(command.get_help(inner) + "\n")
    return 0


def exit_codes() -> str:
    """What the exit codes mean."""
    from planloop.cli.exits import MEANINGS

    formatter = click.HelpFormatter()
    with formatter.section("Exit codes"):
        formatter.write_dl([(str(code), meaning) for code, meaning in MEANINGS])
    return formatter.getvalue()
