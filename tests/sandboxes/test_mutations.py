"""Each hardening flag, taken away in turn, makes a test fail; the table of them is the page's.

A mutant is a copy of planloop without the flag, run by a house: nothing in planloop knows of it.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

import planloop

from . import test_attacks, test_attacks_posture, test_walls_outside
from .attacks import launch
from .houses import Houses
from .inventory import NO_WALLS, inventory
from .modes import MODES, TESTS, House, HouseError, Mode, house, why_not
from .walls import DOCKER, ROOT, WALLS, Wall, table, without

PACKAGE = Path(planloop.__file__).parent
PAGE = TESTS.parent / "docs" / "security.md"

Detector = Callable[[House, Mode], object]


def _alone(test: Callable[..., None]) -> Detector:
    return lambda one, mode: test({mode.name: one}, mode)


def _attack(name: str) -> Detector:
    (attack,) = (attack for attack in test_attacks.ATTACKS if str(attack) == name)
    return lambda one, mode: launch(one, attack)


def _listed(one: House, mode: Mode) -> None:
    assert one.run(inventory).result == sorted({wall.flag for wall in WALLS})


DETECTORS: dict[str, Detector] = {
    "posture": _alone(test_attacks_posture.test_the_posture_is_exactly_this),
    "escapes": _alone(test_attacks_posture.test_no_way_out_is_open_to_a_shell),
    "network": _alone(test_attacks_posture.test_no_way_out_is_open_by_the_network),
    "outside": _alone(test_walls_outside.test_processes_and_settings_seen_from_outside),
    "filter": _alone(test_walls_outside.test_the_filter_refuses_all_that_is_listed),
    "listed": _listed,
    "start": _listed,
}
"""What fails without a flag, by its name in the table; other names are attacks."""
QUICK = {
    *("bwrap --cap-drop", "bwrap --remount-ro /", "bwrap --add-seccomp-fd", "stage --reuid"),
    *("room size", "cgroup pids.max", "guest limit: RLIMIT_NPROC", "docker read_only"),
    *("docker cap_drop", "guest keep: prctl(PR_SET_DUMPABLE, 0)", "seccomp ptrace", "bwrap env"),
}


def _parameters() -> list[object]:
    return [
        pytest.param(
            wall,
            id=wall.flag,
            marks=[
                *([pytest.mark.docker] if wall.mode == DOCKER else []),
                *([] if wall.flag in QUICK else [pytest.mark.slow]),
            ],
        )
        for wall in WALLS
    ]


@pytest.mark.parametrize("wall", _parameters())
def test_a_missing_flag_is_noticed(wall: Wall) -> None:
    (mode,) = (mode for mode in MODES if mode.name == wall.mode)
    if reason := why_not(mode):
        pytest.skip(reason)
    with tempfile.TemporaryDirectory(prefix="mutant-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        _copy_without(wall, folder)
        environment = _running(folder)
        noticed = HouseError if wall.seen_by == "start" else AssertionError
        with house(mode, folder, environment) as mutant, pytest.raises(noticed):
            detect(wall, mutant, mode)


def detect(wall: Wall, mutant: House, mode: Mode) -> None:
    """Run what must fail."""
    (DETECTORS.get(wall.seen_by) or _attack(wall.seen_by))(mutant, mode)


def _running(folder: Path) -> dict[str, str]:
    """The environment of a house that runs the copy in a folder."""
    return {"PYTHONPATH": f"{folder}{os.pathsep}{TESTS}", "PYTHONDONTWRITEBYTECODE": "1"}


def _copy_without(wall: Wall, folder: Path) -> None:
    """A package whose files are links to the real ones, but for the one that lacks the flag."""
    for real, copy in (
        (PACKAGE, folder / "planloop"),
        (PACKAGE / "sandboxes", folder / "planloop" / "sandboxes"),
    ):
        copy.mkdir()
        for path in real.iterdir():
            if path.name not in ("sandboxes", "__pycache__", wall.file):
                (copy / path.name).symlink_to(path)
    source = (PACKAGE / "sandboxes" / wall.file).read_text("utf-8")
    target = folder / "planloop" / "sandboxes" / wall.file
    mutated = without(wall, source)
    compile(mutated, target, "exec")
    target.write_text(mutated, "utf-8")


def test_a_whole_copy_is_not_noticed() -> None:
    """A mutant is noticed for what it lacks, not for being a copy."""
    (mode,) = (mode for mode in MODES if mode.name == ROOT)
    if reason := why_not(mode):
        pytest.skip(reason)
    with tempfile.TemporaryDirectory(prefix="mutant-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        _copy_without(Wall("none", "guest.py", "limit", "limit", ROOT, "listed"), folder)
        with house(mode, folder, _running(folder)) as copy:
            for detector in DETECTORS.values():
                detector(copy, mode)


def test_the_code_sets_the_flags_of_the_table(houses: Houses) -> None:
    (mode,) = (mode for mode in MODES if mode.name == ROOT)
    _listed(houses[ROOT], mode)
    assert not NO_WALLS & {wall.flag for wall in WALLS}


def test_the_page_lists_every_flag_and_its_test() -> None:
    assert table() in PAGE.read_text("utf-8")
