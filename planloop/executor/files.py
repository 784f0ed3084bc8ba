"""The workspace as the executor sees it: snapshots before effects, changes, restores."""

from __future__ import annotations

import ast
import contextlib
import dataclasses
from collections import Counter
from collections.abc import Iterator
from typing import Any

import anyio

from planloop.environment import Environment
from planloop.errors import SandboxLost
from planloop.events import ServicesChanged, SnapshotTaken, Warned
from planloop.observation import Failure, Observation, Status
from planloop.plan import Statement
from planloop.sandbox import FileStamp, Sandbox, ServiceState, Snapshot
from planloop.trace.journal import Journal
from planloop.workspace.manifest import is_litter


@dataclasses.dataclass(frozen=True)
class _Moment:
    """What everything that can be put back was like."""

    files: Snapshot | None
    world: Any


@dataclasses.dataclass
class _Level:
    """What a run may go back to while a nested one goes on inside it."""

    lineage: int
    start: _Moment | None
    marks: dict[int, _Moment]


class Files:
    """The run's sandbox and environment as far as their state can be put back."""

    def __init__(self, sandbox: Sandbox | None, environment: Environment, journal: Journal) -> None:
        self.sandbox = sandbox
        self._environment = environment
        self._journal = journal
        self._stamps: dict[str, FileStamp] | None = None
        self._latest: Snapshot | None = None
        self._lineage = 0
        self._start: _Moment | None = None
        self._marks: dict[int, _Moment] = {}
        self._above: list[_Level] = []
        self._taken: set[Snapshot] = set()
        self._preparing = anyio.Lock()
        self._losses: Counter[str] = Counter()
        self._services: tuple[ServiceState, ...] = ()
        self._version = 0

    @property
    def version(self) -> int:
        """Grows with every effect and restore; equal versions mean equal files."""
        if self._may_move:
            self._version += 1
        return self._version

    def services(self) -> tuple[ServiceState, ...]:
        """What runs in the background of the sandbox; a change is announced."""
        found = self.sandbox.services() if self.sandbox is not None else ()
        if found != self._services:
            self._services = found
            self._journal.emit(ServicesChanged(services=found))
        return found

    def begin_lineage(self, number: int) -> None:
        """From here on, `go_back` means this moment."""
        self._lineage = number
        self._start = None

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        """For a nested run: its lineages and marks are its own, those above stay as they are."""
        level = _Level(self._lineage, self._start, self._marks)
        self._above.append(level)
        self._start, self._marks = None, {}
        try:
            yield
        finally:
            self._above.remove(level)
            self._lineage, self._start, self._marks = level.lineage, level.start, level.marks

    def begin_pass(self) -> None:
        """Forget the marks of the pass before."""
        self._marks = {}

    def has_mark(self, statement: int) -> bool:
        """Whether a statement began file effects that may have to be undone."""
        return statement in self._marks

    async def before_effect(self, statement: Statement) -> None:
        """Make sure that what is about to change can be put back."""
        async with self._preparing:
            if self._start is None:
                self._start = await self._moment()
                for level in self._above:  # the first change inside a nested run is one of theirs
                    level.start = level.start or self._start
            if statement.index not in self._marks and not is_one_call(statement):
                self._marks[statement.index] = await self._moment()
            if self._stamps is None and self.sandbox:
                self._stamps = await self.sandbox.scan()

    async def changed(self) -> tuple[str, ...]:
        """Paths that the effect which just ended added, changed or deleted, caches aside."""
        self._latest = None
        self._version += 1
        if self.sandbox is None:
            return ()
        self.services()
        before, after = self._stamps or {}, await self.sandbox.scan()
        self._stamps = after
        changed = (path for path in {*before, *after} if before.get(path) != after.get(path))
        return tuple(sorted(path for path in changed if not is_litter(path)))

    async def undo_statement(self, statement: int, *, keep_running: bool = False) -> None:
        """Put the files back to where a half-executed statement began."""
        await self._put_back(self._marks[statement], keep_running)

    async def go_back(self, *, keep_running: bool = False) -> None:
        """Put everything back to the beginning of the lineage."""
        if self._start is not None:
            await self._put_back(self._start, keep_running)

    async def recover(self, key: str, error: SandboxLost) -> tuple[Observation, bool]:
        """Bring a lost sandbox back; a second loss by an equal call is the run's end.

        Returns how the call ended, and whether the lineage's earlier file changes are lost too.

        Raises:
            SandboxLost: it was lost twice, or cannot be brought back.
        """
        self._losses[key] += 1
        self._journal.emit(Warned(text=f"sandbox lost: {error}"))
        nothing_else = self._latest is not None
        snapshot = self._latest
        if snapshot is None and self._start is not None:
            snapshot = self._start.files
        if self.sandbox is None or snapshot is None:
            raise error
        await self._restore(snapshot)
        if self._losses[key] > 1:
            raise error
        back = "as they were before it" if nothing_else else "as they were before the first change"
        lost = Observation(
            status=Status.KILLED,
            error=Failure(type="SandboxLost", message="the call ended its own sandbox"),
            notes=("sandbox lost", f"the files are {back}"),
        )
        return lost, not nothing_else

    async def _moment(self) -> _Moment:
        files = await self._snapshot()
        world = await self._environment.snapshot() if self._environment.restores else None
        return _Moment(files, world)

    async def _put_back(self, moment: _Moment, keep_running: bool) -> None:
        if moment.files is not None:
            await self._restore(moment.files, keep_running)
        if self._environment.restores:
            await self._environment.restore(moment.world)

    async def _snapshot(self) -> Snapshot | None:
        if self.sandbox is None:
            return None
        if self._latest is None or self._may_move:
            self._latest = await self.sandbox.snapshot()
            self._journal.emit(SnapshotTaken(id=self._latest.id, lineage=self._lineage))
            await self._forget_unused(self.sandbox, self._latest)
        return self._latest

    async def _forget_unused(self, sandbox: Sandbox, latest: Snapshot) -> None:
        """Keep what may still be gone back to: a run of many rounds must not fill the disk."""
        levels = [_Level(self._lineage, self._start, self._marks), *self._above]
        moments = [one for level in levels for one in level.marks.values()]
        moments += [level.start for level in levels if level.start]
        needed = {latest, *(moment.files for moment in moments if moment.files)}
        for snapshot in self._taken - needed:
            await sandbox.forget(snapshot)
        self._taken = (self._taken & needed) | {latest}

    async def _restore(self, snapshot: Snapshot, keep_running: bool = False) -> None:
        if self.sandbox is None:
            return
        await self.sandbox.restore(snapshot, keep_running=keep_running)
        self._latest = snapshot
        self._version += 1
        self._stamps = await self.sandbox.scan()
        self.services()

    @property
    def _may_move(self) -> bool:
        """Whether files may change although no call runs."""
        return any(one.alive for one in (self.sandbox.services() if self.sandbox else ()))


def is_one_call(statement: Statement) -> bool:
    """Whether a statement is one call of a tool and nothing else: it cannot be half executed."""
    node = statement.node
    value = node.value if isinstance(node, ast.Expr | ast.Assign) else None
    if not isinstance(value, ast.Call) or statement.touches_files:
        return False
    named = [site.node for site in statement.calls] or _calls_named(value, statement.grants)
    return named == [value] and not (
        isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Tuple)
    )


def _calls_named(value: ast.Call, grants: frozenset[str]) -> list[ast.Call]:
    """The calls in an expression of a program, if it calls nothing but tools by their names."""
    calls = [node for node in ast.walk(value) if isinstance(node, ast.Call)]
    tools = all(isinstance(one.func, ast.Name) and one.func.id in grants for one in calls)
    return calls if tools else []
