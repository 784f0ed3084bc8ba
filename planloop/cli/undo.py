"""`planloop undo`: takes back what `planloop apply` did."""

from __future__ import annotations

import click

from planloop.cli.command import Verb, shared_options
from planloop.cli.terminal import Terminal


@click.command(
    "undo",
    cls=Verb,
    usage="<run> [options]",
    examples=(("planloop undo 7f3a", "your files as they were before `apply`"),),
)
@click.argument("run", metavar="<run>")
@shared_options
@click.pass_obj
def verb(terminal: Terminal, /, run: str) -> int:
    """Take back what `planloop apply` did, also if it was killed in the middle.

    A file that you have changed since is left as it is, and named.
    """
    raise NotImplementedError
