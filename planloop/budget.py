"""One budget for a run: limits, what was used, and an account that reserves before it spends."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable

from planloop.errors import BudgetSpent, UserError

DEFAULT_COST_USD = float("1.0")
"""Compared by identity: a limit that a user wrote, even of the same size, is the user's."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Budget:
    """Limits of a run; None means no limit. Money in US dollars, times in seconds."""

    cost_usd: float | None = DEFAULT_COST_USD
    """The default counts where the price of the model is known; one that you set needs it."""
    wall_s: float | None = 900.0
    tokens: int | None = None
    rounds: int | None = 40
    calls: int | None = 500
    sandbox_s: float | None = None

    @property
    def needs_price(self) -> bool:
        """Whether money was limited on purpose."""
        return self.cost_usd is not None and self.cost_usd is not DEFAULT_COST_USD

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            limit = getattr(self, field.name)
            if limit is None:
                continue
            if isinstance(limit, bool) or not isinstance(limit, int | float) or limit != limit:
                raise UserError(f"`budget.{field.name}` is {limit!r}; expected a number")
            if limit <= 0 or limit == float("inf"):
                raise UserError(
                    f"`budget.{field.name}` is {limit!r}; expected a finite number above 0",
                    hint="leave it out for the default, or write `null` for no limit",
                )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Usage:
    """What a run has used so far."""

    cost_usd: float | None = 0.0
    """None where the price of the model is unknown."""
    wall_s: float = 0.0
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    """The part of the input tokens that the server had cached."""
    rounds: int = 0
    calls: int = 0
    sandbox_s: float = 0.0
    model_requests: int = 0


@dataclasses.dataclass(frozen=True)
class Reservation:
    """Amounts held until they are settled or released."""

    tokens: int = 0
    cost_usd: float = 0.0
    calls: int = 0


class Account:
    """Spends one budget. Shared by everything that a run does; not thread-safe by design.

    A reservation that would pass a limit raises before anything is spent, so that what a run
    can overshoot is at most what its calls in flight use beyond their reservations.
    """

    def __init__(self, budget: Budget, clock: Callable[[], float] = time.monotonic) -> None:
        self.budget = budget
        self._clock = clock
        self._started = clock()
        self._used = Usage()
        self._held = Reservation()

    @property
    def usage(self) -> Usage:
        """What has been settled so far, with the wall time until now."""
        return dataclasses.replace(self._used, wall_s=self._clock() - self._started)

    @property
    def wall_left_s(self) -> float | None:
        """Seconds until the wall time is spent; None without a limit."""
        limit = self.budget.wall_s
        return None if limit is None else max(0.0, limit - (self._clock() - self._started))

    def reserve(self, *, tokens: int = 0, cost_usd: float = 0.0, calls: int = 0) -> Reservation:
        """Hold amounts until they are settled.

        Raises:
            BudgetSpent: a limit would be passed; nothing is held then.
        """
        self.check()
        used, held, budget = self._used, self._held, self.budget
        used_tokens = used.input_tokens + used.output_tokens
        _within("tokens", budget.tokens, used_tokens + held.tokens, tokens)
        _within("cost_usd", budget.cost_usd, (used.cost_usd or 0.0) + held.cost_usd, cost_usd)
        _within("calls", budget.calls, used.calls + held.calls, calls)
        self._held = Reservation(held.tokens + tokens, held.cost_usd + cost_usd, held.calls + calls)
        return Reservation(tokens, cost_usd, calls)

    def release(self, reservation: Reservation) -> None:
        """Give back what was held."""
        held = self._held
        self._held = Reservation(
            held.tokens - reservation.tokens,
            held.cost_usd - reservation.cost_usd,
            held.calls - reservation.calls,
        )

    def settle(self, reservation: Reservation, spent: Usage) -> None:
        """Release a reservation and add what was really spent (its wall time is not added)."""
        self.release(reservation)
        used = self._used
        unknown = used.cost_usd is None or spent.cost_usd is None
        self._used = Usage(
            cost_usd=None if unknown else (used.cost_usd or 0.0) + (spent.cost_usd or 0.0),
            input_tokens=used.input_tokens + spent.input_tokens,
            output_tokens=used.output_tokens + spent.output_tokens,
            cached_tokens=used.cached_tokens + spent.cached_tokens,
            rounds=used.rounds + spent.rounds,
            calls=used.calls + spent.calls,
            sandbox_s=used.sandbox_s + spent.sandbox_s,
            model_requests=used.model_requests + spent.model_requests,
        )

    def begin_round(self) -> int:
        """Count a new round and return its number, from 1.

        Raises:
            BudgetSpent: the rounds are spent.
        """
        self.check()
        _within("rounds", self.budget.rounds, self._used.rounds, 1)
        self._used = dataclasses.replace(self._used, rounds=self._used.rounds + 1)
        return self._used.rounds

    def check(self) -> None:
        """Raise `BudgetSpent` if the wall time or the sandbox time is over."""
        elapsed = self._clock() - self._started
        for limit, spent in (("wall_s", elapsed), ("sandbox_s", self._used.sandbox_s)):
            allowed = getattr(self.budget, limit)
            if allowed is not None and spent >= allowed:
                raise BudgetSpent(limit, allowed, spent)


def _within(limit: str, allowed: float | None, spent: float, more: float) -> None:
    if more > 0 and allowed is not None and spent + more > allowed:
        raise BudgetSpent(limit, allowed, spent, more)
