"""Slices of a budget: held before, given back after, never more than what is left."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planloop import Budget, FunctionModel, Profile, Reply, Request, RunStatus, Usage
from planloop.budget import Account
from planloop.errors import BudgetSpent
from planloop.messages import TokenUsage
from tests.goals.scripts import Script, World, block


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def spend(account: Account, tokens: int, calls: int = 0) -> None:
    held = account.reserve(tokens=tokens, calls=calls)
    account.settle(held, Usage(input_tokens=tokens, calls=calls))


def test_a_slice_is_held_and_what_it_did_not_spend_goes_back() -> None:
    account = Account(Budget(tokens=100, calls=10, rounds=10))
    with account.slice() as inner:
        assert inner.budget.tokens == 50
        assert (inner.budget.calls, inner.budget.rounds) == (5, 5)
        spend(inner, 20, calls=1)
        with pytest.raises(BudgetSpent):
            account.reserve(tokens=51)
        account.release(account.reserve(tokens=50))
    assert account.usage.input_tokens == 20
    spend(account, 80)


def test_a_slice_cannot_spend_more_than_its_share() -> None:
    account = Account(Budget(tokens=100))
    with account.slice() as inner, pytest.raises(BudgetSpent, match="tokens"):
        inner.reserve(tokens=51)


def test_an_overshoot_of_a_slice_is_what_its_calls_in_flight_use_beyond_their_reservations() -> (
    None
):
    account = Account(Budget(tokens=100))
    with account.slice() as inner:
        held = inner.reserve(tokens=50)
        inner.settle(held, Usage(input_tokens=57))
    assert account.usage.input_tokens == 57
    with pytest.raises(BudgetSpent):
        account.reserve(tokens=44)


def test_the_time_of_the_run_ends_a_slice_too() -> None:
    clock = Clock()
    account = Account(Budget(wall_s=10.0), clock)
    with account.slice() as inner:
        clock.now = 4.0
        inner.check()
        assert inner.wall_left_s == 1.0
        clock.now = 5.0
        with pytest.raises(BudgetSpent, match="wall_s"):
            inner.check()


def test_nothing_left_is_no_slice() -> None:
    account = Account(Budget(calls=1))
    spend(account, 0, calls=1)
    with pytest.raises(BudgetSpent, match="calls"), account.slice():
        pass
    assert account.usage.calls == 1


@given(
    st.recursive(
        st.integers(1, 60), lambda inner: st.lists(inner, min_size=1, max_size=4), max_leaves=20
    ),
    st.integers(1, 200),
)
def test_nested_slices_never_pass_the_limit_and_give_everything_back(
    tree: int | list[object], limit: int
) -> None:
    account = Account(Budget(tokens=limit))
    spent = 0

    def walk(part: object, within: Account) -> None:
        nonlocal spent
        try:
            if isinstance(part, int):
                spend(within, part)
                spent += part
            else:
                assert isinstance(part, list)
                with within.slice() as inner:
                    for one in part:
                        walk(one, inner)
        except BudgetSpent:
            return

    walk(tree, account)
    assert account.usage.input_tokens == spent <= limit
    account.reserve(tokens=limit - spent) if spent < limit else None
    with pytest.raises(BudgetSpent):
        account.reserve(tokens=1)


@pytest.mark.anyio
async def test_a_goal_that_spends_its_slice_is_capped_and_the_run_goes_on() -> None:
    endless = [block(f'look("{n}")') for n in range(40)]
    script = Script({"main": [block('goal("Look around.")'), "Enough."], "main/1.1": endless})
    result = await script.run(budget=Budget(rounds=11, calls=30))
    assert (result.status, result.output) == (RunStatus.ANSWERED, "Enough.")
    told = script.told("main")[1]
    assert "Capped: rounds spent: 5 of 5" in told
    assert result.usage.rounds == 2 + 5


@pytest.mark.anyio
async def test_tokens_of_a_run_with_goals_pass_the_limit_by_what_one_reply_used_at_most() -> None:
    used = 1_000

    def answer(request: Request) -> Reply:
        text = "One."
        if request.conversation == "main":
            text = block('[goal(f"Goal {n}.") for n in range(9)]')
        tokens = TokenUsage(input_tokens=used, output_tokens=used)
        return Reply(text=text, tokens=tokens, cost_usd=0.0)

    profile = Profile(max_output_tokens=300, input_usd_per_million=0, output_usd_per_million=0)
    model = FunctionModel(answer, profile=profile)
    budget = Budget(tokens=12_000)
    result = await Script({}).run(World(), model=model, budget=budget)
    total = result.usage.input_tokens + result.usage.output_tokens
    assert result.status is RunStatus.CAPPED
    assert total <= 12_000 + 2 * used
