"""`planloop list`: the runs of a folder and those below it, newest first."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path

import click

from planloop.cli.command import Verb, shared_options
from planloop.cli.terminal import Terminal


@dataclasses.dataclass(frozen=True, kw_only=True)
class Entry:
    """One run of the list. `at` is seconds since 1970; None if its trace cannot be read."""

    run_id: str
    at: float | None = None
    task: str = ""
    status: str = "unreadable"
    """How it ended; `unfinished` without a last word."""
    rounds: int = 0
    calls: int = 0
    cost_usd: float | None = None
    changed_files: int = 0
    folder: str = ""


@click.command(
    "list",
    cls=Verb,
    examples=(
        ("planloop list", "the runs of this folder and those below it"),
        ("planloop list --json | jq -r .run_id", "one object a line"),
    ),
)
@click.option("--json", "as_json", is_flag=True, help="One object a line.")
@shared_options
@click.pass_obj
def verb(terminal: Terminal, /, as_json: bool) -> int:
    """List the runs of this folder and those below it, newest first.

    A run is kept in the folder of its task.
    """
    from planloop.cli.lines import line
    from planloop.cli.runs import current_folder
    from planloop.trace.store import RunStore

    here = current_folder()
    entries = [_entry(folder) for folder in reversed(RunStore(here).folders_below())]
    if as_json:
        for entry in entries:
            terminal.out_raw(json.dumps(dataclasses.asdict(entry)) + "\n")
    elif entries:
        terminal.out(*(line(_row(entry, here.resolve())) for entry in entries))
    else:
        terminal.say(line("no runs in this folder or below"))
    return 0


def _entry(folder: Path) -> Entry:
    from planloop.errors import PlanloopError
    from planloop.trace.fold import fold
    from planloop.trace.log import read_log

    try:
        recorded, _ = read_log(folder)
    except PlanloopError:
        return Entry(run_id=folder.name, folder=str(folder))
    view = fold(one.event for one in recorded)
    return Entry(
        run_id=folder.name,
        at=recorded[0].at if recorded else None,
        task=view.task,
        status=view.status.value if view.status else "unfinished",
        rounds=view.usage.rounds,
        calls=view.usage.calls,
        cost_usd=view.usage.cost_usd,
        changed_files=len(view.changed_files),
        folder=str(folder),
    )


def _row(entry: Entry, here: Path) -> str:
    from datetime import datetime

    from planloop.cli.lines import counted, joined, money
    from planloop.text import one_line

    when = datetime.fromtimestamp(entry.at).strftime("%Y-%m-%d %H:%M") if entry.at else ""
    used = f"{counted(entry.rounds, 'round')}, {counted(entry.calls, 'call')}"
    worked_on = Path(entry.folder).parents[2]
    place = "" if worked_on == here else f"in {one_line(os.path.relpath(worked_on, here), 60)}"
    facts = joined([one_line(entry.task, 40), used, money(entry.cost_usd), place])
    return f"{entry.run_id}  {when:<16}  {entry.status:<11}  {facts}"
