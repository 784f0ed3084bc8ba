"""A pip to begin with, for sandboxes whose python brings none."""

from __future__ import annotations

import importlib.util
import sysconfig
from pathlib import Path


def bundled_pip() -> tuple[str, bytes] | None:
    """Name and bytes of the wheel of pip that this interpreter carries; None if it has none."""
    for folder in _places():
        wheels = sorted(folder.glob("pip-*-py3-none-any.whl"))
        if wheels:
            return wheels[-1].name, wheels[-1].read_bytes()
    return None


def _places() -> tuple[Path, ...]:
    found = importlib.util.find_spec("ensurepip")
    bundled = [Path(found.origin).parent / "_bundled"] if found and found.origin else []
    distribution = sysconfig.get_config_var("WHEEL_PKG_DIR")
    return (*bundled, *([Path(distribution)] if distribution else []))
