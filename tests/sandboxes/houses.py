"""The houses of a test session, one a mode, built when first needed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from .modes import MODES, House, Mode, house, why_not


class Houses:
    """Houses by the name of their mode. One that fell is built anew."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._built: dict[str, House] = {}
        self._kept = contextlib.ExitStack()

    def __getitem__(self, name: str) -> House:
        if name not in self._built:
            (mode,) = (mode for mode in MODES if mode.name == name)
            if reason := why_not(mode):
                pytest.skip(f"{name}: {reason}")
            self._built[name] = self._kept.enter_context(house(mode, self._folder))
        return self._built[name]

    def close(self) -> None:
        """End them all."""
        self._kept.close()


def in_modes(attacks: Iterable[Any]) -> list[Any]:
    """Parameters `mode, attack`: all in all modes. Those that are not quick are marked `slow`, as
    are all of a plain user's with control groups, which differ least from what else runs.
    """
    return [_parameter(mode, attack) for mode in MODES for attack in attacks]


def _parameter(mode: Mode, attack: Any) -> Any:
    marks = [pytest.mark.docker] if mode.kind == "docker" else []
    if not attack.quick or (mode.plain and mode.cgroup):
        marks.append(pytest.mark.slow)
    return pytest.param(mode.name, attack, id=f"{mode}: {attack}", marks=marks)
