"""What it costs to import planloop and build an agent, and to ask for help, beside its peers.

    python bench/startup.py [--turns N]

CPU (user and system) and wall time of whole processes, each subject in an environment of its own,
runs interleaved, medians shown. `import httpx`, alone in its environment, is the measure.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from targets import Target, machine, report

from environments import python_of, version_of

_ADD = '''
def add(a: int, b: int) -> int:
    """Add two numbers.

    Args:
        a: The first number.
        b: The second number.
    """
    return a + b
'''
_PLANLOOP = f"""
from planloop import Agent, Task, tool, Environment
{_ADD}
Agent(model="openai:gpt-5-mini", tools=[tool(effect="pure")(add)])
"""
_PYDANTIC_AI = f"""
from pydantic_ai import Agent
{_ADD}
Agent("openai-chat:gpt-5-mini", tools=[add])
"""
_SMOLAGENTS = f"""
from smolagents import OpenAIServerModel, ToolCallingAgent, tool
{_ADD}
ToolCallingAgent([tool(add)], OpenAIServerModel("gpt-5-mini"))
"""
_AGENT_FRAMEWORK = f"""
from agent_framework import Agent
from agent_framework.openai import OpenAIChatCompletionClient
{_ADD}
Agent(OpenAIChatCompletionClient("gpt-5-mini"), tools=[add])
"""


@dataclass(frozen=True)
class Subject:
    """One command in one environment."""

    name: str
    environment: str
    code: str | None
    """What Python runs; None for `planloop --help`."""

    def command(self, folder: Path) -> list[str]:
        """Code runs from a file, since a tool's source must be found by some peers."""
        python = python_of(self.environment)
        if self.code is None:
            return [str(python.with_name("planloop")), "--help"]
        script = folder / f"{self.name.replace(' ', '-')}.py"
        script.write_text(self.code)
        return [str(python), str(script)]


SUBJECTS = (
    Subject("pass", "bare", "pass\n"),
    Subject("import httpx", "bare", "import httpx\n"),
    Subject("planloop agent", "planloop", _PLANLOOP),
    Subject("planloop --help", "planloop", None),
    Subject("smolagents agent", "smolagents", _SMOLAGENTS),
    Subject("agent-framework agent", "agent-framework", _AGENT_FRAMEWORK),
    Subject("pydantic-ai agent", "pydantic-ai", _PYDANTIC_AI),
)
MEASURE = "import httpx"
MOST = {"planloop agent": 2.0, "planloop --help": 1.5}


@dataclass(frozen=True)
class Spent:
    """What one process took, in milliseconds."""

    cpu: float
    wall: float


def spent_by(command: list[str], folder: Path) -> Spent:
    """Run a command and measure it from outside."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "PLANLOOP"))}
    environment |= {"OPENAI_API_KEY": "none", "HOME": str(folder)}
    with (folder / "output").open("w+b") as output:
        started = time.perf_counter()
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=output, stderr=output
        )
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            output.seek(0)
            raise SystemExit(f"{command} failed:\n{output.read().decode()[-3000:]}")
    return Spent(cpu=1e3 * (usage.ru_utime + usage.ru_stime), wall=1e3 * wall)


def main() -> int:
    """Measure, print, and exit 1 if a target is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--turns", type=int, default=21, help="processes of each subject")
    parser.add_argument("--json", type=Path, help="where to write the numbers")
    options = parser.parse_args()
    print(machine())
    for environment in dict.fromkeys(subject.environment for subject in SUBJECTS):
        print(" ", version_of(environment, python_of(environment)))
    samples: dict[str, list[Spent]] = {subject.name: [] for subject in SUBJECTS}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        commands = {subject.name: subject.command(folder) for subject in SUBJECTS}
        for command in commands.values():
            spent_by(command, folder)  # compiles what is not compiled yet
        for _ in range(options.turns):
            for name in random.sample(list(commands), len(commands)):
                samples[name].append(spent_by(commands[name], folder))
    medians = {
        name: Spent(
            cpu=statistics.median(one.cpu for one in found),
            wall=statistics.median(one.wall for one in found),
        )
        for name, found in samples.items()
    }
    _print_table(medians)
    measure = medians[MEASURE].cpu
    targets = [
        Target(f"{name}: CPU", medians[name].cpu / measure, most) for name, most in MOST.items()
    ]
    return report(targets, options.json, medians)


def _print_table(medians: dict[str, Spent]) -> None:
    print(f"\n{'ms':24}     CPU    wall   CPU / `{MEASURE}`")
    for name, spent in medians.items():
        ratio = spent.cpu / medians[MEASURE].cpu
        print(f"{name:24}{spent.cpu:8.0f}{spent.wall:8.0f}{ratio:8.2f}x")


if __name__ == "__main__":
    sys.exit(main())
