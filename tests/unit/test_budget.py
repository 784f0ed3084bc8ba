"""The budget: it reserves before it spends, and says which limit ended a run."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from planloop.budget import Account, Budget, Reservation, Usage
from planloop.errors import BudgetSpent, UserError


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_the_defaults_are_the_documented_ones() -> None:
    assert Budget() == Budget(
        cost_usd=1.0, wall_s=900.0, tokens=None, rounds=40, calls=500, sandbox_s=None
    )


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(Budget)])
@pytest.mark.parametrize("limit", [0, -1, float("inf"), float("nan"), "3", True])
def test_a_limit_that_is_no_number_above_zero_is_refused(name: str, limit: Any) -> None:
    with pytest.raises(UserError, match=f"`budget.{name}`"):
        Budget(**{name: limit})


def test_none_is_no_limit() -> None:
    account = Account(Budget(cost_usd=None, wall_s=None, tokens=None, rounds=None, calls=None))
    account.reserve(tokens=10**12, cost_usd=1e9, calls=10**9)
    assert account.wall_left_s is None
    for number in range(1, 100):
        assert account.begin_round() == number


def test_a_reservation_that_would_pass_a_limit_holds_nothing() -> None:
    account = Account(Budget(tokens=100, cost_usd=1, calls=2))
    for asked in ({"tokens": 101}, {"cost_usd": 1.01}, {"calls": 3}, {"tokens": 1, "calls": 3}):
        with pytest.raises(BudgetSpent) as caught:
            account.reserve(**asked)
        assert caught.value.spent == 0
    held = account.reserve(tokens=100, cost_usd=1, calls=2)
    with pytest.raises(BudgetSpent) as caught:
        account.reserve(tokens=1)
    assert (caught.value.limit, caught.value.allowed, caught.value.spent) == ("tokens", 100, 100)
    account.release(held)
    account.reserve(tokens=100, cost_usd=1, calls=2)


def test_what_was_spent_counts_and_not_what_was_held() -> None:
    account = Account(Budget(tokens=100))
    account.settle(account.reserve(tokens=90), Usage(input_tokens=5, output_tokens=5))
    account.reserve(tokens=90)
    with pytest.raises(BudgetSpent):
        account.reserve(tokens=1)


def test_spending_more_than_was_held_is_counted_and_ends_what_follows() -> None:
    account = Account(Budget(cost_usd=1))
    account.settle(account.reserve(cost_usd=0.5), Usage(cost_usd=1.5))
    assert account.usage.cost_usd == 1.5
    with pytest.raises(BudgetSpent, match=r"cost_usd spent: 1.5 of 1"):
        account.reserve(cost_usd=0.01)


def test_an_unknown_price_makes_the_cost_unknown_for_good() -> None:
    account = Account(Budget())
    account.settle(account.reserve(), Usage(cost_usd=None, output_tokens=3))
    account.settle(account.reserve(), Usage(cost_usd=0.5))
    assert account.usage.cost_usd is None
    assert account.usage.output_tokens == 3


def test_rounds_are_counted_from_one_up_to_the_limit() -> None:
    account = Account(Budget(rounds=2))
    assert [account.begin_round(), account.begin_round()] == [1, 2]
    with pytest.raises(BudgetSpent, match="rounds spent: 2 of 2"):
        account.begin_round()
    assert account.usage.rounds == 2


def test_when_the_time_is_over_nothing_new_begins() -> None:
    clock = Clock()
    account = Account(Budget(wall_s=10), clock)
    clock.now += 4
    assert (account.wall_left_s, account.usage.wall_s) == (6, 4)
    account.reserve(calls=1)
    clock.now += 6
    for begin in (account.begin_round, account.reserve, account.check):
        with pytest.raises(BudgetSpent, match="wall_s spent: 10 of 10"):
            begin()
    clock.now += 100
    assert account.wall_left_s == 0


def test_time_in_the_sandbox_is_a_limit_of_its_own() -> None:
    account = Account(Budget(sandbox_s=5), Clock())
    account.settle(account.reserve(), Usage(sandbox_s=4.9))
    account.check()
    account.settle(account.reserve(), Usage(sandbox_s=0.2))
    with pytest.raises(BudgetSpent, match=r"^sandbox-time spent: 5\.1 s of 5 s$"):
        account.check()


_amounts = st.fixed_dictionaries(
    {
        "tokens": st.integers(0, 60),
        "cost_usd": st.integers(0, 60).map(float),
        "calls": st.integers(0, 6),
    }
)


class Spending(RuleBasedStateMachine):
    """Honest callers, who spend at most what they hold, never pass a limit together."""

    def __init__(self) -> None:
        super().__init__()
        self.account = Account(Budget(tokens=100, cost_usd=100, calls=10), Clock())
        self.flying: list[Reservation] = []
        self.spent = Usage()

    @rule(asked=_amounts)
    def reserve(self, asked: dict[str, Any]) -> None:
        used = {
            "tokens": (self.spent.output_tokens, 100),
            "cost_usd": (self.spent.cost_usd or 0.0, 100),
            "calls": (self.spent.calls, 10),
        }
        fits = all(
            more == 0
            or sum(getattr(one, name) for one in self.flying) + used[name][0] + more
            <= used[name][1]
            for name, more in asked.items()
        )
        try:
            self.flying.append(self.account.reserve(**asked))
        except BudgetSpent:
            assert not fits
        else:
            assert fits

    @precondition(lambda self: self.flying)
    @rule(data=st.data())
    def settle(self, data: st.DataObject) -> None:
        held = self.flying.pop(data.draw(st.integers(0, len(self.flying) - 1)))
        spent = Usage(
            output_tokens=data.draw(st.integers(0, held.tokens)),
            cost_usd=float(data.draw(st.integers(0, int(held.cost_usd)))),
            calls=data.draw(st.integers(0, held.calls)),
        )
        self.account.settle(held, spent)
        self.spent = Usage(
            output_tokens=self.spent.output_tokens + spent.output_tokens,
            cost_usd=(self.spent.cost_usd or 0) + (spent.cost_usd or 0),
            calls=self.spent.calls + spent.calls,
        )

    @precondition(lambda self: self.flying)
    @rule()
    def release(self) -> None:
        self.account.release(self.flying.pop())

    @invariant()
    def nothing_passes_a_limit(self) -> None:
        usage = self.account.usage
        assert usage == dataclasses.replace(self.spent, wall_s=usage.wall_s)
        assert usage.output_tokens <= 100
        assert (usage.cost_usd or 0) <= 100
        assert usage.calls <= 10


TestSpending = Spending.TestCase


@given(
    st.lists(st.tuples(st.integers(1, 40), st.integers(0, 200)), min_size=1, max_size=20),
)
def test_the_overshoot_is_at_most_what_calls_in_flight_use_beyond_their_reservations(
    calls: list[tuple[int, int]],
) -> None:
    account = Account(Budget(tokens=100))
    beyond = 0
    flying: list[tuple[Reservation, int]] = []
    for held, really in calls:
        try:
            flying.append((account.reserve(tokens=held), really))
        except BudgetSpent:
            break
        beyond += max(0, really - held)
    for reservation, really in flying:
        account.settle(reservation, Usage(output_tokens=really))
    assert account.usage.output_tokens <= 100 + beyond
