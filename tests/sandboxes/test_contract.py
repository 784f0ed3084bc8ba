"""The public contract, for each of planloop's own sandboxes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import uuid
from functools import partial
from pathlib import Path

import anyio
import pytest

from planloop.sandbox import Command, Limits, Sandbox, SandboxSpec
from planloop.sandboxes import open_sandbox
from planloop.testing import sandbox_contract

from . import hostile


async def make(kind: str, limits: Limits, folder: Path) -> Sandbox:
    sandbox = await open_sandbox(
        SandboxSpec(kind=kind, limits=limits),
        run_id=f"test-{os.getpid()}",
        state_dir=folder,
        unsafe_local=True,
    )
    assert sandbox is not None
    return sandbox


async def lose(sandbox: Sandbox) -> None:
    """Kills the first process inside."""
    marker, up = uuid.uuid4().hex, anyio.Event()
    line = Command(argv=("/bin/sh", "-c", "echo; sleep 60", marker))
    await sandbox.start(line, lambda *_: up.set())
    await up.wait()
    os.kill(hostile.first_process_above(marker), signal.SIGKILL)


TestBubblewrap = sandbox_contract(partial(make, "bubblewrap"), lose=lose)
TestDocker = pytest.mark.docker(sandbox_contract(partial(make, "docker"), lose=lose))
TestUnsafeLocal = sandbox_contract(partial(make, "unsafe-local"))


def test_without_pytest_the_suite_says_what_to_install() -> None:
    program = "import sys; sys.modules['pytest'] = None; from planloop.testing import *"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert "`planloop.testing` needs pytest" in done.stderr
