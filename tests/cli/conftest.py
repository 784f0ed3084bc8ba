"""A private home and working folder for each test of the command line."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from console import Finished, Shell, copy_task


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return _shell(tmp_path)


@pytest.fixture
def fix(shell: Shell) -> Path:
    """A small package with two bugs, and a replay that finds them one after the other."""
    return copy_task(shell, "fix")


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """One run for all tests that only look at it."""
    shell = _shell(tmp_path_factory.mktemp("finished"))
    folder = copy_task(shell, "fix")
    (folder / ".env").write_text("KEY=1")
    return Finished(shell, folder, shell("run", "task.md", cwd=folder))


@pytest.fixture
def own_copy(finished: Finished, shell: Shell) -> Path:
    """A copy of that run's folder, to be changed."""
    folder = shell.folder / "fix"
    shutil.copytree(finished.folder, folder, symlinks=True)
    return folder


def _shell(base: Path) -> Shell:
    home, folder = base / "home", base / "work"
    home.mkdir()
    folder.mkdir()
    return Shell(home, folder)
