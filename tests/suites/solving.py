"""Runs of programming problems, by replays that are written on the way."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anyio

from planloop import Agent, Budget, Limits, Result, RunStatus, SandboxSpec
from planloop.events import Event, StatementEnded
from planloop.state import StatementResult
from tests.suites.problems import Problem
from tests.suites.running import block

_LIMITS = Limits(memory_bytes=1 << 30, timeout_s=30)


@dataclasses.dataclass(frozen=True)
class Solved:
    """How a run went."""

    result: Result
    statements: tuple[StatementResult, ...]

    @property
    def failed(self) -> list[str]:
        """The classes of the errors that statements ended with."""
        return [one.error.type for one in self.statements if one.error is not None]


def solve(problem: Problem, plans: Sequence[str], kind: str, folder: Path) -> Solved:
    """Run plans in order, one a round, over a folder that is made for it."""
    replay = folder.with_suffix(".jsonl")
    lines = [{"planloop_replay": 1, "name": problem.name}]
    lines += [{"reply": block(plan)} for plan in plans]
    replay.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    agent: Agent[None, Any] = Agent(
        model=f"replay:{replay}",
        sandbox=SandboxSpec(kind=kind, limits=_LIMITS),
        budget=Budget(rounds=len(plans)),
    )
    events: list[Event] = []

    async def go() -> None:
        async for event in agent.stream(problem.task(folder)):
            events.append(event)

    try:
        anyio.run(go)
    finally:
        agent.close()
    assert agent.result is not None
    ended = tuple(event.result for event in events if isinstance(event, StatementEnded))
    return Solved(agent.result, ended)


def the_solution_passes(problem: Problem, kind: str, folder: Path) -> None:
    """The plan that solves it ends in success, with the files of the solution."""
    solved = solve(problem, [problem.solution], kind, folder)
    result = solved.result
    assert result.status is RunStatus.SUCCESS, (result.reason, solved.statements)
    assert [check.passed for check in result.verdict.checks] == [True]
    assert result.verdict.by == "task"
    assert set(result.changed_files) == problem.solved.keys()
    for name, text in problem.files.items():
        assert (folder / name).read_text("utf-8") == text  # a run works on a copy


def doing_nothing_fails(problem: Problem, kind: str, folder: Path) -> Solved:
    """A plan that tests what is given, if there is one, and one that only says it is done."""
    plans = [*([problem.attempt] if problem.attempt else []), 'done("solved")']
    solved = solve(problem, plans, kind, folder)
    result = solved.result
    assert result.status is RunStatus.CAPPED, (result.reason, solved.statements)
    assert [check.passed for check in result.verdict.checks] == [False]
    assert result.changed_files == ()
    return solved
