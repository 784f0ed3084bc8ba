"""A private home and working folder for each test of the command line."""

from __future__ import annotations

from pathlib import Path

import pytest
from console import Shell, copy_task


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    home, folder = tmp_path / "home", tmp_path / "work"
    home.mkdir()
    folder.mkdir()
    return Shell(home, folder)


@pytest.fixture
def fix(shell: Shell) -> Path:
    """A small package with two bugs, and a replay that finds them one after the other."""
    return copy_task(shell, "fix")
