"""Approval: a callable of the app's may refuse a plan before anything of it runs."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable

from planloop.plan import Plan
from planloop.state import Rejected, State

Approve = Callable[[Plan], "str | Awaitable[str | None] | None"]
"""Returns None to approve a plan, or the reason why not, which the planner is told."""


class Approver:
    """Asks the app's callable, if there is one."""

    def __init__(self, approve: Approve | None = None) -> None:
        self._approve = approve

    async def review(self, plan: Plan, state: State) -> Plan | Rejected:
        """The plan, or why it may not run."""
        if self._approve is None:
            return plan
        reason = self._approve(plan)
        if inspect.isawaitable(reason):
            reason = await reason
        return plan if reason is None else Rejected(plan, str(reason))
