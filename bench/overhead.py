"""What a round of the whole loop costs, beside the same of peers and a bare httpx loop as floor.

    python bench/overhead.py [--runs N] [SUBJECT ...]

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
from collections.abc import Iterator
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
    """Medians of one subject, in milliseconds."""

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


def cost_of(samples: list[dict[str, Any]]) -> Cost:
    """Medians over processes."""

    def median(rounds: int, which: int) -> float:
        return 1e3 * statistics.median(sample["runs"][str(rounds)][which] for sample in samples)

    marginal = [
        1e3 * (sample["runs"]["60"][0] - sample["runs"]["20"][0]) / 40 for sample in samples
    ]
    return Cost(
        cpu_a_round={rounds: median(rounds, 0) / rounds for rounds in (5, 20, 60)},
        wall_a_round={rounds: median(rounds, 1) / rounds for rounds in (5, 20, 60)},
        marginal_cpu=statistics.median(marginal),
    )


def targets(costs: dict[str, Cost], calls: dict[str, dict[str, float]]) -> Iterator[Target]:
    """What was promised, and whether it holds."""
    floor = costs[FLOOR]
    peers = {name: cost for name, cost in costs.items() if name not in (FLOOR, *OURS)}
    for ours in (name for name in OURS if name in costs):
        at_20 = costs[ours].cpu_a_round[20]
        yield Target(f"{ours}: CPU a round at 20 / bare", at_20 / floor.cpu_a_round[20], 2.0)
        for peer, cost in peers.items():
            ratio = at_20 / cost.cpu_a_round[20]
            yield Target(f"{ours}: CPU a round at 20 / {peer}", ratio, 1.0)
        ratio = costs[ours].marginal_cpu / floor.marginal_cpu
        yield Target(f"{ours}: marginal CPU of rounds 20-60 / bare", ratio, 2.5)
    for ours in (name for name in OURS if name in calls):
        for tool, seconds in calls[ours].items():
            yield Target(f"{ours}: eight calls of {tool} / 0.2 s", seconds / 0.2, 1.15)


def main() -> int:
    """Measure, print, and exit 1 if a target is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--runs", type=int, default=9, help="processes of each subject")
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
    samples: dict[str, list[dict[str, Any]]] = {subject.name: [] for subject in chosen}
    waits: dict[str, list[dict[str, float]]] = {subject.name: [] for subject in chosen}
    with server() as base:
        for _ in range(options.runs):
            for subject in chosen:
                samples[subject.name].append(run(subject, base, "rounds"))
        for _ in range(max(3, options.runs // 2)):
            for subject in chosen:
                waits[subject.name].append(run(subject, base, "calls"))
    costs = {name: cost_of(found) for name, found in samples.items()}
    calls = {
        name: {tool: statistics.median(one[tool] for one in found) for tool in found[0]}
        for name, found in waits.items()
    }
    _print_tables(costs, calls)
    return report(list(targets(costs, calls)), options.json, {"costs": costs, "calls": calls})


def _print_tables(costs: dict[str, Cost], calls: dict[str, dict[str, float]]) -> None:
    print("\nms a round             CPU at 5     20     60   20-60  wall at 5     20     60")
    for name, cost in costs.items():
        cpu = "".join(f"{cost.cpu_a_round[rounds]:7.2f}" for rounds in (5, 20, 60))
        wall = "".join(f"{cost.wall_a_round[rounds]:7.2f}" for rounds in (5, 20, 60))
        print(f"{name:24}{cpu}{cost.marginal_cpu:8.2f}  {wall}")
    print("\neight independent calls of 0.2 s, whole run, s   async  blocking")
    for name, found in calls.items():
        shown = [found.get(tool) for tool in ("wait_async", "wait_blocking")]
        print(f"{name:48}" + "".join(f"{one:8.3f}" if one else "       -" for one in shown))


if __name__ == "__main__":
    sys.exit(main())
