"""What a run knows: rounds of plan, execution and feedback, checks, and how a run ends."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from enum import StrEnum
from typing import Literal

from planloop.budget import Usage
from planloop.observation import Failure, Observation, Output, Status
from planloop.plan import Place, Plan
from planloop.task import Check, Task
from planloop.tool import Effect
from planloop.values import Value


class RunStatus(StrEnum):
    """How a run ended."""

    SUCCESS = "success"
    """Every pinned check passed."""
    ANSWERED = "answered"
    """It came to its end, and no check could prove it."""
    FAILED = "failed"
    """The planner gave up."""
    CAPPED = "capped"
    STUCK = "stuck"
    PARKED = "parked"
    INTERRUPTED = "interrupted"
    ERROR = "error"


PlanMode = Literal["first", "rest", "whole"]
"""`first` of a lineage; `rest`: what remains; `whole`: all again, from its first statement."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class StatementResult:
    """How one statement of a plan ended."""

    index: int
    text: str
    line: int
    status: Status
    """`ok`, `failed`, `skipped` or `diverged`."""
    error: Failure | None = None
    has_workspace_effect: bool = False
    value: str | None = None
    """What a bare expression of a program came to, as text."""
    stdout: Output | None = None
    """What a program's statement printed."""
    stderr: Output | None = None
    changed_files: tuple[str, ...] = ()
    """Paths that a program's statement changed by itself, and not by a tool."""
    duration_s: float = 0.0
    """Of a program's statement, its calls included."""
    kept: bool = False
    """It had finished before, and did not run again."""
    scope: str | None = None
    """Of a program's statement: the comment above it."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class CallResult:
    """One call of one execution, as the planner is told of it."""

    serial: int
    place: Place
    line: int
    tool: str
    arguments: dict[str, Value]
    effect: Effect
    poll: bool
    observation: Observation
    result_hash: str
    """Equal for equal results."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class PinnedCheck:
    """A check as it was fixed before the work that it judges."""

    check: Check
    proposed: bool = False
    """By the planner; the task named none."""
    passes_untouched: bool | None = None
    """Whether a proposed check passed before any work was done."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Execution:
    """What carrying out one plan came to."""

    mode: PlanMode
    statements: tuple[StatementResult, ...] = ()
    calls: tuple[CallResult, ...] = ()
    notes: tuple[str, ...] = ()
    done: bool = False
    """The plan reached `done`, or was an answer."""
    output: Value = None
    """What `done` was given."""
    gave_up: str | None = None
    proposed: tuple[PinnedCheck, ...] = ()
    bound: dict[str, Value] = dataclasses.field(default_factory=dict)
    """Names that finished statements bound."""
    living: frozenset[str] | None = None
    """All names that live in the interpreter of programs; None if that is as before."""
    lost: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Names that went with an interpreter, and what they held."""
    replayed: str = ""
    """How the state came back after the interpreter was lost; empty if it was not."""
    changed_files: tuple[str, ...] = ()
    open_external: tuple[int, ...] = ()
    """Serial numbers of finished external calls of statements that did not finish."""
    unmatched: tuple[int, ...] = ()
    """Serial numbers of finished external calls that a whole again did not repeat."""
    undone: bool = False
    """A half-executed statement was undone: the files are as they were before it."""
    went_back: str | None = None
    """Why the workspace was restored and the plan run from its top, if it was."""
    rejected: str | None = None
    """Why the plan was not approved; nothing ran then."""

    @property
    def failures(self) -> tuple[StatementResult, ...]:
        """Statements that failed or diverged, in the order of the text."""
        bad = (Status.FAILED, Status.DIVERGED)
        return tuple(found for found in self.statements if found.status in bad)

    @property
    def completed(self) -> bool:
        """Whether the plan ran to its end."""
        return not self.failures and self.rejected is None


