"""States of a workspace, their contents once each in a private folder of the host."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import time
from collections.abc import Iterator
from pathlib import Path

from planloop.errors import SandboxLost
from planloop.marks import make_home
from planloop.sandbox import Snapshot
from planloop.sandboxes import tree
from planloop.sandboxes.contents import Contents
from planloop.sandboxes.files import Files
from planloop.sandboxes.looking import Look
from planloop.sandboxes.restoring import Restoring
from planloop.sandboxes.states import KeptFolder, digests_of

_TICK_NS = 20_000_000
"""Two changes nearer than the kernel's tick may get the same time; with some to spare."""


class Snapshots:
    """States of a workspace, taken incrementally. Blocking; one call at a time.

    They outlive the processes of their sandbox, so that a lost one can be brought back.
    """

    def __init__(self, state_dir: Path, run_id: str) -> None:
        self._folder = make_home(state_dir, run_id)
        (self._folder / "contents").mkdir(mode=0o700)
        self._contents = Contents(self._folder / "contents")
        self._states: dict[str, KeptFolder] = {}
        self._uncounted: list[KeptFolder] = []
        self._known: KeptFolder | None = None
        self._known_as = ""
        """Id of the snapshot that is like the workspace as it was last seen."""
        self._forgotten: KeptFolder | None = None
        """What `_known` needs, if its snapshot was forgotten."""
        self._numbers = itertools.count(1)

    def take(self, files: Files, living_since_ns: int | None = None) -> Snapshot:
        """Remember the workspace as it is now. Nothing should move meanwhile.

        Args:
            living_since_ns: since when (clock time) the oldest process inside lives. It may have
                mapped whatever was touched since, and change it without a new time.

        Raises:
            SandboxLost: the host has no room for it.
        """
        with files.opened() as root, _room_is_ours("taken"):
            look = Look(self._contents, _settled_before_ns(living_since_ns))
            state = look.folder(root, os.fstat(root), self._known)
        snapshot = Snapshot(str(next(self._numbers)))
        self._states[snapshot.id] = state
        self._uncounted.append(state)
        self._know(snapshot, state)
        return snapshot

    def restore(self, snapshot: Snapshot, files: Files) -> None:
        """Bring the workspace back. Nothing may be running in the sandbox.

        Raises:
            ValueError: the snapshot is not one of this sandbox.
        """
        state = self._states.get(snapshot.id)
        if state is None:
            raise ValueError(f"no snapshot `{snapshot.id}` in this sandbox")
        with files.opened_to_change() as root, _room_is_ours("restored"):
            restoring = Restoring(self._contents, files.owner, _settled_before_ns(None))
            self._know(snapshot, restoring.restore(root, state))

    def forget(self, snapshot: Snapshot) -> None:
        """Remove one snapshot, and the contents that no other needs. Safe to call twice."""
        state = self._states.pop(snapshot.id, None)
        if state is None:
            return
        if snapshot.id == self._known_as:
            self._forgotten = state
        else:
            self._release(state)

    def remove(self) -> None:
        """Remove every snapshot. Safe to call twice."""
        if self._folder.exists():
            self._contents.close()
            tree.remove(self._folder)

    def _know(self, snapshot: Snapshot, state: KeptFolder) -> None:
        """The workspace was just seen to be like this."""
        self._known, self._known_as = state, snapshot.id
        if self._forgotten is not None:
            self._release(self._forgotten)
            self._forgotten = None

    def _release(self, state: KeptFolder) -> None:
        for one in self._uncounted:
            self._contents.need(digests_of(one))
        self._uncounted = []
        self._contents.release(digests_of(state))


def _settled_before_ns(living_since_ns: int | None) -> int:
    """Files touched before this cannot change any more without a new time."""
    now = time.time_ns() - _TICK_NS
    return now if living_since_ns is None else min(now, living_since_ns - _TICK_NS)


@contextlib.contextmanager
def _room_is_ours(done: str) -> Iterator[None]:
    """A full disk is no fault of a plan."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        raise SandboxLost(f"no room is left: the files cannot be {done}") from None
