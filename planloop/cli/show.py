"""`planloop show`: a fold of a run's trace, printed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from planloop.cli.command import Verb, shared_options
from planloop.cli.terminal import Terminal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from planloop.cli.lines import Line
    from planloop.trace.fold import RoundView, RunView
    from planloop.trace.log import Recorded


_INDENT = 4
"""Columns that what is nested moves to the right."""


@click.command(
    "show",
    cls=Verb,
    usage="<run> [options]",
    examples=(
        ("planloop show 7f3a", "by the beginning of the run's id"),
        ("planloop show .planloop/runs/7f3a2b4c", "by its folder"),
        ("planloop show 7f3a --json | jq .kind", "its events, one a line"),
    ),
)
@click.argument("run", metavar="<run>")
@click.option("--json", "as_json", is_flag=True, help="The trace's events, one a line.")
@shared_options
@click.pass_obj
def verb(terminal: Terminal, /, run: str, as_json: bool) -> int:
    """Show a run: its plans, calls, checks and verdict.

    <run> is an id, the beginning of one, or the run's folder.
    """
    from planloop.cli.runs import current_folder
    from planloop.trace.fold import fold
    from planloop.trace.log import read_log
    from planloop.trace.store import find_run

    folder = find_run(run, current_folder())
    recorded, notices = read_log(folder)
    for notice in notices:
        terminal.warn(notice)
    if as_json:
        for one in recorded:
            terminal.out_raw(json.dumps(_as_json(one)) + "\n")
        return 0
    terminal.out(*view_lines(fold(one.event for one in recorded)))
    return 0


def _as_json(one: Recorded) -> dict[str, Any]:
    from planloop.events import to_json

    return {"seq": one.seq, "at": one.at, **to_json(one.event)}


def view_lines(view: RunView) -> Iterator[Line]:
    """A whole run as lines."""
    from planloop.cli import describing
    from planloop.cli.lines import line, quoted

    yield from describing.heading(view)
    for event in view.setup:
        yield from describing.setup_lines(event)
    yield line("")
    yield from quoted(view.text, "", indent=2)
    for found in view.rounds:
        yield line("")
        yield from _round_lines(found, view)
    if view.refused:
        yield line("")
        yield from (describing.refusal_line(one) for one in view.refused)
    yield line("")
    yield from (line(("warning: ", "warn"), text) for text in view.warnings)
    yield from describing.service_lines(view.services)
    for check in view.verdict:
        yield from describing.check_lines(check)
    if view.changed_files:
        yield line("  changed  ", ", ".join(view.changed_files))
    if view.output is not None:
        yield line(("output", "bold"))
        yield from quoted(describing.output_text(view.output), "", indent=2)
    yield from describing.verdict_lines(view)


def _nested_lines(inner: RunView, view: RunView) -> Iterator[Line]:
    from planloop.cli import describing

    for found in inner.rounds:
        yield from _round_lines(found, view)
    if inner.parts:
        yield from describing.parts_lines(inner.parts)
    yield from (describing.refusal_line(one) for one in inner.refused)


def _round_lines(found: RoundView, view: RunView) -> Iterator[Line]:
    """A round, with what went on inside its calls moved to the right."""
    from planloop.cli import describing
    from planloop.cli.lines import line, quoted

    yield from (describing.refusal_line(one) for one in found.refused)
    yield describing.plan_line(found)
    yield from quoted(found.source, "")
    scope: str | None = None
    for call in found.calls:
        if call.scope != scope and call.scope is not None:
            yield describing.scope_line(call.scope)
        scope = call.scope
        yield describing.call_line(call, found.source)
        yield from describing.call_details(call)
        if call.serial in view.nested and not call.served:
            inner = _nested_lines(view.nested[call.serial], view)
            yield from (one.indented(_INDENT) for one in inner)
    for result in found.statements:
        yield from describing.statement_lines(result, found.calls)
    yield from (line(("  from the top: ", "warn"), why) for why in found.restarts)
    for note in found.notes:
        yield from quoted(note, "", indent=2)
    if found.feedback:
        yield line(("  feedback", "bold"))
        yield from quoted(found.feedback)
