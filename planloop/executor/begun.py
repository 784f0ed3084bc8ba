"""A call that runs although its plan has not arrived; a call of the plan may take it over."""

from __future__ import annotations

import anyio

from planloop.budget import Account, Reservation, Usage
from planloop.errors import InfrastructureError, PlanloopError
from planloop.executor.running import Attempt
from planloop.observation import Observation


class Begun:
    """One call that began early.

    Args:
        number: counts such calls of a run, from 1.
        attempt: what runs.
    """

    def __init__(self, number: int, attempt: Attempt) -> None:
        self.number = number
        self.call = attempt.call
        self.within = attempt.within
        self.idempotency_key = attempt.idempotency_key
        self.serial: int | None = None
        """Of its entry in the ledger, once a call of the plan has taken it over."""
        self.sandbox_s = 0.0
        """Left to be settled by who takes it over: nothing."""
        self._attempt = attempt
        self._observation: Observation | None = None
        self._error: PlanloopError | None = None
        self._over = anyio.Event()

    @property
    def over(self) -> bool:
        """Whether it has ended, in whatever way."""
        return self._over.is_set()

    @property
    def lost(self) -> bool:
        """Whether it came to nothing, so that the plan must begin anew."""
        return self.over and self._observation is None

    async def carry_out(
        self, threads: anyio.CapacityLimiter, account: Account, reservation: Reservation
    ) -> Observation:
        """Run it to its end, and settle what it used, whatever ends it.

        Raises:
            PlanloopError: something failed that was not the tool's doing.
        """
        try:
            self._observation = await self._attempt.run(threads)
        except PlanloopError as error:
            self._error = error
            raise
        finally:
            account.settle(reservation, Usage(calls=1, sandbox_s=self._attempt.sandbox_s))
            self._over.set()
        return self._observation

    async def run(self, threads: anyio.CapacityLimiter) -> Observation:
        """How it ended, once it has.

        Raises:
            PlanloopError: something failed that was not the tool's doing.
        """
        await self._over.wait()
        if self._observation is None:
            raise self._error or InfrastructureError("a call that began early was ended")
        return self._observation
