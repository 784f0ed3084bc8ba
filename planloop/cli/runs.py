"""Where runs and their folders are."""

from __future__ import annotations

from pathlib import Path

from planloop.errors import UserError


def folder_of(run_dir: Path) -> Path:
    """The folder that a run worked on a copy of: the one that holds its `.planloop`.

    Taken from where the run's folder lies, never from what is written in it: a trace is a
    stranger's data, and must not choose which folder is changed.

    Raises:
        UserError: the run's folder lies elsewhere.
    """
    runs = run_dir.parent
    if runs.name != "runs" or runs.parent.name != ".planloop":
        raise UserError(
            f"`{run_dir}` does not lie in the `.planloop/runs` of a folder",
            hint="move it back to where the run was made",
        )
    for place in (run_dir, runs, runs.parent):
        if place.is_symlink():
            raise UserError(
                f"`{place}` is a link: the run belongs to another folder",
                hint="go to the folder that it was made in",
            )
    return runs.parent.parent


def current_folder() -> Path:
    """The current folder.

    Raises:
        UserError: it does not exist any more.
    """
    try:
        return Path.cwd()
    except FileNotFoundError:
        raise UserError("the current folder does not exist any more", hint="`cd` to one") from None