@dataclasses.dataclass(frozen=True)
class Rejected:
    """A plan that was not approved, and why."""

    plan: Plan
    why: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class CheckResult:
    """How one check came out, and what may be said of it."""

    label: str
    passed: bool
    detail: str = ""
    """Why it failed: bounded output of the command, or what the file lacked."""
    by: Literal["sandbox", "host"] = "sandbox"
    """`host`: an app's callable or an environment decided."""
    in_process: bool = False
    """It loads the judged code into its own process, so that code could forge it."""
    proposed: bool = False
    passes_untouched: bool | None = None
    restored: tuple[str, ...] = ()
    """Pinned paths that the run had changed; the check saw the original."""
    removed: tuple[str, ...] = ()
    """Added files that match a pin; the check did not see them."""
    broken: bool = False
    """The check itself cannot run (its program does not exist)."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Verdict:
    """What the checks proved."""

    checks: tuple[CheckResult, ...] = ()

    @property
    def passed(self) -> bool:
        """Every check passed, and at least one of them can tell work from no work."""
        telling = any(found.passes_untouched is not True for found in self.checks)
        return telling and all(found.passed for found in self.checks)

    @property
    def by(self) -> Literal["task", "planner", "host", "none"]:
        """Who decided: the task's checks, checks the planner proposed, or the host."""
        if not self.checks:
            return "none"
        if any(found.by == "host" for found in self.checks):
            return "host"
        return "planner" if all(found.proposed for found in self.checks) else "task"

    @property
    def in_process(self) -> bool:
        """Whether a passing check could have been forged by the code that it judges."""
        return any(found.in_process for found in self.checks)


@dataclasses.dataclass(frozen=True)
class Told:
    """A text for the planner, and the same without call outputs and durations."""

    text: str
    stable: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Feedback:
    """What the planner is told after an execution."""

    summary: Told
    by_call: tuple[tuple[str, Told], ...] = ()
    """For native tool calls: the call's id and what it came to."""
    failed: bool
    """Holds a failure: the lineage goes on."""
    verdict: Verdict | None = None
    """None when the checks did not run."""
    stuck: str | None = None
    """Why the run gets nowhere, if that is so."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Round:
    """Plan, execution, feedback."""

    number: int
    plan: Plan
    execution: Execution
    feedback: Feedback


@dataclasses.dataclass(frozen=True, kw_only=True)
class State:
    """Everything that decides what happens next. Each round makes a new one."""

    task: Task
    names: Mapping[str, Value] = dataclasses.field(default_factory=dict)
    pinned: tuple[PinnedCheck, ...] = ()
    rounds: tuple[Round, ...] = ()
    environment_view: Value = None
    """What the environment showed before the first plan."""
    living: frozenset[str] = frozenset()
    """Names that live in the interpreter of programs; some have no form as values."""
    lost: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Names that are gone, and what they held."""

    @property
    def known(self) -> frozenset[str]:
        """Every name that a plan may read."""
        return self.living | self.names.keys()

    @property
    def in_lineage(self) -> bool:
        """Whether the next plan revises the last one (L9)."""
        return bool(self.rounds) and self.rounds[-1].feedback.failed

    def after(self, plan: Plan, execution: Execution, feedback: Feedback) -> State:
        """The state one round later."""
        done = Round(number=len(self.rounds) + 1, plan=plan, execution=execution, feedback=feedback)
        return dataclasses.replace(
            self,
            names={**self.names, **execution.bound},
            living=self.living if execution.living is None else execution.living,
            lost=_still_lost({**self.lost, **execution.lost}, execution),
            pinned=self.pinned + execution.proposed,
            rounds=(*self.rounds, done),
        )


def _still_lost(lost: Mapping[str, str], execution: Execution) -> dict[str, str]:
    back = execution.bound.keys() | (execution.living or frozenset())
    return {name: what for name, what in lost.items() if name not in back}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Result:
    """How a run ended. `usage` covers everything that it did."""

    status: RunStatus
    output: Value = None
    verdict: Verdict = dataclasses.field(default_factory=Verdict)
    diff: str = ""
    """Unified diff of the workspace; empty if nothing changed or there is none."""
    usage: Usage = dataclasses.field(default_factory=Usage)
    run_id: str = ""
    reason: str = ""
    """Why it ended like this, in a sentence."""
    changed_files: tuple[str, ...] = ()
