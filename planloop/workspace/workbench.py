"""The copies that a run works with: the original as it was copied, and the result so far."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import weakref
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

import anyio.to_thread

from planloop.marks import make_home
from planloop.sandbox import Sandbox
from planloop.task import WorkspaceSpec
from planloop.workspace.copying import LeftOut, copy_workspace
from planloop.workspace.diffing import Diff, Settled, diff
from planloop.workspace.starting import with_changes


class Workbench:
    """Host copies of one run, in a private temporary folder that `close` (or exit) removes."""

    def __init__(self, home: Path, spec: WorkspaceSpec) -> None:
        self._home = home
        self._spec = spec
        self._remove = weakref.finalize(self, _remove, home)
        self.original = home / "original"
        """The user's files as they were copied. Nothing writes here."""
        self.start = self.original
        """What the run begins with, and what checks put back: the original, set up."""
        self._set_up: Settled = {}
        self.refused: tuple[str, ...] = ()
        """What could not be copied out of the sandbox, one sentence each."""
        self._present: frozenset[str] = frozenset()
        self._sandbox: Sandbox | None = None
        self._version: Callable[[], int] = lambda: 0
        self._result: tuple[int, Path] | None = None

    @classmethod
    async def open(
        cls, folder: Path | None, spec: WorkspaceSpec
    ) -> tuple[Workbench, tuple[LeftOut, ...]]:
        """Copy the user's folder, or begin with an empty one; also says what was left out.

        Raises:
            UserError: it is over the bounds, or cannot be read; nothing is left behind then.
        """
        home = make_home(Path(tempfile.gettempdir()), "files")
        bench = cls(home, spec)
        try:
            bench.original.mkdir()
            if folder is None:
                return bench, ()
            copied = await anyio.to_thread.run_sync(copy_workspace, folder, bench.original, spec)
        except BaseException:
            bench.close()
            raise
        return bench, copied.left_out

    async def set_up(self, changes: Path, deleted: Collection[str]) -> None:
        """Begin with what a setup made of the original, which is no change of the run's."""
        start = self._empty("start")
        self._set_up = await anyio.to_thread.run_sync(
            with_changes, self.original, changes, deleted, start
        )
        self.start = start

    def attach(self, sandbox: Sandbox, version: Callable[[], int]) -> None:
        """From here on the result is what this sandbox's workspace holds."""
        self._sandbox, self._version, self._result = sandbox, version, None

    async def result(self) -> Path:
        """A copy of the workspace as it is now; the same folder while nothing changed."""
        if self._sandbox is None:
            return self._result[1] if self._result else self.start
        version = self._version()
        if self._result is not None and self._result[0] == version:
            return self._result[1]
        target = self._empty("result")
        self.refused = await self._sandbox.copy_out(
            target, self._spec.max_bytes, self._spec.max_files
        )
        # What was refused is missing in the copy, and must not count as deleted.
        self._present = frozenset(await self._sandbox.scan()) if self.refused else frozenset()
        before, self._result = self._result, (version, target)
        if before is not None:
            await anyio.to_thread.run_sync(_remove, before[1])
        return target

    def detach(self) -> None:
        """The sandbox ends; the last result stays."""
        self._sandbox = None

    async def diff(self) -> Diff:
        """What the run has changed so far."""
        after = await self.result()
        return await anyio.to_thread.run_sync(
            diff, self.original, after, self._spec, self._present, self._set_up
        )

    @contextlib.contextmanager
    def scratch(self, name: str) -> Iterator[Path]:
        """An empty folder that is removed at the end of the block."""
        folder = self._empty(name)
        try:
            yield folder
        finally:
            _remove(folder)

    def close(self) -> None:
        """Remove every copy. Safe to call twice."""
        self._remove()

    def _empty(self, name: str) -> Path:
        return Path(tempfile.mkdtemp(prefix=f"{name}-", dir=self._home))


def _remove(folder: Path) -> None:
    def make_removable(function: object, path: str, error: object) -> None:
        with contextlib.suppress(OSError):
            Path(path).parent.chmod(0o700)
            Path(path).unlink()

    shutil.rmtree(folder, onerror=make_removable)
