from __future__ import annotations

import os
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from planloop.sandbox import Command, Limits, Sandbox, SandboxSpec
from planloop.sandboxes import open_sandbox

from .houses import Houses

SMALL = Limits(memory_bytes=96 << 20, disk_bytes=64 << 20, processes=40, timeout_s=20.0)

Opened = Callable[..., Awaitable[Sandbox]]


@pytest.fixture(params=["bubblewrap", pytest.param("docker", marks=pytest.mark.docker)])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def opened(kind: str, tmp_path: Path) -> AsyncIterator[Opened]:
    """Opens sandboxes of the kind under test, and closes them all."""
    made: list[Sandbox] = []

    async def make(limits: Limits = SMALL) -> Sandbox:
        spec = SandboxSpec(kind=kind, limits=limits)
        sandbox = await open_sandbox(spec, run_id=f"test-{os.getpid()}", state_dir=tmp_path / "s")
        assert sandbox is not None
        made.append(sandbox)
        return sandbox

    yield make
    for sandbox in made:
        await sandbox.close()


@pytest.fixture(scope="session")
def houses() -> Iterator[Houses]:
    """Processes that run sandboxes in every mode."""
    built = Houses(Path(tempfile.gettempdir()))
    yield built
    built.close()


@pytest.fixture
async def sandbox(opened: Opened) -> Sandbox:
    return await opened()


def python(source: str, *arguments: str, timeout_s: float | None = None) -> Command:
    """A Python program as a command."""
    return Command(argv=("python3", "-c", source, *arguments), timeout_s=timeout_s)
