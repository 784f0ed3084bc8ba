"""`planloop doctor`: what works here, tried for real, and how to fix what does not."""

from __future__ import annotations

import dataclasses
import json
import os
from typing import TYPE_CHECKING, Literal

import click

from planloop.cli.command import Verb, shared_options
from planloop.cli.terminal import Terminal

if TYPE_CHECKING:
    from planloop.cli.lines import Style

SANDBOXES = ("bubblewrap", "docker")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Finding:
    """One check of the doctor: `kind` is `finding`."""

    kind: Literal["finding"] = "finding"
    name: str
    works: bool
    needed: bool
    """Whether runs of tasks cannot do without it, if nothing else takes its place."""
    why: str
    fix: str = ""
    unenforced: tuple[str, ...] = ()
    """Limits that cannot be enforced here."""


@click.command(
    "doctor",
    cls=Verb,
    examples=(
        ("planloop doctor", "what works here"),
        ("planloop doctor --probe", "tries every limit of the sandboxes"),
        ("planloop doctor --json | jq 'select(.works | not)'", "one object a check"),
    ),
)
@click.option(
    "--probe",
    is_flag=True,
    help="Open the sandboxes with small limits, try to break each from inside, and say what held.",
)
@click.option("--sandbox", metavar="<kind>", help="Only this one: bubblewrap or docker.")
@click.option("--json", "as_json", is_flag=True, help="One object a line.")
@shared_options
@click.pass_obj
def verb(terminal: Terminal, /, probe: bool, sandbox: str | None, as_json: bool) -> int:
    """Try what planloop needs here, and say how to fix it.

    Exit code 0 if a sandbox works, 2 if none does. With `--probe`: 2 also if a limit does not hold
    and the sandbox does not say so by itself.
    """
    import asyncio

    from planloop.cli import exits

    terminal.hushed = as_json
    kinds = _kinds(sandbox)
    if probe:
        from planloop.cli.probing import probe_all

        return probe_all(terminal, kinds, as_json)
    works = False
    for name in kinds:
        terminal.note(f"trying {name}")
        finding = asyncio.run(_sandbox(name))
        works = works or finding.works
        tell(terminal, finding, as_json)
    terminal.note("asking the Docker engine")
    for finding in asyncio.run(_engine()):
        tell(terminal, finding, as_json)
    terminal.note("looking for a model")
    tell(terminal, _model(), as_json)
    tell(terminal, _trace_folder(), as_json)
    return exits.DONE if works else exits.REFUSED


def _kinds(wanted: str | None) -> tuple[str, ...]:
    from planloop.errors import UserError
    from planloop.text import one_line

    if wanted is None or wanted == "auto":
        return SANDBOXES
    if wanted not in SANDBOXES:
        raise UserError(
            f"`{one_line(wanted, 40)}` is no sandbox that can be tried",
            where="`--sandbox`",
            hint=f"choose from {', '.join(f'`{kind}`' for kind in SANDBOXES)}",
        )
    return (wanted,)


async def _sandbox(kind: str) -> Finding:
    from planloop.sandboxes import probe

    found = await probe(kind)
    return Finding(
        name=f"sandbox {kind}",
        works=found.works,
        needed=True,
        why=f"{found.why}{_program(kind)}",
        fix=found.fix,
        unenforced=found.unenforced,
    )


def _program(kind: str) -> str:
    """Which bubblewrap is used: an administrator may have to allow that very file."""
    from planloop.sandboxes.bubblewrap import bwrap_path

    path = bwrap_path() if kind == "bubblewrap" else None
    return f" (`{path}`)" if path else ""


async def _engine() -> list[Finding]:
    """The engine, and the default image if there is one to ask."""
    from planloop.errors import PlanloopError
    from planloop.sandboxes import default_image
    from planloop.sandboxes.engine import Engine

    try:
        engine = await Engine.connect()
    except PlanloopError as error:
        return [_failed("engine", error)]
    found = Finding(name="engine", works=True, needed=False, why="a Docker engine answers")
    image = default_image()
    try:
        await engine.image(image)
    except PlanloopError as error:
        return [found, _failed("image", error)]
    finally:
        await engine.close()
    return [found, Finding(name="image", works=True, needed=False, why=f"`{image}` is there")]


def _failed(name: str, error: Exception, *, needed: bool = False) -> Finding:
    why = getattr(error, "what", None) or str(error)
    fix = getattr(error, "hint", None) or ""
    return Finding(name=name, works=False, needed=needed, why=why, fix=fix)


def _model() -> Finding:
    from planloop.cli.prepare import user_model
    from planloop.errors import UserError

    try:
        found = user_model()
    except UserError as error:
        return _failed("model", error)
    price = "price unknown" if found.price == "unknown" else found.price
    return Finding(
        name="model", works=True, needed=False, why=f"{found.name} ({price}): {found.why}"
    )


def _trace_folder() -> Finding:
    from planloop.cli.runs import current_folder

    here = current_folder()
    if os.access(here, os.W_OK):
        why = f"are kept in `.planloop` beside each task; here {here / '.planloop'}"
        return Finding(name="traces", works=True, needed=True, why=why)
    return Finding(
        name="traces",
        works=False,
        needed=True,
        why=f"`{here}` cannot be written",
        fix="run from a folder that you may write to",
    )


def tell(terminal: Terminal, finding: Finding, as_json: bool) -> None:
    """Show one finding."""
    from planloop.cli.lines import limits_text
    from planloop.cli.probing import say_beside

    if as_json:
        terminal.out_raw(json.dumps(dataclasses.asdict(finding)) + "\n")
        return
    style: Style = "good" if finding.works else "bad" if finding.needed else "warn"
    word = "ok" if finding.works else "no"
    say_beside(terminal, finding.why, (f"{word:<4}", style), (f"{finding.name:<20}", "bold"))
    if finding.unenforced:
        limits = limits_text(finding.unenforced)
        say_beside(terminal, limits, ("    not enforced here: ", "warn"))
    if finding.fix and not finding.works:
        say_beside(terminal, finding.fix, ("    fix: ", "hint"))
