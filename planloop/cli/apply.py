"""`planloop apply`: the changes of a run into the user's folder."""

from __future__ import annotations

import click

from planloop.cli.command import Verb, shared_options
from planloop.cli.terminal import Terminal


@click.command(
    "apply",
    cls=Verb,
    usage="<run> [options]",
    examples=(
        ("planloop apply 7f3a", "shows the files, asks, then changes them"),
        ("planloop apply 7f3a --yes", "without a question"),
    ),
)
@click.argument("run", metavar="<run>")
@click.option("--yes", is_flag=True, help="Change the files without asking.")
@shared_options
@click.pass_obj
def verb(terminal: Terminal, /, run: str, yes: bool) -> int:
    """Bring the changes of a run into the folder that it worked on a copy of.

    All of them or none: a file that is not as the run copied it is a conflict, and nothing is
    changed then. `planloop undo` takes the changes back.
    """
    raise NotImplementedError
