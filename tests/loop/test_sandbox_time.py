"""Sandbox time is a limit that cuts, and what the host noted of a call is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from planloop import Agent, Budget, FunctionModel, Limits, Request, Result, SandboxSpec, Task
from tests.loop.worlds import block


def run(
    folder: Path, *replies: str, limits: Limits | None = None, sandbox_s: float | None = None
) -> tuple[Result, list[str]]:
    given, told = iter(replies), list[str]()

    def model(request: Request) -> str:
        told.append(request.messages[-1].text)
        return str(block(next(given, "give_up('no more')")))

    spec = SandboxSpec(kind="bubblewrap", limits=limits or Limits())
    agent: Agent[None, Any] = Agent(
        model=FunctionModel(model), sandbox=spec, budget=Budget(sandbox_s=sandbox_s)
    )
    result = agent.run_sync(Task(text="Do it.", folder=folder))
    agent.close()
    return result, told


def test_a_command_is_cut_where_the_sandbox_time_is_spent(tmp_path: Path) -> None:
    result, _ = run(tmp_path, "shell('sleep 60')", "shell('true')", sandbox_s=0.5)
    assert result.reason.startswith("sandbox-time spent: 0.5 s of 0.5 s")
    assert result.usage.sandbox_s < 5


def test_waiting_for_a_service_counts(tmp_path: Path) -> None:
    start = "background('sleep 0.4; echo up; sleep 60', 'web', ready_output='up')"
    result, _ = run(tmp_path, start, "shell('true')", sandbox_s=0.3)
    assert result.reason.startswith("sandbox-time spent: 0.")


def test_notes_of_an_assigned_call_are_told(tmp_path: Path) -> None:
    _, told = run(tmp_path, "b = shell('sleep 60 & true')")
    assert any("shell: note: " in text for text in told)


def test_an_output_limit_says_which(tmp_path: Path) -> None:
    limits = Limits(kept_bytes=1_000_000)
    _, told = run(tmp_path, "shell('head -c 9M /dev/zero >&2')", limits=limits)
    assert any("it wrote more than 1 MB of stderr" in text for text in told)
