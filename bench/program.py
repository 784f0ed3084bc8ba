"""What programs cost: a statement, a tool call from inside, and undoing half a statement.

    python bench/program.py [--turns N] [--json FILE] [SUBJECT ...]

Beside planloop in both kinds of sandbox: a bare `exec` loop over pipes, a Jupyter kernel and the
local executor of smolagents. Each is a process of its own in an environment of its own
(`peers/programs_of_*.py`), and all are asked in turn. Medians of one run are shown.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from sandbox import Driver, Subject
from targets import Target, machine, report

from environments import python_of, version_of

SUBJECTS = (
    Subject("planloop bubblewrap", "planloop-sandboxes", "programs_of_planloop.py", "bubblewrap"),
    Subject("planloop docker", "planloop-sandboxes", "programs_of_planloop.py", "docker"),
    Subject("bare exec loop", "floors", "programs_of_a_bare_loop.py"),
    Subject("jupyter kernel", "jupyter", "programs_of_jupyter.py"),
    Subject("smolagents, in process", "smolagents", "programs_of_smolagents.py"),
)
SIZES = (10, 1_000, 10_000)
"""Bytes that a call is given, and returns."""
LIVE = (10, 500)
"""Megabytes of live data."""
Found = dict[str, dict[str, Any]]


def measured(subjects: Sequence[Subject], turns: int) -> Found:
    """Everything, by subject and by what was measured."""
    found: Found = {subject.name: {"statements": []} for subject in subjects}
    with contextlib.ExitStack() as open_drivers:
        drivers = [open_drivers.enter_context(contextlib.closing(Driver(s))) for s in subjects]
        for turn in range(turns):
            _say(f"turn {turn + 1} of {turns}")
            for driver in drivers:
                _take_turn(driver, found[driver.subject.name])
        for driver in drivers:
            _say(driver.subject.name)
            for megabytes in LIVE:
                undone = driver.ask("undo", megabytes=megabytes, times=9 if megabytes < 100 else 5)
                found[driver.subject.name][f"undo {megabytes}"] = undone
    return found


def _take_turn(driver: Driver, found: dict[str, Any]) -> None:
    found["statements"] += driver.ask("statements", count=100)
    for size in SIZES:
        found.setdefault(f"calls {size}", []).extend(driver.ask("calls", count=100, size=size))
    if _is_ours(driver.subject.name):
        found.setdefault("fresh", []).extend(driver.ask("fresh", count=10))
        found.setdefault("in a run", []).append(driver.ask("in_a_run", few=20, many=220))
        kept = driver.ask("calls", count=50, size=10, effect="external", on_disk=True)
        found.setdefault("kept", []).extend(kept)


def print_tables(found: Found) -> None:
    """Every subject on one line, then what only planloop has."""
    calls = "".join(f"{f'call {size} B':>13}" for size in SIZES)
    undo = "".join(f"{f'well {live} MB':>14}{f'undone {live} MB':>15}" for live in LIVE)
    print(f"\n{'ms':26}{'statement':>10}{calls}{undo}")
    for name, one in found.items():
        cells = f"{_median(one['statements']):10.3f}"
        cells += "".join(f"{_median(one[f'calls {size}']):13.3f}" for size in SIZES)
        for live in LIVE:
            took = one[f"undo {live}"]
            cells += f"{_median(took['well']):14.1f}{_median(took['undone']):15.1f}"
        print(f"{name:26}{cells}")
    for name, one in found.items():
        if _is_ours(name):
            print(
                f"\n{name}: a fresh python3 call {_median(one['fresh']):.1f} ms, "
                f"a statement in a whole run {_median(one['in a run']):.2f} ms, "
                f"a call of an external tool with the run on disk {_median(one['kept']):.2f} ms"
            )


def targets(found: Found) -> Iterator[Target]:
    """What was promised, in each kind of sandbox."""
    for name in filter(_is_ours, found):
        one = found[name]
        statement = _median(one["statements"])
        yield Target(f"{name}: a statement", statement, 0.5, " ms")
        ratio = statement / _median(one["fresh"])
        yield Target(f"{name}: a statement / a fresh python3 call", ratio, 1 / 20)
        for size in SIZES:
            took = _median(one[f"calls {size}"])
            yield Target(f"{name}: a tool call from inside, {size} bytes", took, 1.0, " ms")


def _is_ours(name: str) -> bool:
    return name.startswith("planloop")


def _median(values: Sequence[float]) -> float:
    return statistics.median(values)


def _say(text: str) -> None:
    print(f"  {text}", file=sys.stderr, flush=True)


def main() -> int:
    """Measure, print, and exit 1 if a target is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--turns", type=int, default=10, help="rounds over all subjects")
    parser.add_argument("--json", type=Path, help="where to write the numbers")
    parser.add_argument("subjects", nargs="*", help="only those whose name holds one of these")
    options = parser.parse_args()
    chosen = [
        subject
        for subject in SUBJECTS
        if not options.subjects or any(part in subject.name for part in options.subjects)
    ]
    print(machine())
    for environment in dict.fromkeys(subject.environment for subject in chosen):
        print(" ", version_of(environment, python_of(environment)))
    found = measured(chosen, options.turns)
    print_tables(found)
    return report(list(targets(found)), options.json, found)


if __name__ == "__main__":
    sys.exit(main())
