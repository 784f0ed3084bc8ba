"""Runs with goals as people see them: nested under the call that they belong to."""

from __future__ import annotations

import pytest

from planloop.cli.live import Now
from planloop.cli.show import view_lines
from planloop.cli.views import Story
from planloop.events import CallStarted, Event, ModelAsked, from_json, to_json
from planloop.trace.fold import RunView, after, essence, fold
from tests.goals.scripts import Script, block, goals

pytestmark = pytest.mark.anyio


async def nested_run() -> list[Event]:
    script = Script(
        {
            "main": [goals("1. Find the price of a.\n2. Order it."), "Done."],
            "main/1.1": [block('p = look("a")\ndone(p)')],
            "main/1.2": [block('done(goal("Order a, once."))')],
            "main/1.2/1.1": [block('order("b")\nexpect(False, "not that")'), "It is ordered."],
        }
    )
    result = await script.run()
    assert result.output == "Done."
    assert script.left == {}
    return script.events


async def test_nested_events_say_which_call_they_belong_to_and_survive_the_trace() -> None:
    events = await nested_run()
    calls = {e.serial: e for e in events if isinstance(e, CallStarted)}
    within = {call.tool: call.within for call in calls.values() if call.tool != "goal"}
    inner = next(c for c in calls.values() if c.within is not None and c.tool == "goal")
    assert within == {"look": 1, "order": inner.serial}
    assert calls[1].within is None
    assert inner.within is not None
    assert [from_json(to_json(event)) for event in events] == events


async def test_the_fold_nests_rounds_under_their_calls_and_counts_what_they_used() -> None:
    events = await nested_run()
    view = fold(events[:-1])
    outer = view.rounds[0].calls
    assert [call.tool for call in outer] == ["goal", "goal"]
    inner = view.nested[outer[1].serial].rounds[0].calls[0]
    rounds = view.nested[inner.serial].rounds
    assert [found.form for found in rounds] == ["flow", "answer"]
    assert rounds[0].failed
    assert len(view.rounds) == 2
    last = fold(events).usage
    assert (view.usage.calls, view.usage.rounds) == (last.calls, last.rounds) == (5, 6)
    assert view.usage.model_requests == last.model_requests == 6
    nested = essence(view)["rounds"][0]["nested"]
    assert nested[1][0]["nested"][0][0]["calls"][0][1] == "order"


async def test_show_and_the_story_indent_what_is_nested() -> None:
    events = await nested_run()
    shown = [one.text for one in view_lines(fold(events))]
    assert any(text.startswith("    round 1") for text in shown)
    assert any(text.startswith("        round 2 · an answer") for text in shown)
    story, view, told = Story(width=80), RunView(), list[str]()
    for event in events:
        view = after(view, event)
        told += [one.text for one in story.lines(event, view)]
    place = next(n for n, text in enumerate(told) if "goal        Find the price of a." in text)
    assert told[place + 1].startswith("  round 1 · a plan")
    assert any(text.startswith("      ok          order('b'") for text in told)
    assert all(len(row) <= 80 for text in told for row in text.split("\n"))


async def test_the_live_view_shows_who_is_asked_inside_a_goal_on_80_columns() -> None:
    events = await nested_run()
    now, view = Now(), RunView()
    drawn = list[list[str]]()
    for event in events:
        view = after(view, event)
        now.see(event, view)
        lines = now.lines(80, 24, "*")
        assert all(len(row) <= 80 for one in lines for row in one.text.split("\n"))
        if isinstance(event, ModelAsked):
            drawn.append([one.text for one in lines])
    deepest = drawn[3]
    assert deepest[0].startswith("* running")
    assert deepest[1].startswith("  * running")
    assert deepest[2].startswith("    * function was asked")
