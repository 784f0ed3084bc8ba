"""Targets, and how they are reported."""

from __future__ import annotations

import dataclasses
import json
import os
import platform
from pathlib import Path
from typing import Any


@dataclasses.dataclass(frozen=True)
class Target:
    """A ratio, or what is counted in `unit`, that was promised to be at most so much."""

    name: str
    ratio: float
    most: float
    unit: str = "x"

    @property
    def holds(self) -> bool:
        """Whether it does."""
        return self.ratio <= self.most


def machine() -> str:
    """What the numbers were taken on."""
    load = os.getloadavg()[0]
    python = platform.python_version()
    return f"Python {python}, {platform.machine()}, {os.cpu_count()} cores, load {load:.1f}"


def report(targets: list[Target], path: Path | None, measured: Any) -> int:
    """Print each target with PASS or MISS; 1 if one is missed."""
    print()
    for target in targets:
        said = "PASS" if target.holds else "MISS"
        most = f"{target.most:.3g}{target.unit}"
        print(f"{said}  {target.ratio:7.3f}{target.unit} of at most {most}  {target.name}")
    if path is not None:
        document = {"machine": machine(), "targets": targets, "measured": measured}
        path.write_text(json.dumps(document, default=dataclasses.asdict, indent=1) + "\n")
    return 0 if all(target.holds for target in targets) else 1
