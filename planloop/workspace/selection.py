"""Walk a folder and say of every entry whether it takes part in the run."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from enum import Enum, auto

from planloop.task import WorkspaceSpec
from planloop.workspace.folders import (
    Found,
    is_text_name,
    is_too_deep,
    link_stays_inside,
    walk,
)
from planloop.workspace.ignoring import Ignoring
from planloop.workspace.selecting import (
    GIT_FOLDER,
    OWN_FOLDER,
    LeftOut,
    Wanted,
    git_reason,
    litter_reason,
    secret_reason,
    special_reason,
)

MAX_PATH_BYTES = 2_000


class _Mode(Enum):
    NORMAL = auto()
    INCLUDED = auto()
    """Asked for by the task: ignore rules do not count below."""
    HIDDEN = auto()
    """Left out; entered for what the task asks for below it."""
    GIT = auto()


@dataclasses.dataclass(frozen=True)
class _Place:
    mode: _Mode
    ignoring: Ignoring


@dataclasses.dataclass(frozen=True)
class Judged:
    """One entry and, if it is left out, why. `silent`: its folder is already named."""

    found: Found
    why: str | None = None
    firm: bool = False
    """No `include` could bring it in."""
    silent: bool = False

    @property
    def left_out(self) -> LeftOut | None:
        """The entry as people are told of it, if it is left out."""
        if self.why is None or self.silent:
            return None
        path = self.found.path + ("/" if self.found.is_folder else "")
        return LeftOut(path.encode("utf-8", "surrogateescape").decode("utf-8", "replace"), self.why)


class Selection:
    """The entries of one folder, judged on the way down.

    Ignore files are read in `rules`, which for a result is the original: what hostile code writes
    into a `.gitignore` hides nothing.
    """

    def __init__(self, root: int, rules: int, spec: WorkspaceSpec) -> None:
        self._root = root
        self._rules = rules
        self._spec = spec
        self._wanted = Wanted(spec)
        top = Ignoring().with_git_excludes(rules).below(rules, "")
        self._places = {"": _Place(_Mode.NORMAL, top)}

    def judged(self, max_entries: int) -> Iterator[Judged]:
        """Every entry that is taken or left out, parents first; raises `TooMany`."""
        failed: list[Judged] = []
        entries = walk(
            self._root,
            lambda found: found.path in self._places,
            max_entries=max_entries,
            unreadable=lambda found, error: failed.append(
                Judged(found, f"cannot be read: {error.strerror}", firm=True)
            ),
        )
        for found in entries:
            yield from failed
            failed.clear()
            judged = self._judge(found)
            if found.is_folder:
                self._prepare(judged)
            yield judged
        yield from failed

    def _judge(self, found: Found) -> Judged:
        place = self._places[found.path.rpartition("/")[0]]
        firm = _firm_reason(found) or self._git_reason(found, place)
        if firm is not None:
            return Judged(found, firm, firm=True, silent=place.mode is _Mode.HIDDEN)
        if place.mode is _Mode.GIT or _is_git(found):
            return Judged(found)
        return self._by_rules(found, place)

    def _git_reason(self, found: Found, place: _Place) -> str | None:
        if place.mode is _Mode.GIT:
            return git_reason(found.path, found.is_folder)
        if not _is_git(found):
            return None
        if self._spec.git and found.path == GIT_FOLDER and found.is_folder:
            return None
        hint = "" if self._spec.git else " (`workspace: {git: true}` brings it)"
        return f"is version control data{hint}"

    def _by_rules(self, found: Found, place: _Place) -> Judged:
        path, is_folder = found.path, found.is_folder
        if (why := self._wanted.excluded(path, is_folder)) is not None:
            return Judged(found, why)
        why = secret_reason(path, is_folder)
        if why is not None and not self._wanted.included_by_name(path, is_folder):
            return Judged(found, why, silent=place.mode is _Mode.HIDDEN)
        if place.mode is _Mode.INCLUDED or self._wanted.included(path, is_folder):
            return Judged(found)
        if place.mode is _Mode.HIDDEN:
            return Judged(found, "lies in a folder that is left out", silent=True)
        return Judged(found, self._soft_reason(found, place))

    def _soft_reason(self, found: Found, place: _Place) -> str | None:
        why = litter_reason(found.path, found.is_folder)
        if why is None and found.is_folder and _is_virtual_environment(found):
            why = "is a virtual environment"
        return why or place.ignoring.reason(found.path, found.is_folder)

    def _prepare(self, judged: Judged) -> None:
        """Note how the folder's own entries are judged; a folder without a note is not entered."""
        path = judged.found.path
        above = self._places[path.rpartition("/")[0]]
        if judged.why is not None:
            if not judged.firm and self._wanted.leads_into(path):
                self._places[path] = _Place(_Mode.HIDDEN, above.ignoring)
            return
        mode = above.mode
        if _is_git(judged.found):
            mode = _Mode.GIT
        elif mode is not _Mode.GIT and self._wanted.included(path, True):
            mode = _Mode.INCLUDED
        reads_rules = mode is _Mode.NORMAL
        ignoring = above.ignoring.below(self._rules, path) if reads_rules else above.ignoring
        self._places[path] = _Place(mode, ignoring)


def _is_git(found: Found) -> bool:
    return found.name.casefold() == GIT_FOLDER


def _firm_reason(found: Found) -> str | None:
    if not is_text_name(found.name):
        return "its name is not UTF-8"
    if len(found.path.encode()) > MAX_PATH_BYTES:
        return f"its path is longer than {MAX_PATH_BYTES} bytes"
    if found.name.casefold() == OWN_FOLDER:
        return "belongs to planloop"
    if found.is_folder and is_too_deep(found.path):
        return "is nested too deep"
    if found.is_link:
        return _link_reason(found)
    return special_reason(found)


def _link_reason(found: Found) -> str | None:
    try:
        target = os.readlink(found.name, dir_fd=found.folder)
    except OSError:
        return "changed while it was looked at"
    if not is_text_name(target):
        return "is a link to a name that is not UTF-8"
    if not link_stays_inside(found.path, target):
        return "is a link that leaves, or may leave, the folder"
    return None


def _is_virtual_environment(found: Found) -> bool:
    try:
        os.stat(f"{found.name}/pyvenv.cfg", dir_fd=found.folder, follow_symlinks=False)
    except OSError:
        return False
    return True
