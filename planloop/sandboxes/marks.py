"""Names and owners of what a sandbox makes outside itself: after a crash it can be found."""

from __future__ import annotations

import os
import re
import secrets
import tempfile
from pathlib import Path


def owner() -> str:
    """Names this process by its id and the clock tick that it started at."""
    try:
        fields = Path("/proc/self/stat").read_text("utf-8", "replace").rpartition(")")[2].split()
    except OSError:
        return f"{os.getpid()}+0"
    return f"{os.getpid()}+{fields[19]}"


def mark(run_id: str) -> str:
    """A new name for something of a run: `planloop-RUN-XXXXXXXX`."""
    return f"planloop-{re.sub('[^A-Za-z0-9_.-]', '_', run_id)[:40]}-{secrets.token_hex(4)}"


def make_home(folder: Path, run_id: str) -> Path:
    """A new private folder for one sandbox, with its owner in the file `owner`."""
    folder.mkdir(parents=True, exist_ok=True)
    home = Path(tempfile.mkdtemp(prefix=f"{mark(run_id)}-", dir=folder.absolute()))
    (home / "owner").write_text(owner(), encoding="ascii")
    return home
