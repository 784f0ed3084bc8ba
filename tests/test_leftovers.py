"""The net under every test session catches what a test leaves behind."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parent
LEAVES_A_PROCESS = """
import os, subprocess
def test_leaves_a_process():
    subprocess.Popen(["sleep", "20"], start_new_session=True)
"""
LEAVES_A_FOLDER = """
import tempfile
def test_leaves_a_folder():
    tempfile.mkdtemp(prefix="planloop-")
"""
LEAVES_NOTHING = """
import subprocess, tempfile
def test_leaves_nothing():
    with tempfile.TemporaryDirectory(prefix="planloop-"):
        subprocess.run(["true"], check=True)
"""


@pytest.mark.parametrize("workers", [[], ["-n", "1"]], ids=["alone", "with a worker"])
@pytest.mark.parametrize(
    ("source", "said"),
    [
        pytest.param(LEAVES_A_PROCESS, "sleep 20", marks=pytest.mark.slow, id="a process"),
        pytest.param(LEAVES_A_FOLDER, "folder /tmp/plt-", id="a folder"),
        pytest.param(LEAVES_NOTHING, None, id="nothing"),
    ],
)
def test_a_session_fails_by_what_it_leaves_and_by_nothing_else(
    tmp_path: Path, source: str, said: str | None, workers: list[str]
) -> None:
    for name in ("conftest.py", "leftovers.py"):
        shutil.copy(TESTS / name, tmp_path)
    (tmp_path / "test_it.py").write_text(source)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *workers, "test_it.py"]
    marked = ("PLANLOOP_TEST_SESSION", "PLANLOOP_TEST_TEMPORARY")
    environment = {name: value for name, value in os.environ.items() if name not in marked}
    ran = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60
    )
    last = ran.stdout.rstrip().splitlines()[-1]
    if said is None:
        assert ran.returncode == 0, ran.stdout
        assert "1 passed" in last
    else:
        assert ran.returncode == 1, ran.stdout
        assert said in ran.stdout
        assert "1 passed, 1 error" in last
