"""`python -m planloop` is the console script."""

from __future__ import annotations

import subprocess
import sys


def test_the_package_runs_as_a_program() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "planloop", "--version"], capture_output=True, text=True, check=True
    )
    assert ran.stdout.startswith("planloop")
