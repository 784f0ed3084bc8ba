"""What lines say: amounts, calls as plans wrote them, verdicts that claim no more than there is."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planloop.budget import Usage
from planloop.cli.describing import (
    call_details,
    call_line,
    call_text,
    heading,
    verdict_lines,
)
from planloop.cli.lines import duration, line, money
from planloop.observation import Observation, Output, Status
from planloop.state import CheckResult, RunStatus
from planloop.trace.fold import CallView, RunView

PASSED = CheckResult(label="pytest", passed=True)


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0.0, "0 ms"),
        (0.004, "4 ms"),
        (0.0996, "0.1 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (59.6, "1 min"),
        (125, "2 min 5 s"),
        (3_780, "1 h 3 min"),
    ],
)
def test_durations_read_well(seconds: float, shown: str) -> None:
    assert duration(seconds) == shown


@pytest.mark.parametrize(
    ("dollars", "shown"),
    [(None, "unknown cost"), (0.0, "$0.00"), (0.0004, "$0.0004"), (1.5, "$1.50")],
)
def test_small_amounts_do_not_look_free(dollars: float | None, shown: str) -> None:
    assert money(dollars) == shown


def call(line_number: int = 1, **arguments: object) -> CallView:
    return CallView(
        serial=1, place=(0,), line=line_number, scope=None, tool="shell", arguments={**arguments}
    )


def test_a_call_shows_the_arguments_that_its_plan_wrote() -> None:
    whole = call(command="ls", cwd=".", env=None)
    assert call_text(whole, 'shell("ls")') == "shell('ls')"
    assert call_text(whole, 'shell("ls", cwd=".")') == "shell('ls', cwd='.')"
    assert call_text(whole, 'shell(command="ls")') == "shell('ls')"


def test_a_call_shows_values_not_expressions() -> None:
    assert call_text(call(command="ls src", cwd="."), 'shell(f"ls {folder}")') == "shell('ls src')"


@pytest.mark.parametrize(
    "source", ["", "not python (", 'shell("ls", cwd="a"); shell("ls")', 'other("ls")']
)
def test_where_the_plan_does_not_tell_all_arguments_are_shown(source: str) -> None:
    shown = call_text(call(command="ls", cwd="."), source)
    assert shown == "shell('ls', cwd='.')"


@given(st.text(), st.text(max_size=40), st.integers(1, 80))
def test_no_call_breaks_its_line_or_its_width(source: str, value: str, width: int) -> None:
    shown = call_text(call(command=value), source, width)
    assert len(shown) <= width
    assert "\n" not in shown


@given(st.text())
def test_no_line_holds_a_control_character(text: str) -> None:
    shown = line(text, (text, "bad")).text
    assert not any(ord(c) < 32 and c not in "\n\t" for c in shown)
    assert "\x7f" not in shown


def ended(status: RunStatus, *checks: CheckResult, reason: str = "1 check passed") -> str:
    view = RunView(run_id="a", status=status, reason=reason, verdict=checks, usage=Usage())
    return "\n".join(one.text for one in verdict_lines(view))


@pytest.mark.parametrize("status", [s for s in RunStatus if s is not RunStatus.SUCCESS])
def test_no_other_status_prints_the_word(status: RunStatus) -> None:
    said = ended(status, PASSED, reason="the planner gave up: tired")
    assert "success" not in said
    assert f"\n{said}".count(f"\n{status.value} · ") == 1


def test_an_unfinished_run_claims_nothing() -> None:
    assert "success" not in "".join(one.text for one in verdict_lines(RunView()))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"proposed": True}, "1 check passed, proposed by the planner · "),
        ({"by": "host"}, "1 check passed, decided by the host · "),
        ({"in_process": True}, "1 check passed, in-process · "),
        ({}, "1 check passed · "),
    ],
)
def test_what_a_verdict_does_not_prove_is_said_in_words(
    change: dict[str, object], words: str
) -> None:
    check = dataclasses.replace(PASSED, **change)  # type: ignore[arg-type]
    assert ended(RunStatus.SUCCESS, check).startswith(f"success · {words}")


def test_a_mixed_verdict_says_how_many() -> None:
    proposed = dataclasses.replace(PASSED, proposed=True)
    said = ended(RunStatus.SUCCESS, PASSED, proposed, reason="2 checks passed")
    assert "1 of 2 proposed by the planner" in said


def observed(**seen: Any) -> CallView:
    return dataclasses.replace(call(command="x"), observation=Observation(**seen))


def test_notes_are_shown_below_calls_that_end_well() -> None:
    good = observed(status=Status.OK, notes=("oom_kills=1", "a.b:443 was refused"))
    shown = [one.text for one in call_details(good)]
    assert shown == ["      note: oom_kills=1; a.b:443 was refused"]
    assert call_details(observed(status=Status.OK)) == []


def test_an_empty_stream_has_no_line() -> None:
    failed = observed(
        status=Status.FAILED, exit_code=1, stdout=Output(), stderr=Output(head="no luck\n")
    )
    assert [one.text for one in call_details(failed)] == ["      | no luck"]


def test_the_status_column_is_wide_enough() -> None:
    long, short = observed(status=Status.OUTPUT_LIMIT), observed(status=Status.OK)
    columns = [call_line(one, "shell('x')").text.index("shell(") for one in (long, short)]
    assert columns[0] == columns[1]


def test_the_head_says_what_the_network_is_open_to_and_why_it_is_docker() -> None:
    view = RunView(
        run_id="1",
        sandbox="docker",
        sandbox_because="bubblewrap cannot",
        unenforced=("network: open to a.b:443", "memory limit: per process only"),
    )
    rows = [one.text for one in heading(view)]
    assert "  sandbox    docker · bubblewrap cannot" in rows
    assert "  network    open to a.b:443" in rows
    assert "  unenforced memory limit: per process only" in rows
