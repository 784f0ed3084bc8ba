"""One budget for a run: limits, what was used, and an account that reserves before it spends."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator

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
    depth: int | None = 2
    """How deep goals may nest: a goal of the plan is at depth 1."""

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
    rounds: int = 0


_SHARE = 0.5
"""Of what is left of each limit, for a nested run: its own slices leave something to its caller."""


class Account:
    """Spends one budget. Shared by everything that a run does; not thread-safe by design.

    A reservation that would pass a limit raises before anything is spent, so that what a run
    can overshoot is at most what its calls in flight use beyond their reservations. That holds
    for the whole run and for each slice of it: what is spent in a slice is spent above it too.
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

    @property
    def sandbox_left_s(self) -> float | None:
        """Seconds of sandbox time that are left; None without a limit."""
        limit = self.budget.sandbox_s
        return None if limit is None else max(0.0, limit - self._used.sandbox_s)

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
        more = Reservation(tokens, cost_usd, calls)
        self._held = _plus(held, more)
        return more

    def release(self, reservation: Reservation) -> None:
        """Give back what was held."""
        self._held = _minus(self._held, reservation)

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
        _within("rounds", self.budget.rounds, self._used.rounds + self._held.rounds, 1)
        self._used = dataclasses.replace(self._used, rounds=self._used.rounds + 1)
        return self._used.rounds

    def check(self) -> None:
        """Raise `BudgetSpent` if the wall time or the sandbox time is over."""
        elapsed = self._clock() - self._started
        for limit, spent in (("wall_s", elapsed), ("sandbox_s", self._used.sandbox_s)):
            allowed = getattr(self.budget, limit)
            if allowed is not None and spent >= allowed:
                raise BudgetSpent(limit, allowed, spent)

    @contextlib.contextmanager
    def slice(self, share: float = _SHARE) -> Iterator[Account]:
        """An account over a share of what is left of each limit, for the length of the block.

        Tokens, money, calls and rounds are held before the block begins; what was not spent goes
        back when it ends. Times run for both.

        Raises:
            BudgetSpent: less is left than one call and one round.
        """
        self.check()
        hold, budget = self._share(share)
        self._held = _plus(self._held, hold)
        inner = _Slice(budget, self, hold, self._clock)
        try:
            yield inner
        finally:
            self.release(inner.unspent)

    def _share(self, share: float) -> tuple[Reservation, Budget]:
        """What a slice holds, and the budget that this makes."""
        used, held, limits = self.usage, self._held, self.budget
        tokens = _part(
            limits.tokens, used.input_tokens + used.output_tokens + held.tokens, share, "tokens"
        )
        calls = _part(limits.calls, used.calls + held.calls, share, "calls")
        rounds = _part(limits.rounds, used.rounds + held.rounds, share, "rounds")
        cost = _left(limits.cost_usd, (used.cost_usd or 0.0) + held.cost_usd, share, "cost_usd")
        budget = dataclasses.replace(
            limits,
            cost_usd=cost,
            wall_s=_left(limits.wall_s, used.wall_s, share, "wall_s"),
            sandbox_s=_left(limits.sandbox_s, used.sandbox_s, share, "sandbox_s"),
            tokens=tokens,
            calls=calls,
            rounds=rounds,
        )
        return Reservation(tokens or 0, cost or 0.0, calls or 0, rounds or 0), budget


class _Slice(Account):
    """A part of another account: what it spends is taken from what that holds for it."""

    def __init__(
        self, budget: Budget, above: Account, hold: Reservation, clock: Callable[[], float]
    ) -> None:
        super().__init__(budget, clock)
        self._above = above
        self.unspent = hold
        """What the account above still holds for this one."""

    def settle(self, reservation: Reservation, spent: Usage) -> None:
        """The same in both accounts, past the slice too: an overshoot is never hidden."""
        super().settle(reservation, spent)
        self._spend_above(spent)

    def begin_round(self) -> int:
        """A round of the slice is one of the run."""
        number = super().begin_round()
        self._spend_above(Usage(rounds=1))
        return number

    def check(self) -> None:
        """The times of both."""
        super().check()
        self._above.check()

    def _spend_above(self, spent: Usage) -> None:
        held = self.unspent
        taken = Reservation(
            min(held.tokens, spent.input_tokens + spent.output_tokens),
            min(held.cost_usd, spent.cost_usd or 0.0),
            min(held.calls, spent.calls),
            min(held.rounds, spent.rounds),
        )
        self.unspent = _minus(held, taken)
        self._above.settle(taken, spent)


def _plus(one: Reservation, other: Reservation) -> Reservation:
    return Reservation(
        one.tokens + other.tokens,
        one.cost_usd + other.cost_usd,
        one.calls + other.calls,
        one.rounds + other.rounds,
    )


def _minus(one: Reservation, other: Reservation) -> Reservation:
    return Reservation(
        one.tokens - other.tokens,
        one.cost_usd - other.cost_usd,
        one.calls - other.calls,
        one.rounds - other.rounds,
    )


def _left(limit: float | None, spent: float, share: float, name: str) -> float | None:
    """A share of what is left of a limit."""
    if limit is None:
        return None
    left = (limit - spent) * share
    if left <= 0:
        raise BudgetSpent(name, limit, spent)
    return left


def _part(limit: int | None, spent: int, share: float, name: str) -> int | None:
    """The same for what comes in pieces: one at least, if one is left."""
    if limit is None:
        return None
    if limit - spent < 1:
        raise BudgetSpent(name, limit, spent, 1)
    return max(1, int((limit - spent) * share))


def _within(limit: str, allowed: float | None, spent: float, more: float) -> None:
    if more > 0 and allowed is not None and spent + more > allowed:
        raise BudgetSpent(limit, allowed, spent, more)
