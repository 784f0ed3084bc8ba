"""Taking the state of a workspace: only what changed since the last state is read."""

from __future__ import annotations

import os
import stat

from planloop.sandboxes import tree
from planloop.sandboxes.contents import Contents
from planloop.sandboxes.states import Kept, KeptFile, KeptFolder, KeptLink, kept_file, stamp_of

_NOTHING: dict[str, Kept] = {}


class Look:
    """One look at a workspace, in which nothing should move.

    What vanishes all the same is left out, and so are pipes, sockets, devices, and what lies in
    folders deeper than `tree.MAX_DEPTH`.

    Args:
        contents: where new contents are kept.
        settled_before_ns: a file touched later than this may change again without a new stamp.
    """

    def __init__(self, contents: Contents, settled_before_ns: int) -> None:
        self._contents = contents
        self._settled_before_ns = settled_before_ns

    def folder(
        self, directory: int, found: os.stat_result, known: Kept | None, depth: int = 0
    ) -> KeptFolder:
        """The state of an open folder.

        Args:
            known: what was there at the last look.
        """
        before = known.entries if isinstance(known, KeptFolder) else _NOTHING
        entries: dict[str, Kept] = {}
        for name in os.listdir(directory):
            was = before.get(name)
            try:
                met = os.stat(name, dir_fd=directory, follow_symlinks=False)
                if type(was) is KeptFile and was.settled and was.stamp == stamp_of(met):
                    entries[name] = was
                elif (kept := self._entry(name, directory, met, was, depth)) is not None:
                    entries[name] = kept
            except (OSError, ValueError) as error:
                if not tree.is_gone(error):
                    raise
        return KeptFolder(found.st_mode & 0o777, found.st_mtime_ns, entries)

    def _entry(
        self, name: str, parent: int, found: os.stat_result, was: Kept | None, depth: int
    ) -> Kept | None:
        if stat.S_ISREG(found.st_mode):
            return self._file(name, parent, found)
        if stat.S_ISLNK(found.st_mode):
            return KeptLink(os.readlink(name, dir_fd=parent))
        if not stat.S_ISDIR(found.st_mode):
            return None
        if depth >= tree.MAX_DEPTH:
            return KeptFolder(found.st_mode & 0o777, found.st_mtime_ns, {})
        with tree.entered(name, parent) as inner:
            return self.folder(inner, found, was, depth + 1)

    def _file(self, name: str, parent: int, found: os.stat_result) -> KeptFile:
        with tree.opened_to_read(name, parent) as source:
            size = os.fstat(source).st_size
            digest = self._contents.keep(source, size)
        return kept_file(digest, size, found, self._settled_before_ns)
