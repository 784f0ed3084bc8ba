"""`planloop doctor --probe`: every limit of a sandbox, tried from inside and shown as seen."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import shutil
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from planloop.cli.terminal import Terminal

if TYPE_CHECKING:
    from planloop.cli.lines import Style
    from planloop.sandbox import Sandbox
    from planloop.sandboxes.posture import Row


@dataclasses.dataclass(frozen=True, kw_only=True)
class Probed:
    """A limit, tried: `kind` is `limit`; a sandbox that does not work is a `finding`."""

    kind: Literal["limit"] = "limit"
    sandbox: str
    limit: str
    holds: bool
    seen: str
    announced: str = ""
    """What the sandbox itself says of a limit that does not hold; runs say it at their start."""


def probe_all(terminal: Terminal, kinds: Sequence[str], as_json: bool) -> int:
    """Try the limits of each kind that works; the exit code."""
    import asyncio

    from planloop.cli import exits

    terminal.hushed = as_json
    found = [asyncio.run(_probe(terminal, kind, as_json)) for kind in kinds]
    works = [rows for rows in found if rows]
    fine = all(row.holds or row.announced for rows in works for row in rows)
    return exits.DONE if works and fine else exits.REFUSED


async def _probe(terminal: Terminal, kind: str, as_json: bool) -> list[Row]:
    """The rows of one kind; none if it does not work here."""
    from planloop.cli.doctor import Finding, tell
    from planloop.errors import UserError
    from planloop.marks import temporary_home

    with temporary_home("probe") as home:
        terminal.note(f"opening {kind}")
        try:
            sandbox = await _open(kind, home / "state")
        except UserError as error:
            finding = Finding(
                name=f"sandbox {kind}",
                works=False,
                needed=True,
                why=error.what,
                fix=error.hint or "",
            )
            tell(terminal, finding, as_json)
            return []
        try:
            return await _rows(terminal, sandbox, home, as_json)
        finally:
            await sandbox.close()


async def _open(kind: str, state_dir: Path) -> Sandbox:
    from planloop.sandbox import SandboxSpec
    from planloop.sandboxes import open_sandbox
    from planloop.sandboxes.posture import PROBE_LIMITS, refuse_untriable

    spec = SandboxSpec(kind=kind, limits=PROBE_LIMITS)
    sandbox = await open_sandbox(spec, run_id="probe", state_dir=state_dir)
    assert sandbox is not None
    try:
        await refuse_untriable(sandbox)
    except BaseException:
        await sandbox.close()
        raise
    return sandbox


async def _rows(terminal: Terminal, sandbox: Sandbox, home: Path, as_json: bool) -> list[Row]:
    from planloop.cli.lines import line
    from planloop.sandboxes.posture import try_all

    secret = home / "of-the-host"
    secret.write_text("nothing inside may read this\n", encoding="utf-8")
    if not as_json:
        terminal.out(line((sandbox.kind, "bold"), ", with small limits:"))
    rows = []
    terminal.note("trying each limit")
    async with contextlib.aclosing(try_all(sandbox, secret)) as trials:
        async for row in trials:
            rows.append(row)
            _tell(terminal, sandbox.kind, row, as_json)
            terminal.note("trying the next", brief=True)
    terminal.clear_note()
    if not as_json:
        for sentence in sandbox.unenforced:
            say_beside(terminal, sentence, ("    it says itself: ", "hint"))
        held = sum(row.holds for row in rows)
        terminal.say(line((f"{held} of {len(rows)} hold", "good" if held == len(rows) else "warn")))
    return rows


def _tell(terminal: Terminal, kind: str, row: Row, as_json: bool) -> None:
    if as_json:
        probed = Probed(sandbox=kind, **dataclasses.asdict(row))
        terminal.out_raw(json.dumps(dataclasses.asdict(probed)) + "\n")
        return
    style: Style = "good" if row.holds else "warn" if row.announced else "bad"
    word = "holds" if row.holds else "open"
    say_beside(terminal, row.seen, (f"  {word:<6}{row.limit:<14}", style))


def say_beside(terminal: Terminal, text: str, *head: tuple[str, Style]) -> None:
    """A head and a text beside it, in as many lines as a terminal needs."""
    from planloop.cli.lines import line

    column = sum(len(part) for part, _ in head)
    width = shutil.get_terminal_size().columns - column if sys.stdout.isatty() else sys.maxsize
    first, *others = textwrap.wrap(
        text, max(width, 20), break_long_words=False, break_on_hyphens=False
    ) or [""]
    terminal.out(line(*head, first), *(line(" " * column + other) for other in others))
