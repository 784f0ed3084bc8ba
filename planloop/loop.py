"""The loop: plan, execute, feed back, until the checks pass or nothing can improve."""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable
from typing import Protocol

from planloop.errors import BudgetSpent, NoPlan
from planloop.plan import Plan
from planloop.state import Execution, Feedback, Rejected, RunStatus, State, Verdict
from planloop.values import Value


class PlannerRole(Protocol):
    """Says what to do next."""

    def plan(self, state: State) -> Awaitable[Plan]: ...
    def wrap_up(self, state: State, why: str) -> Awaitable[str | None]: ...


class ApproverRole(Protocol):
    """May refuse a plan."""

    def review(self, plan: Plan, state: State) -> Awaitable[Plan | Rejected]: ...


class ExecutorRole(Protocol):
    """Carries plans out."""

    def execute(self, plan: Plan | Rejected, state: State) -> Awaitable[Execution]: ...


class CollectorRole(Protocol):
    """Says what happened."""

    def collect(self, plan: Plan, execution: Execution, state: State) -> Awaitable[Feedback]: ...


class AccountRole(Protocol):
    """Counts rounds."""

    def begin_round(self) -> int: ...


@dataclasses.dataclass(frozen=True, kw_only=True)
class End:
    """How a loop ended."""

    status: RunStatus
    reason: str
    output: Value = None
    verdict: Verdict = dataclasses.field(default_factory=Verdict)


@dataclasses.dataclass
class Loop:
    """The roles of one run. `state` is the newest one, also when `run` is cancelled."""

    planner: PlannerRole
    approver: ApproverRole
    executor: ExecutorRole
    collector: CollectorRole
    account: AccountRole
    state: State

    async def run(self) -> End:
        """Go round until there is an end. Raises only what is not a run's own end."""
        try:
            while True:
                self.account.begin_round()
                plan = await self.planner.plan(self.state)
                approved = await self.approver.review(plan, self.state)
                execution = await self.executor.execute(approved, self.state)
                feedback = await self.collector.collect(plan, execution, self.state)
                self.state = self.state.after(plan, execution, feedback)
                if end := stop(self.state):
                    return end
        except BudgetSpent as spent:
            last_word = await self.planner.wrap_up(self.state, str(spent))
            return End(status=RunStatus.CAPPED, reason=str(spent), output=last_word)
        except NoPlan as error:
            return End(status=RunStatus.STUCK, reason=str(error))


def stop(state: State) -> End | None:
    """Whether the newest round ended the run, and how."""
    execution, feedback = state.rounds[-1].execution, state.rounds[-1].feedback
    if execution.gave_up is not None:
        return End(status=RunStatus.FAILED, reason=f"the planner gave up: {execution.gave_up}")
    verdict = feedback.verdict or Verdict()
    if feedback.verdict is not None and not feedback.failed and (execution.done or verdict.passed):
        status, reason = _ending(verdict)
        return End(status=status, reason=reason, output=execution.output, verdict=verdict)
    if feedback.stuck and len(state.rounds) > 1 and state.rounds[-2].feedback.stuck:
        return End(status=RunStatus.STUCK, reason=feedback.stuck, verdict=verdict)
    return None


def last_verdict(state: State) -> Verdict:
    """What the checks said when they last ran."""
    verdicts = (one.feedback.verdict for one in reversed(state.rounds))
    return next((found for found in verdicts if found is not None), Verdict())


def _ending(verdict: Verdict) -> tuple[RunStatus, str]:
    if verdict.passed:
        count = len(verdict.checks)
        return RunStatus.SUCCESS, f"{count} check{'s' * (count > 1)} passed"
    if verdict.checks:
        return RunStatus.ANSWERED, "the proposed checks pass on untouched files too: no proof"
    return RunStatus.ANSWERED, "no check was there to prove it"
