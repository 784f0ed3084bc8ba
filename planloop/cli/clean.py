"""`planloop clean`: takes away what runs that were killed have left outside their folders."""

from __future__ import annotations

import collections
import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from planloop.cli.command import Verb, shared_options
from planloop.cli.terminal import Terminal

if TYPE_CHECKING:
    from planloop.cli.lines import Style
    from planloop.sandboxes.cleaning import Cleaned
    from planloop.sandboxes.leavings import Leaving


@dataclasses.dataclass(frozen=True, kw_only=True)
class Entry:
    """One thing that a dead run has left. With `--dry-run` nothing is removed."""

    kind: str
    name: str
    id: str
    run: str
    removed: bool
    why: str = ""
    """Why it could not be removed."""


@click.command(
    "clean",
    cls=Verb,
    usage="[folder]... [options]",
    examples=(
        ("planloop clean", "after a crash, a kill or a power cut"),
        ("planloop clean --dry-run", "only shows what it would remove"),
        ("planloop clean /scratch", "looks in that folder as well"),
        ("planloop clean --layers", "also forgets what setups have made"),
    ),
)
@click.argument(
    "folder",
    nargs=-1,
    metavar="[folder]...",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
)
@click.option("--dry-run", is_flag=True, help="Show what would be removed; remove nothing.")
@click.option(
    "--layers", is_flag=True, help="Also remove what setups have made, unless a run uses it."
)
@click.option("--json", "as_json", is_flag=True, help="One object a line.")
@shared_options
@click.pass_obj
def verb(
    terminal: Terminal, /, folder: tuple[Path, ...], dry_run: bool, layers: bool, as_json: bool
) -> int:
    """Remove what runs that were killed have left outside their folders.

    That is: containers, volumes, networks, half-made images, processes, control groups, mounts
    and temporary folders. Nothing is touched that belongs to a live run, another user or another
    machine, nor any trace: runs are kept in `.planloop/runs`.

    It looks where temporary files go (`TMPDIR`, `/tmp`, `/var/tmp`), in `.planloop` here, in each
    <folder> that you name, and in the Docker engine, if one answers.

    Exit code 0 if nothing of a dead run is left, 2 if something could not be removed.
    """
    import asyncio

    from planloop.cli import exits
    from planloop.layers.cleaning import clean_layers
    from planloop.sandboxes.cleaning import clean

    terminal.hushed = as_json
    terminal.note("looking for what dead runs have left", brief=True)
    report = _Report(terminal, dry_run=dry_run, as_json=as_json)
    asyncio.run(clean(folder, report.tell, dry_run=dry_run))
    asyncio.run(clean_layers(report.tell, whole=layers, dry_run=dry_run))
    report.conclude()
    return exits.REFUSED if report.count["stays"] else exits.DONE


def mention(terminal: Terminal) -> None:
    """Say, at the start of another command, that killed runs have left something.

    It looks at names only, which is fast.
    """
    from planloop.cli.lines import counted, line
    from planloop.sandboxes.leavings import left_in, places

    dead = [one for one in left_in(places()) if one.state == "dead"]
    if dead and not terminal.hushed:
        many = counted(len(dead), "temporary folder")
        hint = f"killed runs have left {many} behind; `planloop clean` removes what is left"
        terminal.say(line(("hint: ", "hint"), hint))


class _Report:
    """Says each thing as it is known, and counts."""

    def __init__(self, terminal: Terminal, *, dry_run: bool, as_json: bool) -> None:
        self._terminal = terminal
        self._dry_run = dry_run
        self._as_json = as_json
        self.count: collections.Counter[str] = collections.Counter()

    def tell(self, cleaned: Cleaned) -> None:
        from planloop.cli.lines import line
        from planloop.sandboxes.cleaning import NotLooked, Removed, Spared, Stays

        match cleaned:
            case Removed(leaving):
                self.count["removed"] += 1
                self._thing(leaving, "")
            case Stays(leaving, why):
                self.count["stays"] += 1
                self._thing(leaving, why)
            case Spared(leaving):
                self.count[leaving.state] += 1
            case NotLooked(why):
                what = f"containers and images were not looked for: {why}"
                self._terminal.say(line((what, "warn")))

    def conclude(self) -> None:
        """A last word for people, on standard error."""
        from planloop.cli.lines import line

        if self._as_json:
            return
        if not self.count["removed"] and not self.count["stays"]:
            self._terminal.say(line("nothing of dead runs is left"))
        if self.count["alive"]:
            self._terminal.say(line((f"{self.count['alive']} of live runs left alone", "dim")))
        if self.count["elsewhere"]:
            many = f"{self.count['elsewhere']} of other users or machines left alone"
            self._terminal.say(line((many, "dim")))

    def _thing(self, leaving: Leaving, why: str) -> None:
        from planloop.cli.lines import line

        entry = Entry(
            kind=leaving.kind,
            name=leaving.name,
            id=leaving.id,
            run=leaving.run,
            removed=not why and not self._dry_run,
            why=why,
        )
        if self._as_json:
            self._terminal.out_raw(json.dumps(dataclasses.asdict(entry)) + "\n")
            return
        word, style = _word(entry)
        head: tuple[str, Style] = (f"{word:<13}", style)
        self._terminal.out(line(head, f"{entry.kind:<10} {entry.name}"))
        if why:
            self._terminal.out(line(("    why: ", "hint"), why))


def _word(entry: Entry) -> tuple[str, Style]:
    if entry.why:
        return "stays", "bad"
    return ("removed", "good") if entry.removed else ("would remove", "warn")
