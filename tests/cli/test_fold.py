"""The fold of events to a view: pure, total, and what two equal runs have in common."""

from __future__ import annotations

import dataclasses

from hypothesis import given
from hypothesis import strategies as st

from planloop.budget import Budget, Usage
from planloop.events import (
    CallEnded,
    CallServed,
    CallStarted,
    CheckEnded,
    Event,
    FeedbackGiven,
    ModelAsked,
    ModelReplied,
    OutputSeen,
    PassRestarted,
    PlanStarted,
    ReplyRefused,
    RunEnded,
    RunStarted,
    StatementEnded,
    Warned,
    from_json,
    to_json,
)
from planloop.observation import Failure, Observation, Status
from planloop.state import CheckResult, RunStatus, StatementResult
from planloop.tool import Effect
from planloop.trace.fold import after, essence, fold


def started(run_id: str = "7f3a2b4c") -> RunStarted:
    return RunStarted(
        run_id=run_id,
        task="fix",
        text="Fix it.",
        folder="/home/me/fix",
        model="scripted",
        price="free",
        sandbox="bubblewrap",
        environment="workspace",
        tools=("shell",),
        budget=Budget(),
        checks=("python3 -m unittest",),
    )


def plan(round: int = 1, source: str = "shell('ls')") -> PlanStarted:
    return PlanStarted(round=round, lineage=1, mode="first", source=source, form="flow")


def call(serial: int, index: int = 0, round: int = 1) -> CallStarted:
    return CallStarted(
        serial=serial,
        lineage=1,
        round=round,
        place=(index,),
        line=index + 1,
        scope=None,
        tool="shell",
        schema_hash="",
        arguments={"command": "ls"},
        key="",
        effect=Effect.WORKSPACE,
        resources=("workspace",),
    )


def ended(serial: int, seconds: float = 0.1, exit_code: int = 0) -> CallEnded:
    status = Status.OK if exit_code == 0 else Status.FAILED
    seen = Observation(status=status, exit_code=exit_code, duration_s=seconds)
    return CallEnded(serial=serial, observation=seen)


def statement(index: int, status: Status = Status.OK) -> StatementEnded:
    error = None if status is Status.OK else Failure(type="Failed", message="no")
    result = StatementResult(index=index, text="s", line=index + 1, status=status, error=error)
    return StatementEnded(round=1, result=result)


def last(status: RunStatus = RunStatus.SUCCESS) -> RunEnded:
    check = CheckResult(label="python3 -m unittest", passed=True)
    return RunEnded(
        status=status,
        reason="1 check passed",
        output="done",
        checks=(check,),
        verdict_by="task",
        changed_files=("a.py",),
        usage=Usage(rounds=1, calls=1),
    )


WHOLE: list[Event] = [
    started(),
    ModelAsked(conversation="main", messages=2),
    ReplyRefused(message="`x` is unknown", line=2, column=1),
    ModelReplied(conversation="main", text="…", usage=Usage(input_tokens=9, model_requests=1)),
    plan(),
    call(1),
    ended(1),
    statement(0),
    CheckEnded(round=1, result=CheckResult(label="python3 -m unittest", passed=True)),
    FeedbackGiven(round=1, text="fine", failed=False, usage=Usage(rounds=1, calls=1)),
    Warned(text="a limit is not enforced"),
    last(),
]


def test_a_whole_run_folds_to_its_rounds_calls_and_verdict() -> None:
    view = fold(WHOLE)
    (found,) = view.rounds
    assert view.status is RunStatus.SUCCESS
    assert view.asked
    assert not view.asking
    assert found.refused[0].line == 2
    assert found.calls[0].observation is not None
    assert found.checks[0].passed
    assert found.feedback == "fine"
    assert view.warnings == ("a limit is not enforced",)
    assert view.usage == Usage(rounds=1, calls=1)


def test_a_served_call_shows_what_its_entry_holds() -> None:
    served = CallServed(serial=1, round=2, place=(3,), line=4, tool="shell")
    view = fold([started(), plan(), call(1), ended(1), plan(2), served])
    again = view.rounds[1].calls[0]
    assert again.served
    assert again.arguments == {"command": "ls"}
    assert again.observation is not None
    assert again.place == (3,)


def test_a_call_without_an_end_stays_open() -> None:
    view = fold([started(), plan(), call(1)])
    assert view.rounds[0].calls[0].observation is None
    assert view.status is None


def test_a_pass_from_the_top_forgets_statements_and_keeps_calls() -> None:
    restart = PassRestarted(round=1, reason="an older effect was missing")
    view = fold([started(), plan(), call(1), ended(1), statement(0), restart])
    assert view.rounds[0].statements == ()
    assert len(view.rounds[0].calls) == 1


def test_live_events_change_nothing() -> None:
    view = fold(WHOLE)
    assert after(view, OutputSeen(serial=1, stream="stdout", text="x")) is view


def test_the_trace_s_form_folds_to_the_same_view() -> None:
    assert fold(from_json(to_json(event)) for event in WHOLE) == fold(WHOLE)


def test_equal_runs_have_one_essence_whatever_their_ids_and_times() -> None:
    other = [started("abcd2345"), *WHOLE[1:6], ended(1, seconds=9.0), *WHOLE[7:]]
    assert fold(other) != fold(WHOLE)
    assert essence(fold(other)) == essence(fold(WHOLE))


def test_a_differing_exit_code_or_status_shows_in_the_essence() -> None:
    other = [*WHOLE[:6], ended(1, exit_code=1), *WHOLE[7:]]
    assert essence(fold(other)) != essence(fold(WHOLE))
    worse = [*WHOLE[:-1], last(RunStatus.FAILED)]
    assert essence(fold(worse)) != essence(fold(WHOLE))


def test_parallel_calls_have_one_essence_in_whatever_order_they_ran() -> None:
    one = [started(), plan(), call(1, 0), call(2, 1), ended(1), ended(2)]
    two = [started(), plan(), call(1, 1), call(2, 0), ended(2), ended(1)]
    assert essence(fold(one)) == essence(fold(two))


@given(st.lists(st.sampled_from(WHOLE)), st.lists(st.sampled_from(WHOLE)))
def test_any_order_of_events_folds_and_going_on_equals_starting_over(
    before: list[Event], then: list[Event]
) -> None:
    view = fold(before)
    for event in then:
        view = after(view, event)
    assert view == fold([*before, *then])


def test_a_view_cannot_be_changed() -> None:
    view = fold(WHOLE)
    assert dataclasses.replace(view, task="other") != view
    assert view.task == "fix"
