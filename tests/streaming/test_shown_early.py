"""What a person sees of calls that begin while their plan is being written."""

from __future__ import annotations

from planloop.cli.lines import Line
from planloop.cli.live import Now
from planloop.cli.views import Story, stopping
from planloop.events import (
    CallBegunAhead,
    CallDropped,
    CallEnded,
    CallEndedAhead,
    CallStarted,
    Event,
    ModelAsked,
    PlanStarted,
    from_json,
    to_json,
)
from planloop.observation import Observation, Status
from planloop.tool import Effect
from planloop.trace.fold import RunView, after


def begun(number: int, line: int, what: str) -> CallBegunAhead:
    return CallBegunAhead(
        number=number,
        round=1,
        place=(line - 1, 1),
        line=line,
        scope=None,
        tool="look",
        arguments={"what": what},
        effect=Effect.READS,
    )


def started(serial: int, ahead: int | None, line: int, what: str) -> CallStarted:
    return CallStarted(
        serial=serial,
        lineage=1,
        round=1,
        place=(line - 1, 1),
        line=line,
        scope=None,
        tool="look",
        schema_hash="",
        arguments={"what": what},
        key=f"look({what})",
        effect=Effect.READS,
        resources=("world",),
        ahead=ahead,
    )


EVENTS: list[Event] = [
    ModelAsked(conversation="main", messages=2),
    begun(1, 1, "x"),
    begun(2, 2, "y"),
    CallEndedAhead(number=1, status=Status.OK, duration_s=0.4),
    PlanStarted(round=1, lineage=1, mode="first", source='look("x")\n', form="flow"),
    started(1, 1, 1, "x"),
    CallDropped(number=2),
    CallEnded(serial=1, observation=Observation(status=Status.OK, duration_s=0.4)),
]


def text(one: Line) -> str:
    return "".join(span.text for span in one.spans)


def shown() -> list[tuple[list[str], list[str], list[str]]]:
    """After each event: what goes on, what was added to the story, what an interrupt stops."""
    now, story, view, found = Now(), Story(), RunView(), []
    for event in EVENTS:
        view = after(view, event)
        now.see(event, view)
        running = [text(one) for one in now.lines(80, 24, "*")]
        found.append(
            (
                [one for one in running if "look" in one],
                [text(one) for one in story.lines(event, view)],
                [text(one) for one in stopping(view)],
            )
        )
    return found


def test_a_call_is_running_from_when_it_began_until_it_has_its_result() -> None:
    counts = [len(running) for running, _, _ in shown()]
    assert counts == [0, 1, 2, 1, 1, 2, 1, 0]


def test_an_interrupt_names_calls_that_have_no_plan_yet() -> None:
    assert 'look("x"), look("y")' in shown()[2][2][0].replace("'", '"')


def test_what_is_dropped_is_said() -> None:
    (line,) = shown()[6][1]
    assert "dropped" in line
    assert "began early, for nothing" in line


def test_the_trace_holds_them() -> None:
    assert [from_json(to_json(event)) for event in EVENTS] == EVENTS
