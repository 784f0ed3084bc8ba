"""`planloop run`: a task to a diff and a verdict."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import click

from planloop.cli.command import Verb, shared_options, task_options
from planloop.cli.terminal import Terminal

if TYPE_CHECKING:
    from planloop.cli.driving import Ending
    from planloop.cli.prepare import Prepared
    from planloop.cli.views import View


@click.command(
    "run",
    cls=Verb,
    usage="<task>... [options]",
    examples=(
        ("planloop run task.md", "the task in a file"),
        ("planloop run examples/fix-failing-tests", "the `task.md` of a folder"),
        ('planloop run "make the tests pass"', "a text, on the current folder"),
        ("planloop run task.md --model openai:gpt-5.4-mini --budget cost=0.50", ""),
        ("planloop run task.md --model replay:run.jsonl --json", "events for a program"),
    ),
)
@click.argument("target", nargs=-1, required=True, metavar="<task>...")
@task_options
@click.option("--strict", is_flag=True, help="A replay that differs, or is not used up, fails.")
@click.option("--json", "as_json", is_flag=True, help="One event a line on standard output.")
@click.option("-q", "--quiet", is_flag=True, help="Show the result and the verdict only.")
@click.option("-v", "--verbose", is_flag=True, help="Show plans and feedback whole.")
@shared_options
@click.pass_obj
def verb(terminal: Terminal, /, as_json: bool, quiet: bool, verbose: bool, **words: Any) -> int:
    """Run a task on a copy of its folder, to a diff and a verdict.

    <task> is a task file, a folder that holds `task.md`, a text for the current folder, or `-`
    for a text on standard input. Your files stay as they are until `planloop apply`.
    """
    terminal.hushed = quiet or as_json
    terminal.note("reading the task", brief=True)
    from planloop.agent import Agent
    from planloop.cli.clean import mention
    from planloop.cli.driving import drive
    from planloop.cli.prepare import Wish, prepare

    prepared = prepare(Wish(**words), terminal)
    mention(terminal)
    if prepared.unsafe_local:
        terminal.warn_unsafe()
    agent: Agent[None, Any] = Agent(
        model=prepared.model.model,
        executor=prepared.executor.model if prepared.executor else None,
        sandbox=prepared.sandbox,
        budget=prepared.budget,
        store=prepared.folder,
        unsafe_local=prepared.unsafe_local,
    )
    view = _view(terminal, prepared.why_model, as_json=as_json, quiet=quiet, verbose=verbose)
    view.waiting("copying the folder, opening the sandbox")
    try:
        ending = drive(agent, prepared, view)
    finally:
        view.close()
    if not as_json:
        _show_result(terminal, ending)
    return _judge(terminal, ending, prepared, as_json=as_json)


def _view(terminal: Terminal, why: str, *, as_json: bool, quiet: bool, verbose: bool) -> View:
    from planloop.cli.views import JsonView, PlainView, QuietView

    if as_json:
        return JsonView(terminal)
    if quiet:
        return QuietView(terminal)
    if terminal.animated:
        from planloop.cli.live import LiveView

        return LiveView(terminal, why=why, verbose=verbose)
    width = shutil.get_terminal_size((100, 24)).columns
    return PlainView(terminal, why=why, width=width, verbose=verbose)


def _show_result(terminal: Terminal, ending: Ending) -> None:
    """What the run made, on standard output: the answer, then the diff."""
    from planloop.cli import describing
    from planloop.cli.diffing import diff_lines
    from planloop.cli.lines import line, rows

    result = ending.result
    if result is None:
        return
    if result.output is not None:
        terminal.out(*rows(describing.output_text(result.output)))
    if result.diff:
        terminal.out(*([line("")] if result.output is not None else []), *diff_lines(result.diff))


def _judge(terminal: Terminal, ending: Ending, prepared: Prepared, *, as_json: bool) -> int:
    """Say how the run ended, and what that is as an exit code."""
    from planloop.cli import describing, exits
    from planloop.cli.failing import show_error
    from planloop.cli.lines import line

    seen, error = ending.view, ending.error or _unused_replies(prepared, ending)
    if error is not None:
        show_error(terminal, error)
        if seen.run_id and not as_json:
            terminal.say(*describing.next_steps(seen))
        return exits.INFRASTRUCTURE if seen.asked else exits.REFUSED
    if seen.status is None:
        terminal.say(line(("interrupted", "bad"), " · the run had not begun"))
        return ending.interrupted or exits.INTERRUPTED
    terminal.say(*describing.verdict_lines(seen))
    if not as_json:
        terminal.say(*describing.next_steps(seen))
    if seen.status.value == "interrupted" and ending.interrupted is not None:
        return ending.interrupted
    return exits.of_status(seen.status, asked=seen.asked)


def _unused_replies(prepared: Prepared, ending: Ending) -> Exception | None:
    from planloop.errors import UserError
    from planloop.models import ReplayModel

    models = [one.model for one in (prepared.model, prepared.executor) if one is not None]
    if ending.result is None:
        return None
    try:
        for model in models:
            if isinstance(model, ReplayModel):
                model.finish()
    except UserError as error:
        return error
    return None
