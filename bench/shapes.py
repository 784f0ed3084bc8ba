"""Whole tasks at the pace of a real model, beside peers and beside what is possible.

    python bench/shapes.py [--turns N] [SUBJECT ...]

`shapes_model.py` says what the model says and when, and how fast anyone could be with it. Wall
times of whole runs; medians of the turns.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import shapes_model as model
from targets import Target, machine, report

from environments import python_of, version_of

HERE = Path(__file__).resolve().parent
EVEN = [f"{'x'.join([str(width)] * depth)}" for depth in (1, 2, 4) for width in (2, 4, 8)]
UNEVEN = "1x8x2x4"
SHAPES = (*EVEN, UNEVEN)
DEEP = tuple(shape for shape in SHAPES if len(model.widths(shape)) == 4)
LOOPED = "4x4x4x4"
_MOST_IN_A_ROW = 16
"""Calls that are made one after the other, so that the whole ends in time."""


@dataclass(frozen=True)
class Subject:
    """One agent in one form."""

    name: str
    environment: str
    driver: str
    form: str
    limit_s: Callable[[str], float]
    """Of the form, by shape."""
    shapes: tuple[str, ...] = SHAPES


def _by_turns(form: str) -> Callable[[str], float]:
    return lambda shape: model.turns_limit_s(shape, form)


_IN_A_ROW = tuple(shape for shape in SHAPES if sum(model.widths(shape)) <= _MOST_IN_A_ROW)
OURS = Subject("planloop, flow", "planloop", "planloop", "flow", model.flow_limit_s)
LOOP = Subject(
    "planloop, program", "planloop-sandboxes", "planloop", "program", model.program_limit_s,
    (LOOPED,),
)  # fmt: skip
PEERS = (
    Subject("agent-framework", "agent-framework", "agent_framework", "native", _by_turns("native")),
    Subject("smolagents", "smolagents", "smolagents", "final", _by_turns("final")),
    Subject("smolagents, code", "smolagents", "smolagents", "code", model.code_limit_s, _IN_A_ROW),
    Subject("pydantic-ai", "pydantic-ai", "pydantic_ai", "native", _by_turns("native")),
)

Times = dict[str, dict[str, float]]
"""Seconds by subject and shape."""


@contextmanager
def server() -> Iterator[str]:
    """The scripted server's address, for the length of the block."""
    command = [sys.executable, HERE / "shapes_server.py"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.stdin.close()


def run(subject: Subject, base: str) -> dict[str, float]:
    """One process of a driver: seconds by shape."""
    driver = HERE / "peers" / f"shapes_of_{subject.driver}.py"
    command = [python_of(subject.environment), driver, base, subject.form, *subject.shapes]
    ran = subprocess.run(command, capture_output=True, text=True, env=_environment())
    if ran.returncode != 0:
        raise SystemExit(f"{subject.name} failed:\n{ran.stderr[-3000:]}")
    found: dict[str, float] = json.loads(ran.stdout.splitlines()[-1])
    return found


def _environment() -> dict[str, str]:
    quiet = {"OTEL_SDK_DISABLED": "true", "NO_PROXY": "127.0.0.1"}
    return {**{k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}, **quiet}


def measured(subjects: list[Subject], turns: int) -> Times:
    """Medians of the turns; in each of them every subject runs every shape once."""
    found: dict[str, list[dict[str, float]]] = {subject.name: [] for subject in subjects}
    with server() as base:
        for _ in range(turns):
            for subject in subjects:
                found[subject.name].append(run(subject, base))
    return {
        name: {shape: statistics.median(one[shape] for one in runs) for shape in runs[0]}
        for name, runs in found.items()
    }


def targets(times: Times) -> Iterator[Target]:
    """What was promised, and whether it holds."""
    peers = [subject.name for subject in PEERS if subject.name in times]

    def best(shape: str) -> float:
        return min(times[name][shape] for name in peers if shape in times[name])

    if OURS.name in times:
        for shape, seconds in times[OURS.name].items():
            yield Target(f"flow {shape} / its limit", seconds / model.flow_limit_s(shape), 1.05)
        for shape in DEEP if peers else ():
            ratio = times[OURS.name][shape] / best(shape)
            yield Target(f"flow {shape} / the best peer", ratio, 1 / 1.35)
    if LOOP.name in times and peers:
        ratio = times[LOOP.name][LOOPED] / best(LOOPED)
        yield Target(f"program with loops {LOOPED} / the best peer", ratio, 0.5)


def main() -> int:
    """Measure, print, and exit 1 if a target is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--turns", type=int, default=1, help="processes of each subject")
    parser.add_argument("--json", type=Path, help="where to write the numbers")
    parser.add_argument("subjects", nargs="*", help="only those whose name holds one of these")
    options = parser.parse_args()
    chosen = [
        subject
        for subject in (OURS, LOOP, *PEERS)
        if not options.subjects or any(part in subject.name for part in options.subjects)
    ]
    print(machine())
    for environment in dict.fromkeys(subject.environment for subject in chosen):
        print(" ", version_of(environment, python_of(environment)))
    times = measured(chosen, options.turns)
    _print_table(chosen, times)
    return report(list(targets(times)), options.json, times)


def _print_table(subjects: list[Subject], times: Times) -> None:
    print(f"\n{'seconds (limit)':20}" + "".join(f"{shape:>14}" for shape in SHAPES))
    for subject in subjects:
        cells = (_cell(times[subject.name].get(shape), subject, shape) for shape in SHAPES)
        print(f"{subject.name:20}" + "".join(f"{cell:>14}" for cell in cells))
    whole = (f"({model.whole_flow_limit_s(shape):.2f})" for shape in SHAPES)
    print(f"{'flow, not streamed':20}" + "".join(f"{cell:>14}" for cell in whole))


def _cell(seconds: float | None, subject: Subject, shape: str) -> str:
    return "-" if seconds is None else f"{seconds:.2f} ({subject.limit_s(shape):.2f})"


if __name__ == "__main__":
    sys.exit(main())
