"""How a run ends: decided from its newest round alone."""

from __future__ import annotations

import dataclasses

from planloop.state import RunStatus, State, Verdict
from planloop.values import Value


@dataclasses.dataclass(frozen=True, kw_only=True)
class End:
    """How a loop ended."""

    status: RunStatus
    reason: str
    output: Value = None
    verdict: Verdict = dataclasses.field(default_factory=Verdict)


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
