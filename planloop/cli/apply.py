"""`planloop apply`: the changes of a run into the user's folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from planloop.cli.command import Verb, shared_options
from planloop.cli.terminal import Terminal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from planloop.cli.lines import Line
    from planloop.workspace import Change


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
    from planloop.cli.lines import counted, line
    from planloop.cli.runs import current_folder, folder_of
    from planloop.errors import UserError
    from planloop.trace.store import find_run
    from planloop.workspace import apply_changes, load_changes

    run_dir = find_run(run, current_folder())
    folder = folder_of(run_dir)
    changes = load_changes(run_dir)
    if not changes:
        terminal.say(line(f"run {run_dir.name} changed no file: there is nothing to apply"))
        return 0
    terminal.say(*_preview(changes, folder))
    if not yes:
        if not terminal.interactive:
            raise UserError(
                "nobody can be asked whether these files may be changed",
                hint="look at the list, then give `--yes`",
            )
        if not click.confirm("Change these files?", default=False, err=True):
            terminal.say(line("nothing was changed"))
            return 2
    done = apply_changes(run_dir, folder)
    count = counted(len(done.written) + len(done.deleted), "file")
    terminal.say(line(("applied", "good"), f" · {count} changed in {folder}"))
    terminal.say(line("next: ", (f"planloop undo {run_dir.name}", "hint"), " takes it back"))
    return 0


def _preview(changes: tuple[Change, ...], folder: Path) -> Iterator[Line]:
    """Every file that would change; those that run by themselves apart."""
    from planloop.cli.lines import line
    from planloop.workspace import runs_by_itself

    yield line(f"in {folder}:")
    yield from (line(_named(one)) for one in changes if not _runs(one))
    alone = [one for one in changes if _runs(one)]
    if alone:
        yield line(("these run by themselves, without anybody naming them:", "warn"))
    for one in alone:
        yield line((_named(one), "warn"), f"  {runs_by_itself(one.path)}")


def _named(change: Change) -> str:
    from planloop.text import one_line

    return f"  {change.kind:<8} {one_line(change.path, 400)}"


def _runs(change: Change) -> bool:
    from planloop.workspace import runs_by_itself

    return change.after is not None and runs_by_itself(change.path) is not None
