"""The revision table of `docs/revision.md`: programs revised in thirteen ways (R1-R10, L1-L10)."""

from __future__ import annotations

import ast
import dataclasses
import re
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from planloop.state import Execution
from tests.programs.drafts import WAYS, Draft, draft, rest_only, truth
from tests.programs.rounds import Room, Rounds, Shop, ran, room, statuses

pytestmark = pytest.mark.anyio

KEPT = {
    "the rest only",
    "one statement fixed",
    "quotes and comments",
    "an import or helper added",
    "a print added early",
}
"""Ways after which no finished statement runs again."""
DIVERGE = {"a statement dropped", "a loop continued at item k"}
TABLE = Path(__file__).parents[2] / "docs" / "revision.md"


@dataclasses.dataclass(frozen=True)
class Revised:
    """What a revision came to."""

    draft: Draft
    shop: Shop
    rounds: Rounds
    done: Execution
    finished: int
    repeated: int
    source: str

    @property
    def diverged(self) -> bool:
        return "diverged" in statuses(self.done)


async def revise(found: Room, drawn: Draft, way: str) -> Revised:
    """Run a draft, which fails, then its revision."""
    shop = Shop()
    rounds = await found.rounds(shop.tools())
    first = await rounds.send(drawn.first())
    assert statuses(first).count("failed") == 1
    source = WAYS[way](drawn)
    done = await rounds.send(source)
    before = [ast.unparse(ast.parse(one)) for one in drawn.before]
    again = sum((Counter(ran(done)) & Counter(before)).values())
    return Revised(drawn, shop, rounds, done, len(before), again, source)


async def hold(revised: Revised, way: str) -> None:
    """What must be so after every revision."""
    assert max(Counter(revised.shop.orders).values()) == 1, "an external call was done twice"
    assert revised.diverged == (way in DIVERGE)
    if way in KEPT:
        assert revised.repeated == 0
    if revised.diverged:
        return
    assert revised.done.completed, [one.error for one in revised.done.failures]
    source = revised.source
    if way == "the rest only":
        source = "\n".join([*revised.draft.before, source])
    values, files, attempts = truth(source)
    assert {n: v for n, v in revised.rounds.state.names.items() if n in values} == values
    assert await revised.rounds.files() == files
    assert revised.shop.attempts == attempts, "as many attempts as in one run"


drafts = st.builds(draft, st.integers(0, 10_000), st.integers(1, 9))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.rule("R4")
@pytest.mark.rule("R5")
@settings(max_examples=4, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(drawn=drafts)
async def test_revised(boxed: Room, way: str, drawn: Draft) -> None:
    await hold(await revise(boxed, drawn, way), way)


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(drawn=st.builds(draft, st.integers(0, 10**6), st.integers(1, 16)))
async def test_many_revised(boxed: Room, way: str, drawn: Draft) -> None:
    await hold(await revise(boxed, drawn, way), way)


@pytest.mark.docker
@pytest.mark.parametrize("way", ["one statement fixed", "wrapped in try", "a variable renamed"])
async def test_revised_in_docker(contained: Room, way: str) -> None:
    for seed in (3, 4):
        drawn = draft(seed, 4)
        await hold(await revise(contained, drawn, way), way)


@pytest.mark.rule("L3")
@settings(max_examples=5, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(drawn=drafts)
async def test_continued_at_k_after_keep(boxed: Room, drawn: Draft) -> None:
    revised = await revise(boxed, drawn, "a loop continued at item k")
    assert revised.diverged
    rest = f"keep()\n{revised.source}"
    last = await revised.rounds.send(rest)
    asked = [one for one in last.statements if one.status.value == "diverged"]
    if not asked:  # item k itself had not been ordered
        assert last.completed
    assert max(Counter(revised.shop.orders).values()) == 1


@pytest.mark.rule("R3")
@settings(max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(drawn=drafts, ways=st.lists(st.sampled_from(sorted(KEPT)), min_size=3, max_size=3))
async def test_over_five_rounds(boxed: Room, drawn: Draft, ways: list[str]) -> None:
    shop = Shop()
    rounds = await boxed.rounds(shop.tools())
    await rounds.send(drawn.first())
    unmended = dataclasses.replace(drawn, mended=drawn.failing)
    for way in ways:
        assert not (await rounds.send(WAYS[way](unmended))).completed
    done = await rounds.send(rest_only(drawn))
    assert done.completed, [one.error for one in done.failures]
    values, files, attempts = truth("\n".join(drawn.whole()))
    assert {n: v for n, v in rounds.state.names.items() if n in values} == values
    assert await rounds.files() == files
    assert shop.attempts == attempts


def row(way: str, figures: list[Revised]) -> str:
    """A row of the table."""
    finished, repeated = sum(f.finished for f in figures), sum(f.repeated for f in figures)
    served = sum(call.observation.served for f in figures for call in f.done.calls)
    ends = "`diverged`" if figures[0].diverged else "goes on"
    return f"| {way} | {repeated} of {finished} | {served} | {ends} |"


async def test_the_table_in_the_documentation(tmp_path: Path) -> None:
    """Three programs, each way: the figures are those that this test sees."""
    rows = []
    async with room(tmp_path) as found:
        for way in WAYS:
            figures = [await revise(found, draft(seed, 2 + seed % 6), way) for seed in range(3, 6)]
            for one in figures:
                assert one.diverged == (way in DIVERGE)
            rows.append(row(way, figures))
    shown = re.findall(r"^\| (?!way|---).*\|$", TABLE.read_text(), re.MULTILINE)
    assert rows == shown, "\n".join(rows)
