"""Running commands."""

from __future__ import annotations

from typing import Any

from planloop import (
    CallFailed,
    Command,
    CommandReady,
    Completed,
    Context,
    OutputReady,
    PortReady,
    Service,
    tool,
)

_TAIL = 600
"""Characters of each stream in the message of a failed command."""


@tool(effect="workspace", needs_sandbox=True)
async def shell(
    context: Context[Any],
    command: str,
    cwd: str = ".",
    env: dict[str, str] | None = None,
    timeout_s: float | None = None,
    ok: list[int] | None = [0],  # noqa: B006 - never changed; plans see it as the default
) -> dict[str, Any]:
    """Run a command by /bin/sh in the workspace; returns a record: exit, stdout, stderr.

    Every call is a fresh process; what it leaves running is ended. An exit code that is not in
    `ok` fails the call; ok=None takes every exit code as a value.
    """
    completed = await context.run(
        Command(line=command, cwd=cwd, env=env or {}, timeout_s=timeout_s)
    )
    if ok is not None and completed.exit_code not in ok:
        raise CallFailed("CommandFailed", _what_happened(completed))
    return {
        "exit": completed.exit_code,
        "stdout": completed.stdout.text,
        "stderr": completed.stderr.text,
    }


@tool(effect="workspace", needs_sandbox=True)
async def background(
    context: Context[Any],
    command: str,
    name: str,
    ready_port: int | None = None,
    ready_output: str | None = None,
    ready_command: str | None = None,
    timeout_s: float = 30.0,
    cwd: str = ".",
    env: dict[str, str] | None = None,
) -> str:
    """Start a server by /bin/sh that goes on until the run ends; returns when it is ready.

    Give one sign that it is ready, awaited for timeout_s: ready_port (it listens on
    127.0.0.1:port), ready_output (a regular expression for a line of its output), or
    ready_command (exits 0). Later calls reach it on 127.0.0.1. The same name replaces it.
    """
    service = Service(
        name=name,
        command=Command(line=command, cwd=cwd, env=env or {}),
        ready=_ready(ready_port, ready_output, ready_command),
        ready_s=timeout_s,
    )
    state = await context.background(service)
    if not state.alive:
        raise CallFailed("ServiceFailed", f"`{name}` does not run: {state.detail}")
    return state.detail


def _ready(
    port: int | None, output: str | None, command: str | None
) -> PortReady | OutputReady | CommandReady:
    match port, output, command:
        case int(), None, None:
            return PortReady(port=port)
        case None, str(), None:
            return OutputReady(pattern=output)
        case None, None, str():
            return CommandReady(line=command)
        case _:
            raise CallFailed("ValueError", "give one of ready_port, ready_output and ready_command")


def _what_happened(completed: Completed) -> str:
    streams = (completed.stdout.text, completed.stderr.text)
    tails = [text.strip()[-_TAIL:] for text in streams if text.strip()]
    return "\n".join([f"exit {completed.exit_code}", *tails])
