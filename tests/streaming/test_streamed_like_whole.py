"""A flow that was begun while it was written comes to what it comes to when it is read whole.

Random flows over tools of all effects, some of which fail, in random pieces, with random times
for the calls; replies that end as they should, are cut, or turn out to be no flow; and revisions.
"""

from __future__ import annotations

import itertools
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st
from writing import BAD, Piece, Played, World, block, play

from planloop.errors import ModelUnavailable
from planloop.events import CallBegunAhead, CallStarted, PlanStarted
from planloop.trace.fold import essence, fold

WORDS = st.sampled_from(["x", "x", "y", "y", "z", BAD])
SHELVES = st.sampled_from(["s", "t"])


@st.composite
def statements(draw: st.DrawFn, index: int) -> str:
    """One statement; `v<index>` is its name. Earlier names may be read."""
    earlier = f"str(v{draw(st.integers(0, index - 1))})" if index else '"start"'
    word, shelf, name = draw(WORDS), draw(SHELVES), f"v{index}"
    return draw(
        st.sampled_from(
            [
                f'{name} = look("{word}")',
                f"{name} = look({earlier})",
                f"{name} = upper({earlier}).text",
                f'{name} = [upper(one).text for one in ["{word}", {earlier}]]',
                f'{name} = get("f") + {earlier}',
                f'{name} = count("{shelf}") + len({earlier})',
                f'{name} = fill("{shelf}")',
                f'{name} = put("f", {earlier} + "{word}")',
                f'{name} = order("{word}")',
                f'{name} = look("x") if len({earlier}) > 9 else upper("{word}")',
                f'{name} = order("y") if len({earlier}) > 30 else look("{word}")',
                f'{name} = {earlier}\nexpect(look("x") != {earlier}, "alike")',
                f'{name} = {earlier}\nnote(upper({earlier}).text)',
                f'{name} = {{"deep": upper(look({earlier})), "n": count("{shelf}")}}',
                f"{name} = {earlier}[40]",
            ]
        )
    )  # fmt: skip


@st.composite
def flows(draw: st.DrawFn) -> str:
    count = draw(st.integers(1, 7))
    lines = [draw(statements(index)) for index in range(count)]
    names = ", ".join(f"v{index}" for index in range(count))
    return "\n".join([*lines, f"done([{names}])"])


def revised(source: str, kind: str) -> str:
    """What a planner might send next."""
    match kind:
        case "whole":
            return source.replace(BAD, "good")
        case "restart":
            return "restart()\n" + source.replace(BAD, "good")
        case "keep":
            return 'keep()\nlate = look("late")\ndone(late)'
        case _:
            return 'late = look("late")\nlater = upper(late).text\ndone(later)'


def pieces(text: str, cuts: list[tuple[int, int]], pause: int) -> list[Piece]:
    """The text in pieces, with so many turns of the loop after each, and a pause at line ends."""
    lines = [(at, pause) for at, one in enumerate(text, 1) if one == "\n" and pause]
    places = sorted([*lines, *((at % (len(text) + 1), turns) for at, turns in cuts)])
    found: list[Piece] = []
    begin = 0
    for at, turns in places:
        found += [text[begin:at], _turns(turns)]
        begin = at
    return [*found, text[begin:]]


def _turns(count: int) -> Any:
    async def wait() -> None:
        for _ in range(count):
            await anyio.lowlevel.checkpoint()

    return wait


CUTS = st.lists(st.tuples(st.integers(0, 600), st.integers(0, 30)), max_size=25)
PAUSES = st.sampled_from([0, 3, 10, 30, 100])
TURNS = st.lists(st.integers(1, 25), min_size=1, max_size=12)
"""At least one: what takes no time at all fails before the next call of its statement begins."""


def run(replies: list[list[Piece]], turns: list[int]) -> Played:
    async def go() -> Played:
        return await play(World(itertools.cycle(turns)), replies)

    return anyio.run(go)


def assert_equal_runs(streamed: Played, whole: Played) -> None:
    here, there = streamed.world, whole.world
    assert streamed.result.status == whole.result.status
    assert streamed.result.output == whole.result.output
    assert (here.files, here.orders, here.shelves) == (there.files, there.orders, there.shelves)
    assert streamed.effects == whole.effects
    assert streamed.told == whole.told
    # After a failure it hangs on their times which calls without an effect still begin.
    if not whole.failed:
        assert streamed.entries == whole.entries
        assert essence(fold(streamed.events)) == essence(fold(whole.events))


def assert_honest(found: Played) -> None:
    """No effect before its plan; every call that began early is taken once or dropped once."""
    assert found.world.early_effects == []
    begun = [one.number for one in found.of(CallBegunAhead)]
    taken = [one.ahead for one in found.of(CallStarted) if one.ahead is not None]
    assert sorted([*taken, *found.dropped]) == begun
    anew = [one for one in found.of(CallStarted) if one.ahead is None]
    assert found.result.usage.calls == len(begun) + len(anew) == len(found.world.log)


@pytest.mark.rule("O2")
@pytest.mark.rule("O3")
@settings(max_examples=120)
@given(
    flows(),
    st.lists(st.sampled_from(["whole", "restart", "keep", "rest"]), max_size=2),
    CUTS,
    PAUSES,
    TURNS,
)
def test_a_streamed_flow_comes_to_what_the_whole_one_does(
    source: str, revisions: list[str], cuts: list[tuple[int, int]], pause: int, turns: list[int]
) -> None:
    texts = [f"So:\n{block(one)}" for one in [source, *(revised(source, k) for k in revisions)]]
    streamed = run([pieces(text, cuts, pause) for text in texts], turns)
    whole = run([[text] for text in texts], turns)
    assert whole.begun == []
    assert_equal_runs(streamed, whole)
    assert_honest(streamed)
    rounds = len(streamed.of(PlanStarted))
    event(f"{min(len(streamed.begun), 5)} began early, {len(streamed.dropped)} dropped")
    event(f"{rounds} rounds")


ENDS = ["x = unknown", "for n in v0:\n    order(n)", "x = look(", "```\n```python\nx = 1"]


@settings(max_examples=60)
@given(flows(), st.sampled_from(ENDS), CUTS, PAUSES, TURNS)
def test_a_reply_that_is_no_flow_in_the_end_is_as_if_nothing_had_begun(
    source: str, end: str, cuts: list[tuple[int, int]], pause: int, turns: list[int]
) -> None:
    bad = block(f"{source.rpartition(chr(10))[0]}\n{end}")
    good = block('a = look("x")\nb = order(a)\ndone(b)')
    streamed = run([pieces(bad, cuts, pause), [good]], turns)
    whole = run([[bad], [good]], turns)
    assert_equal_runs(streamed, whole)
    assert_honest(streamed)
    event(f"{min(len(streamed.dropped), 5)} dropped")


@settings(max_examples=60)
@given(flows(), st.integers(0, 400), CUTS, PAUSES, TURNS)
def test_a_cut_stream_leaves_no_effect_and_nothing_in_the_ledger(
    source: str, at: int, cuts: list[tuple[int, int]], pause: int, turns: list[int]
) -> None:
    async def cut() -> None:
        raise ModelUnavailable("the reply was cut")

    text = block(source)
    found = run([[*pieces(text[: at % len(text)], cuts, pause), cut]], turns)
    world = found.world
    assert (world.files, world.orders, world.shelves) == ({}, [], {})
    assert found.of(CallStarted) == []
    assert_honest(found)
    assert found.events[-1].kind == "run_ended"
