"""What the cases of the sandbox contract share: how a sandbox is made, and looked into."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import ClassVar, TypeAlias

import anyio
import pytest

from planloop.sandbox import Command, Limits, Sandbox

Make: TypeAlias = Callable[[Limits, Path], Awaitable[Sandbox]]
"""Makes a sandbox with these limits, whose own files may go into this folder."""
Lose: TypeAlias = Callable[[Sandbox], Awaitable[None]]
"""Ends a sandbox from outside, as a crash would."""

SMALL = Limits(memory_bytes=96 << 20, processes=40, disk_bytes=64 << 20, timeout_s=20.0)
HANGS_S = 30.0
"""What has not come to its end by then never will."""


class Cases:
    """A group of cases over the sandboxes that `make` makes."""

    pytestmark = pytest.mark.anyio

    make: ClassVar[Make]
    lose: ClassVar[Lose | None] = None

    @pytest.fixture
    def anyio_backend(self) -> str:
        return "asyncio"

    @pytest.fixture
    async def opened(self, tmp_path: Path) -> AsyncIterator[Callable[..., Awaitable[Sandbox]]]:
        """Opens sandboxes, and closes them all."""
        async with contextlib.AsyncExitStack() as stack:

            async def opened(limits: Limits = SMALL) -> Sandbox:
                sandbox = await type(self).make(limits, tmp_path / "sandboxes")
                stack.push_async_callback(sandbox.close)
                return sandbox

            yield opened

    @pytest.fixture
    async def sandbox(self, opened: Callable[..., Awaitable[Sandbox]]) -> Sandbox:
        """A sandbox with small limits."""
        return await opened()


def marker() -> str:
    """A word that no other process has among its arguments."""
    return f"marker-{uuid.uuid4().hex}"


async def living(sandbox: Sandbox, word: str) -> int:
    """How many processes in a sandbox have a word among their arguments."""
    look = f"grep -la '[{word[0]}]{word[1:]}' /proc/[0-9]*/cmdline | wc -l"
    return int((await sandbox.run(Command(line=look))).stdout.text)


async def output(sandbox: Sandbox, line: str) -> str:
    """What a shell line prints."""
    with anyio.fail_after(HANGS_S):
        return (await sandbox.run(Command(line=line))).stdout.text


def stubborn(word: str) -> str:
    """A shell line with a tree that no polite signal ends; it says `up` when it stands."""
    inner = f"trap '' TERM INT HUP; while :; do sleep 1; done # {word}"
    quoted = inner.replace("'", "'\\''")
    return (
        f"setsid sh -c '{quoted}' & (setsid sh -c '{quoted}' &) ; trap '' TERM; "
        "echo up; while :; do sleep 1; done"
    )
