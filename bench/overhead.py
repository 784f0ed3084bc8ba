"""What a round of the whole loop costs, beside the same of peers and a bare httpx loop as floor.

    python bench/overhead.py [--turns N] [SUBJECT ...]

One scripted server answers at once; each round is one call of a trivial tool of the host. Every
run has an agent of its own; the first one of a process, which loads what is loaded lazily, is not
counted. Runs of all subjects are interleaved; medians are shown.
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
from typing import Any

from targets import Target, machine, report

from environments import python_of, version_of

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Subject:
    """One loop in one form."""

    name: str
    environment: str
    driver: str
    form: str = "native"


SUBJECTS = (
    Subject("bare httpx loop", "bare", "with_nothing.py"),
    Subject("planloop, tool calls", "planloop", "with_planloop.py"),
    Subject("planloop, python", "planloop", "with_planloop.py", "python"),
    Subject("agent-framework", "agent-framework", "with_agent_framework.py"),
    Subject("smolagents", "smolagents", "with_smolagents.py", "final"),
    Subject("pydantic-ai", "pydantic-ai", "with_pydantic_ai.py"),
)
FLOOR, OURS = SUBJECTS[0].name, (SUBJECTS[1].name, SUBJECTS[2].name)


@dataclass(frozen=True)
class Cost:
    """What one process of a driver spent, in milliseconds of CPU and wall time."""

    first_cpu: float
    """The first run, of three rounds, with what it loads."""
    cpu_a_round: dict[int, float]
    wall_a_round: dict[int, float]
    marginal_cpu: float
    """A round's CPU between the 20th and the 60th."""


@contextmanager
def server() -> Iterator[str]:
    """The scripted server's address, for the length of the block."""
    command = [sys.executable, HERE / "server.py"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.stdin.close()


def run(subject: Subject, base: str, what: str) -> dict[str, Any]:
    """One process of a driver."""
    command = [python_of(subject.environment), HERE / "peers" / subject.driver, base]
    ran = subprocess.run(
        [*command, subject.form, what], capture_output=True, text=True, env=_environment()
    )
    if ran.returncode != 0:
        raise SystemExit(f"{subject.name} failed:\n{ran.stderr[-3000:]}")
    found: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
    return found


def _environment() -> dict[str, str]:
    quiet = {"OTEL_SDK_DISABLED": "true", "NO_PROXY": "127.0.0.1"}
    return {**{k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}, **quiet}


def cost_of(found: dict[str, Any]) -> Cost:
    """What a driver printed, as a cost."""
    runs = {int(rounds): (1e3 * cpu, 1e3 * wall) for rounds, (cpu, wall) in found["runs"].items()}
    return Cost(
        first_cpu=1e3 * found["first"][0],
        cpu_a_round={rounds: cpu / rounds for rounds, (cpu, _) in runs.items()},
        wall_a_round={rounds: wall / rounds for rounds, (_, wall) in runs.items()},
        marginal_cpu=(runs[60][0] - runs[20][0]) / 40,
    )


def targets(costs: dict[str, list[Cost]], calls: dict[str, dict[str, float]]) -> Iterator[Target]:
    """What was promised, and whether it holds. Ratios are taken within each turn."""

    def at_20(cost: Cost) -> float:
        return cost.cpu_a_round[20]

    def marginal(cost: Cost) -> float:
        return cost.marginal_cpu

    def ratio(one: str, other: str, of: Callable[[Cost], float]) -> float:
        pairs = zip(costs[one], costs[other], strict=True)
        return statistics.median(of(mine) / of(theirs) for mine, theirs in pairs)

    peers = [name for name in costs if name not in (FLOOR, *OURS)]
    for ours in (name for name in OURS if name in costs):
        yield Target(f"{ours}: CPU a round at 20 / bare", ratio(ours, FLOOR, at_20), 2.0)
        for peer in peers:
            yield Target(f"{ours}: CPU a round at 20 / {peer}", ratio(ours, peer, at_20), 1.0)
        name = f"{ours}: marginal CPU of rounds 20-60 / bare"
        yield Target(name, ratio(ours, FLOOR, marginal), 2.5)
        for tool, seconds in calls[ours].items():
            yield Target(f"{ours}: eight calls of {tool} / 0.2 s", seconds / 0.2, 1.15)


def main() -> int:
    """Measure, print, and exit 1 if a target is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--turns", type=int, default=9, help="processes of each subject")
    parser.add_argument("--json", type=Path, help="where to write the numbers")
    parser.add_argument("subjects", nargs="*", help="only those whose name holds one of these")
    options = parser.parse_args()
    chosen = [
        subject
        for subject in SUBJECTS
        if subject.name == FLOOR
        or not options.subjects
        or any(part in subject.name for part in options.subjects)
    ]
    print(machine())
    for environment in dict.fromkeys(subject.environment for subject in chosen):
        print(" ", version_of(environment, python_of(environment)))
    costs, calls = measured(chosen, options.turns)
    _print_tables(costs, calls)
    return report(list(targets(costs, calls)), options.json, {"costs": costs, "calls": calls})


def measured(
    subjects: list[Subject], turns: int
) -> tuple[dict[str, list[Cost]], dict[str, dict[str, float]]]:
    """Every subject once a turn; costs by turn, and the median time of eight slow calls."""
    costs: dict[str, list[Cost]] = {subject.name: [] for subject in subjects}
    waits: dict[str, list[dict[str, float]]] = {subject.name: [] for subject in subjects}
    with server() as base:
        for _ in range(turns):
            for subject in subjects:
                costs[subject.name].append(cost_of(run(subject, base, "rounds")))
                waits[subject.name].append(run(subject, base, "calls"))
    medians = {
        name: {tool: statistics.median(one[tool] for one in found) for tool in found[0]}
        for name, found in waits.items()
    }
    return costs, medians


def _print_tables(costs: dict[str, list[Cost]], calls: dict[str, dict[str, float]]) -> None:
    heads = (
        f"{'CPU at 5     20     60   20-60':>31}{'wall at 5     20     60':>25}{'first run':>11}"
    )
    print(f"\n{'ms a round':22}{heads}")
    for name, found in costs.items():
        cpu = "".join(_shown(found, lambda c, n=rounds: c.cpu_a_round[n]) for rounds in (5, 20, 60))
        wall = "".join(
            _shown(found, lambda c, n=rounds: c.wall_a_round[n]) for rounds in (5, 20, 60)
        )
        marginal = _shown(found, lambda c: c.marginal_cpu)
        first = statistics.median(cost.first_cpu for cost in found)
        print(f"{name:24}{cpu} {marginal}     {wall}{first:11.0f}")
    print("\neight independent calls of 0.2 s, whole run, s   async  blocking")
    for name, times in calls.items():
        shown = [times.get(tool) for tool in ("wait_async", "wait_blocking")]
        print(f"{name:48}" + "".join(f"{one:8.3f}" if one else "       -" for one in shown))


def _shown(costs: list[Cost], of: Callable[[Cost], float]) -> str:
    return f"{statistics.median(of(cost) for cost in costs):7.2f}"


if __name__ == "__main__":
    sys.exit(main())
