"""Looks for what dead runs have left, and takes it away: the engine's first, then this machine's.

What goes may uncover more (a process that forked, a volume that was in use), so it looks again
for as long as something goes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TypeAlias

import anyio.to_thread

from planloop.errors import PlanloopError, SandboxLost, UserError
from planloop.sandboxes.engine import Engine
from planloop.sandboxes.leavings import Leaving, left_here, places
from planloop.sandboxes.leavings_engine import left_in_engine, remove_from_engine
from planloop.sandboxes.removing import remove
from planloop.text import one_line

_MOST_LOOKS = 20


@dataclasses.dataclass(frozen=True)
class Removed:
    """A leaving of a dead run is gone; with a dry run it would be."""

    leaving: Leaving


@dataclasses.dataclass(frozen=True)
class Stays:
    """A leaving of a dead run could not be removed."""

    leaving: Leaving
    why: str


@dataclasses.dataclass(frozen=True)
class Spared:
    """Something of a live run, or of an owner whose life cannot be judged from here."""

    leaving: Leaving


@dataclasses.dataclass(frozen=True)
class NotLooked:
    """A place that could not be looked at."""

    why: str


Cleaned: TypeAlias = Removed | Stays | Spared | NotLooked
Tell: TypeAlias = Callable[[Cleaned], None]


async def clean(folders: Sequence[Path], tell: Tell, *, dry_run: bool = False) -> None:
    """Remove what dead runs of this user have left. Never raises for what it finds.

    Args:
        folders: places to look at, besides those where temporary files go.
        tell: told of each thing once, when its fate is known.
        dry_run: remove nothing; what would be removed is told as `Removed`.
    """
    await _clean_engine(tell, dry_run)
    await Sweep(
        look=lambda: anyio.to_thread.run_sync(left_here, places(folders)),
        remove=lambda leaving: anyio.to_thread.run_sync(remove, leaving),
        tell=tell,
        dry_run=dry_run,
    ).all()


async def _clean_engine(tell: Tell, dry_run: bool) -> None:
    try:
        engine = await Engine.connect()
    except UserError as error:
        tell(NotLooked(error.what))
        return
    try:
        await Sweep(
            look=lambda: left_in_engine(engine),
            remove=lambda leaving: remove_from_engine(engine, leaving),
            tell=tell,
            dry_run=dry_run,
        ).all()
    finally:
        await engine.close()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sweep:
    """One kind of place: how it is looked at, and how things are removed there."""

    look: Callable[[], Awaitable[list[Leaving]]]
    remove: Callable[[Leaving], Awaitable[None]]
    """Raises OSError, APIError or PlanloopError where a thing stays."""
    tell: Tell
    dry_run: bool

    async def all(self) -> None:
        """Look and remove until nothing more goes."""
        from docker.errors import APIError

        try:
            found = await self.look()
            for one in found:
                if one.state != "dead":
                    self.tell(Spared(one))
            stays = await self._remove_all(found)
        except (APIError, SandboxLost) as error:
            self.tell(NotLooked(_why(error)))
            return
        for kept in stays:
            self.tell(kept)

    async def _remove_all(self, found: list[Leaving]) -> list[Stays]:
        """What stays after as many looks as help."""
        stays: list[Stays] = []
        for _ in range(_MOST_LOOKS):
            dead = [one for one in found if one.state == "dead"]
            stays = [kept for one in dead if (kept := await self._taken(one)) is not None]
            if self.dry_run or len(stays) == len(dead):
                break
            found = await self.look()
        return stays

    async def _taken(self, leaving: Leaving) -> Stays | None:
        from docker.errors import APIError

        try:
            if not self.dry_run:
                await self.remove(leaving)
        except (OSError, APIError, PlanloopError) as error:
            return Stays(leaving, _why(error))
        self.tell(Removed(leaving))
        return None


def _why(error: Exception) -> str:
    said = getattr(error, "explanation", None) or getattr(error, "strerror", None) or error
    return one_line(str(said), 200)
