"""Where runs live: `.planloop/runs/ID` beside the work, and an index that finds them by id."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import secrets
import shutil
from pathlib import Path

from planloop.errors import UserError
from planloop.trace.log import TRACE_FILE

_ALPHABET = "23456789abcdefghjkmnpqrstuvwxyz"


def new_run_id() -> str:
    """A short id that is hard to mistype: eight characters without look-alikes."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(8))


def state_folder() -> Path:
    """The user's own folder for planloop's state (index of runs, consents)."""
    base = os.environ.get("XDG_STATE_HOME")
    return (Path(base) if base else Path.home() / ".local" / "state") / "planloop"


@dataclasses.dataclass(frozen=True)
class RunStore:
    """The runs of one folder."""

    root: Path
    """The folder that holds `.planloop`."""

    @property
    def runs(self) -> Path:
        """Where the runs' folders lie."""
        return self.root / ".planloop" / "runs"

    def create(self, run_id: str) -> Path:
        """Make a run's private folder and enter it in the index.

        Raises:
            UserError: the folder cannot be written, or `.planloop` is not ours.
        """
        home = self.root / ".planloop"
        try:
            _make_private(home)
            _ignore_itself(home / ".gitignore")
            _make_private(self.runs)
            folder = self.runs / run_id
            folder.mkdir(mode=0o700)
        except OSError as error:
            raise UserError(
                f"cannot write in `{home}`: {error.strerror}",
                hint="run from a folder that you may write to",
            ) from None
        _enter(run_id, folder)
        return folder

    def discard(self, folder: Path) -> None:
        """Take back what `create` made for a run that did not begin."""
        shutil.rmtree(folder, ignore_errors=True)
        with contextlib.suppress(OSError):
            (_index() / folder.name).unlink(missing_ok=True)
        home = self.root / ".planloop"
        with contextlib.suppress(OSError):  # not empty: there are other runs
            self.runs.rmdir()
            if [left.name for left in home.iterdir()] == [".gitignore"]:
                (home / ".gitignore").unlink()
                home.rmdir()

    def folders(self) -> list[Path]:
        """The runs' folders, oldest first."""
        found = [path.parent for path in self.runs.glob(f"*/{TRACE_FILE}")]
        return sorted(found, key=_changed_ns)

    def folders_below(self) -> list[Path]:
        """The same, with those of the folders below, as far as the index knows them."""
        below = (one for one in _indexed("*") if one.is_relative_to(self.root.resolve()))
        found = {folder.resolve() for folder in (*self.folders(), *below)}
        return sorted(found, key=_changed_ns)


def _changed_ns(folder: Path) -> int:
    return (folder / TRACE_FILE).stat().st_ctime_ns


def _make_private(folder: Path) -> None:
    """Make a folder that only the user may enter; one that came with a stranger's files is taken.

    Raises:
        UserError: it is a link, which would lead what is written elsewhere, or no folder.
    """
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    if folder.is_symlink() or not folder.is_dir():
        raise UserError(f"`{folder}` is not a folder of planloop's", hint="remove it")
    if folder.stat().st_mode & 0o077:
        folder.chmod(0o700)


def _ignore_itself(file: Path) -> None:
    with contextlib.suppress(FileExistsError), file.open("x") as new:  # never through a link
        new.write("*\n")


def find_run(name: str, root: Path) -> Path:
    """The folder of a run, by its path, its id or the beginning of its id.

    Raises:
        UserError: there is none, or several.
    """
    as_path = Path(name)
    if (as_path / TRACE_FILE).is_file():
        return as_path.resolve()
    if not name or any(character not in _ALPHABET for character in name):
        raise UserError(f"no run `{name}`", hint="`planloop list` shows the runs of this folder")
    near = {path.name: path for path in RunStore(root).folders() if path.name.startswith(name)}
    for folder in _indexed(f"{name}*"):
        near.setdefault(folder.name, folder)
    if name in near:
        return near[name]
    if len(near) == 1:
        return next(iter(near.values()))
    if near:
        raise UserError(f"several runs begin with `{name}`: {', '.join(sorted(near))}")
    raise UserError(f"no run `{name}`", hint="`planloop list` shows the runs of this folder")


def _index() -> Path:
    return state_folder() / "runs"


def _indexed(pattern: str) -> list[Path]:
    """The folders of runs that the index knows and that are still there."""
    entries = _index().glob(pattern) if _index().is_dir() else ()
    folders = (Path(entry.read_text().strip()) for entry in entries)
    return [folder for folder in folders if (folder / TRACE_FILE).is_file()]


def _enter(run_id: str, folder: Path) -> None:
    """Make the run findable from other folders; a home that cannot be written does without."""
    try:
        _index().mkdir(mode=0o700, parents=True, exist_ok=True)
        (_index() / run_id).write_text(str(folder.resolve()))
    except OSError:
        return
