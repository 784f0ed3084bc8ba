"""Running commands."""

from __future__ import annotations

from typing import Any

from planloop import CallFailed, Command, Completed, Context, tool

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


def _what_happened(completed: Completed) -> str:
    streams = (completed.stdout.text, completed.stderr.text)
    tails = [text.strip()[-_TAIL:] for text in streams if text.strip()]
    return "\n".join([f"exit {completed.exit_code}", *tails])
