"""`planloop prompt`: what would be sent to the model, by part."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from planloop.cli.command import Verb, shared_options, task_options
from planloop.cli.terminal import Terminal

if TYPE_CHECKING:
    from planloop.cli.counting import Counter
    from planloop.cli.prepare import Prepared
    from planloop.planner.prompt import Prompt


@click.command(
    "prompt",
    cls=Verb,
    usage="<task>... [options]",
    examples=(
        ("planloop prompt task.md", "what would be sent, part by part"),
        ('planloop prompt "make the tests pass"', ""),
    ),
)
@click.argument("target", nargs=-1, required=True, metavar="<task>...")
@task_options
@shared_options
@click.pass_obj
def verb(terminal: Terminal, /, **words: Any) -> int:
    """Show what would be sent to the model, by part, with token counts.

    Nothing is run and no plan is asked for. Tokens are counted by the model's server where it
    is local and has `/tokenize`; else the number of bytes is shown, which is never too small.
    """
    terminal.note("reading the task", brief=True)
    import asyncio

    from planloop.cli.counting import counter_for
    from planloop.cli.prepare import Wish, prepare

    prepared = prepare(Wish(**words), terminal)
    terminal.note("copying the folder, opening the sandbox")
    found = asyncio.run(_prompt(prepared))
    _show(terminal, found, counter_for(prepared.model.model))
    return 0


async def _prompt(prepared: Prepared) -> Prompt:
    from planloop.agent import Agent

    agent: Agent[None, Any] = Agent(
        model=prepared.model.model,
        sandbox=prepared.sandbox,
        budget=prepared.budget,
        unsafe_local=prepared.unsafe_local,
    )
    try:
        return await agent.prompt(prepared.task)
    finally:
        await prepared.model.model.close()


def _show(terminal: Terminal, found: Prompt, counter: Counter) -> None:
    from planloop.cli.lines import line, rows

    for part in found.parts:
        count = counter.shown(part.text)
        terminal.out(line((f"── {part.name} ", "bold"), (f"({count})", "dim")))
        if part.text:
            terminal.out(*rows(part.text.rstrip("\n")))
        terminal.out(line(""))
    total = counter.shown(*(message.text for message in found.messages))
    declared = f" and {len(found.tools)} declared tools" if found.tools else ""
    messages = f"{len(found.messages)} messages{declared}"
    terminal.out(line(("── all ", "bold"), (f"({total} in {messages}; {counter.how})", "dim")))
