"""The static checks, as tests, so that one summary holds them all."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [
        "ruff check --no-cache .",
        "ruff format --no-cache --check .",
        "mypy --strict",
        "lint-imports",
    ],
)
def test_the_source_passes(command: str) -> None:
    program, *arguments = command.split()
    ran = subprocess.run([BIN / program, *arguments], cwd=ROOT, capture_output=True, text=True)
    assert ran.returncode == 0, f"{command}\n{ran.stdout}{ran.stderr}"
