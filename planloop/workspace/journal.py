"""The undo journal of a run's apply: on disk before the first write in the user's folder."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any, Literal, get_args

from planloop.errors import TraceDamaged
from planloop.workspace.changes import read_json, write_durably
from planloop.workspace.protected import is_protected, is_sound

JOURNAL_FILE = "apply.json"
State = Literal["applying", "applied", "undone"]
_VERSION = 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class OldFile:
    """What a file had besides its content."""

    mode: int
    mtime_ns: int
    uid: int
    gid: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Journal:
    """One apply: how far it is, and what undo needs besides the saved contents."""

    state: State
    folder: str
    token: str
    """In the names of its temporary files."""
    made: tuple[str, ...]
    """Folders that it makes."""
    removed: tuple[tuple[str, int], ...]
    """Folders that it may empty and remove, with their modes."""
    old: dict[str, OldFile]


def write_journal(run_dir: Path, journal: Journal) -> None:
    """Put the journal on disk, at once and for good."""
    write_durably(run_dir / JOURNAL_FILE, {"version": _VERSION, **dataclasses.asdict(journal)})


def read_journal(run_dir: Path) -> Journal | None:
    """The journal of the run's last apply; None if there was none.

    Raises:
        TraceDamaged: it is not as planloop writes it.
    """
    plain = read_json(run_dir, JOURNAL_FILE)
    if plain is None:
        return None
    try:
        return _journal(plain)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise TraceDamaged(f"`{run_dir / JOURNAL_FILE}` is damaged: {error}") from None


def _journal(plain: Any) -> Journal:
    state, token = plain["state"], str(plain["token"])
    if plain["version"] != _VERSION or state not in get_args(State):
        raise ValueError("its version or state is not known")
    if not re.fullmatch(r"[0-9a-f]{16}", token):
        raise ValueError("its token is none")
    return Journal(
        state=state,
        folder=str(plain["folder"]),
        token=token,
        made=tuple(_path(path) for path in plain["made"]),
        removed=tuple((_path(path), _number(mode) & 0o7777) for path, mode in plain["removed"]),
        old={
            _path(path): _old_file(OldFile(**{name: _number(old[name]) for name in old}))
            for path, old in plain["old"].items()
        },
    )


def _old_file(old: OldFile) -> OldFile:
    if not (0 <= old.uid < 1 << 32 and 0 <= old.gid < 1 << 32 and old.mode >= 0):
        raise ValueError("a file's owner or mode is none")
    return old


def _number(value: Any) -> int:
    if not isinstance(value, int) or abs(value) >= 1 << 63:
        raise ValueError(f"{str(value)[:80]!r} is no number that a file has")
    return value


def _path(path: Any) -> str:
    if not isinstance(path, str) or not is_sound(path) or is_protected(path):
        raise ValueError(f"{path!r} is no path that an apply touches")
    return path
