"""The collector: turns an execution into feedback, and runs the checks when it is time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from planloop.budget import Account
from planloop.environment import Environment
from planloop.events import CheckEnded, FeedbackGiven
from planloop.feedback import render
from planloop.feedback.progress import STUCK_NOTE, Progress
from planloop.plan import Answer, Flow, Plan
from planloop.sandbox import ServiceState
from planloop.state import CheckResult, Execution, Feedback, State, Told, Verdict
from planloop.text import bounded_repr
from planloop.trace.journal import Journal

RunChecks = Callable[[State, Execution], Awaitable[Sequence[CheckResult]]]
"""Runs every pinned check, and those of the host, over the result."""


class Collector:
    """Collects what happened in a round."""

    def __init__(
        self,
        run_checks: RunChecks,
        environment: Environment,
        account: Account,
        journal: Journal,
        services: Callable[[], Sequence[ServiceState]] = tuple,
    ) -> None:
        self._run_checks = run_checks
        self._environment = environment
        self._account = account
        self._journal = journal
        self._services = services
        self._progress = Progress()

    async def collect(self, plan: Plan, execution: Execution, state: State) -> Feedback:
        """The feedback of one round; with a verdict if the plan came to its end."""
        verdict = await self._verdict(execution, state)
        failed = not execution.completed or (verdict is not None and bool(_failing(verdict)))
        told = await self._tell(plan, execution, state, verdict)
        by_call = self._by_call(plan, execution)
        stuck = self._progress.add(execution, verdict)
        if stuck:
            told = render.join([told, Told(f"{STUCK_NOTE} ({stuck})", STUCK_NOTE)])
        feedback = Feedback(
            summary=told, by_call=by_call, failed=failed, verdict=verdict, stuck=stuck
        )
        self._announce(feedback, state)
        return feedback

    async def _verdict(self, execution: Execution, state: State) -> Verdict | None:
        ended = execution.done or not execution.calls
        if not (execution.completed and ended) or execution.gave_up is not None:
            return None
        results = tuple(await self._run_checks(state, execution))
        for found in results:
            self._journal.emit(CheckEnded(round=len(state.rounds) + 1, result=found))
        return Verdict(checks=results)

    async def _tell(
        self, plan: Plan, execution: Execution, state: State, verdict: Verdict | None
    ) -> Told:
        heading = render.Heading(len(state.rounds) + 1, self._account.budget.rounds)
        parts = [heading.told(execution)]
        if not (isinstance(plan, Flow) and plan.native_ids):
            parts += render.statements(plan, execution)
        if execution.notes:
            parts.append(_quoted("Notes:", "\n".join(execution.notes)))
        if execution.changed_files:
            parts.append(_quoted("Changed files:", ", ".join(execution.changed_files[:100])))
        parts.append(render.services(self._services()))
        if verdict is not None and verdict.checks:
            parts.append(render.checks(verdict.checks))
        parts.append(render.what_now(execution))
        view = await self._environment.observe() if not isinstance(plan, Answer) else None
        if view is not None:
            text = view if isinstance(view, str) else bounded_repr(view, 4_000)
            parts.append(_quoted("The world now:", text))
        return render.join(parts)

    def _by_call(self, plan: Plan, execution: Execution) -> tuple[tuple[str, Told], ...]:
        if not isinstance(plan, Flow) or not plan.native_ids:
            return ()
        told = render.statements(plan, execution)
        if not told:  # rejected: every native call still needs its answer
            told = [Told("not run", "not run")] * len(plan.native_ids)
        return tuple(zip(plan.native_ids, told, strict=True))

    def _announce(self, feedback: Feedback, state: State) -> None:
        texts = [told.text for _, told in feedback.by_call]
        event = FeedbackGiven(
            round=len(state.rounds) + 1,
            text="\n\n".join([*texts, feedback.summary.text]),
            failed=feedback.failed,
            usage=self._account.usage,
        )
        self._journal.emit(event)


def _failing(verdict: Verdict) -> list[CheckResult]:
    return [found for found in verdict.checks if not found.passed]


def _quoted(title: str, text: str) -> Told:
    draft = render.Draft()
    draft.say(title)
    draft.show(text)
    return draft.told()
