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

    If you have changed one of the files since, nothing is taken back and it is named.
    """
    from planloop.cli.lines import line
    from planloop.cli.runs import current_folder, folder_of
    from planloop.text import one_line
    from planloop.trace.store import find_run
    from planloop.workspace import undo_changes

    run_dir = find_run(run, current_folder())
    folder = folder_of(run_dir)
    done = undo_changes(run_dir, folder)
    if not done.restored and not done.removed:
        terminal.say(line("there was nothing left to take back"))
        return 0
    terminal.say(line(("undone", "good"), f" · in {folder}:"))
    terminal.say(*(line(f"  restored {one_line(path, 400)}") for path in done.restored))
    terminal.say(*(line(f"  removed  {one_line(path, 400)}") for path in done.removed))
    return 0
