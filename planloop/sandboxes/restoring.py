"""Bringing a workspace back to a state. Nothing may be running in the sandbox meanwhile.

Contents are compared, not trusted: whoever maps a file can change it without a new time.
"""

from __future__ import annotations

import os
import stat

from planloop.sandboxes import tree
from planloop.sandboxes.contents import Contents, digest_of
from planloop.sandboxes.states import Kept, KeptFile, KeptFolder, KeptLink, kept_file


class Restoring:
    """One restore: first everything goes that the state has not, then the rest is written.

    Args:
        contents: where the contents of the state are kept.
        owner: user and group of what is made, if this process may give it away.
        settled_before_ns: as for a look at the workspace.
    """

    def __init__(
        self, contents: Contents, owner: tuple[int, int] | None, settled_before_ns: int
    ) -> None:
        self._contents = contents
        self._settled_before_ns = settled_before_ns
        self._owner = owner

    def restore(self, root: int, state: KeptFolder) -> KeptFolder:
        """Bring an open folder back; returns the state with the stamps that it has now."""
        self._prune(root, state, 0)
        return self._fill(root, state)

    def _prune(self, directory: int, state: KeptFolder, depth: int) -> None:
        for name in os.listdir(directory):
            found = os.stat(name, dir_fd=directory, follow_symlinks=False)
            match state.entries.get(name):
                case KeptFolder() as kept if stat.S_ISDIR(found.st_mode):
                    self._prune_folder(name, directory, kept, depth)
                case KeptFile() as kept if self._holds(name, directory, found, kept):
                    pass
                case KeptLink(target) if _leads_to(name, directory, found, target):
                    pass
                case _:
                    tree.remove_entry(name, directory)

    def _prune_folder(self, name: str, parent: int, kept: KeptFolder, depth: int) -> None:
        if depth >= tree.MAX_DEPTH:
            tree.remove_entry(name, parent)
            return
        with tree.opened_to_change(name, parent) as inner:
            self._prune(inner, kept, depth + 1)

    def _holds(self, name: str, parent: int, found: os.stat_result, kept: KeptFile) -> bool:
        """Whether a file has the kept content and no second name; its mode and time are set."""
        if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1 or found.st_size != kept.size:
            return False
        try:
            source = tree.open_quietly(name, parent)
        except PermissionError:
            return False
        try:
            if digest_of(source, kept.size) != kept.digest:
                return False
            if stat.S_IMODE(found.st_mode) != kept.mode:
                os.fchmod(source, kept.mode)
            if found.st_mtime_ns != kept.mtime_ns:
                os.utime(source, ns=(kept.mtime_ns, kept.mtime_ns))
            return True
        finally:
            os.close(source)

    def _fill(self, directory: int, state: KeptFolder) -> KeptFolder:
        here = set(os.listdir(directory))
        entries = {
            name: self._entry(name, directory, kept, name in here)
            for name, kept in state.entries.items()
        }
        os.fchmod(directory, state.mode)
        os.utime(directory, ns=(state.mtime_ns, state.mtime_ns))
        return KeptFolder(state.mode, state.mtime_ns, entries)

    def _entry(self, name: str, parent: int, kept: Kept, here: bool) -> Kept:
        match kept:
            case KeptFile():
                return self._file(name, parent, kept, here)
            case KeptLink(target):
                if not here:
                    os.symlink(target, name, dir_fd=parent)
                    self._give(name, parent)
                return kept
            case KeptFolder():
                return self._folder(name, parent, kept, here)

    def _folder(self, name: str, parent: int, kept: KeptFolder, here: bool) -> KeptFolder:
        if not here:
            os.mkdir(name, 0o700, dir_fd=parent)
            self._give(name, parent)
        with tree.opened_to_change(name, parent) as inner:
            return self._fill(inner, kept)

    def _file(self, name: str, parent: int, kept: KeptFile, here: bool) -> KeptFile:
        if not here:
            self._make_file(name, parent, kept)
        found = os.stat(name, dir_fd=parent, follow_symlinks=False)
        return kept_file(kept.digest, kept.size, found, self._settled_before_ns)

    def _make_file(self, name: str, parent: int, kept: KeptFile) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        made = os.open(name, flags, 0o600, dir_fd=parent)
        try:
            self._contents.give(kept.digest, made)
            if self._owner is not None:
                os.fchown(made, *self._owner)
            os.fchmod(made, kept.mode)
            os.utime(made, ns=(kept.mtime_ns, kept.mtime_ns))
        finally:
            os.close(made)

    def _give(self, name: str, parent: int) -> None:
        if self._owner is not None:
            os.chown(name, *self._owner, dir_fd=parent, follow_symlinks=False)


def _leads_to(name: str, parent: int, found: os.stat_result, target: str) -> bool:
    return stat.S_ISLNK(found.st_mode) and os.readlink(name, dir_fd=parent) == target
