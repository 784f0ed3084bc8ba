"""The loop: plan, execute, feed back, until the checks pass or nothing can improve."""

from __future__ import annotations

import dataclasses

from planloop.ending import End, stop
from planloop.errors import BudgetSpent, NoPlan
from planloop.roles import AccountRole, ApproverRole, CollectorRole, ExecutorRole, PlannerRole
from planloop.state import RunStatus, State


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
