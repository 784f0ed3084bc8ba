from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.programs.rounds import Room, room


@pytest.fixture(params=["bubblewrap", pytest.param("docker", marks=pytest.mark.docker)])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
async def boxed(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Room]:
    """One bubblewrap sandbox for many examples."""
    folder: Path = tmp_path_factory.mktemp("room")
    async with room(folder, timeout_s=20.0) as found:
        yield found


@pytest.fixture(scope="module")
async def contained(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Room]:
    """One container for many examples."""
    async with room(tmp_path_factory.mktemp("room"), "docker", timeout_s=20.0) as found:
        yield found
