from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from planloop import CallFailed, Command, Completed, Context, Limits, Sandbox, SandboxSpec, Status
from planloop.sandboxes import open_sandbox

Put = Callable[..., Awaitable[None]]


@pytest.fixture
async def sandbox(tmp_path: Path) -> AsyncIterator[Sandbox]:
    limits = Limits(memory_bytes=128 << 20, shown_bytes=8_000, timeout_s=20.0)
    spec = SandboxSpec(kind="bubblewrap", limits=limits)
    opened = await open_sandbox(spec, run_id=f"tools-{os.getpid()}", state_dir=tmp_path / "s")
    assert opened is not None
    yield opened
    await opened.close()


@pytest.fixture
def context(sandbox: Sandbox) -> Context[Any]:
    """What a tool gets from a run: a command that is stopped ends the call."""

    async def run(command: Command) -> Completed:
        completed = await sandbox.run(command)
        if completed.status not in (Status.OK, Status.FAILED):
            raise CallFailed(completed.status.value, "stopped")
        return completed

    return Context(
        deps=None, sandbox=sandbox, idempotency_key="k", output=lambda text: None, run=run
    )
