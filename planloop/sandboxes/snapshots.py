"""States of a workspace, kept as plain copies in a private folder of the host."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

from planloop.sandbox import Snapshot
from planloop.sandboxes import tree
from planloop.sandboxes.files import Files
from planloop.sandboxes.marks import make_home


class Snapshots:
    """Copies of a workspace in a private folder below `state_dir`. Blocking.

    They outlive the processes of their sandbox, so that a lost one can be brought back.
    """

    def __init__(self, state_dir: Path, run_id: str) -> None:
        self._folder = make_home(state_dir, run_id)
        self._numbers = itertools.count(1)

    def take(self, files: Files) -> Snapshot:
        """Remember the workspace as it is now."""
        name = str(next(self._numbers))
        target = self._folder / name
        target.mkdir(mode=0o700, parents=True)
        destination = tree.open_root(target)
        try:
            files.copy_to(destination)
        finally:
            os.close(destination)
        return Snapshot(name)

    def restore(self, snapshot: Snapshot, files: Files) -> None:
        """Bring the workspace back. Nothing may be running in the sandbox.

        Raises:
            ValueError: the snapshot is not one of this sandbox.
        """
        source = self._folder / snapshot.id
        if not snapshot.id.isdigit() or not source.is_dir():
            raise ValueError(f"no snapshot `{snapshot.id}` in this sandbox")
        files.empty()
        files.copy_in(source, ours=True)

    def forget(self, snapshot: Snapshot) -> None:
        """Remove one snapshot. Safe to call twice."""
        if snapshot.id.isdigit():
            tree.remove(self._folder / snapshot.id)

    def remove(self) -> None:
        """Remove every snapshot. Safe to call twice."""
        tree.remove(self._folder)
