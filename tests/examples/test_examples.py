"""The examples run as they are, and stop succeeding when they are spoiled."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import re
import shutil
from pathlib import Path
from types import ModuleType
from typing import Any

import anyio
import pytest

from planloop import Agent, Result, RunStatus
from planloop.events import Event, FeedbackGiven, StatementEnded
from planloop.observation import Status
from planloop.state import StatementResult
from planloop.taskfile import load_task

EXAMPLES = Path(__file__).parents[2] / "examples"


def run_example(folder: Path) -> Result:
    task = load_task(folder, cwd=folder).task
    return Agent(sandbox="bubblewrap").run_sync(task)


def spoiled(
    tmp_path: Path, name: str, *changes: tuple[int, str, str], replay: str = "replay.jsonl"
) -> Path:
    """A copy of an example in whose replies texts are replaced: (reply, old, new)."""
    folder = tmp_path / name
    shutil.copytree(EXAMPLES / name, folder)
    path = folder / replay
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for number, old, new in changes:
        reply = lines[number]["reply"]
        assert old in reply["text"]
        reply["text"] = reply["text"].replace(old, new)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def app(folder: Path) -> ModuleType:
    name = f"{folder.name.replace('-', '_')}_app"
    spec = importlib.util.spec_from_file_location(name, folder / "app.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_fix_failing_tests_takes_two_fixes_and_succeeds() -> None:
    result = run_example(EXAMPLES / "fix-failing-tests")
    assert result.status is RunStatus.SUCCESS
    assert result.verdict.by == "task"
    assert result.verdict.in_process
    assert result.usage.rounds == 3
    assert result.changed_files == ("timespan/__init__.py",)
    assert '+    found = re.findall(r"(\\d+)([dhms])", text)' in result.diff


def test_word_report_proposes_a_check_that_fails_before_the_work() -> None:
    result = run_example(EXAMPLES / "word-report")
    assert result.status is RunStatus.SUCCESS
    assert result.verdict.by == "planner"
    assert [check.passes_untouched for check in result.verdict.checks] == [False]
    assert result.changed_files == ("report.txt",)


def test_supplier_quotes_repeats_nothing_after_a_failure() -> None:
    module = app(EXAMPLES / "supplier-quotes")
    shop = module.Shop()
    result = module.build(shop).run_sync("Buy 300 bolts.")
    assert result.status is RunStatus.SUCCESS
    assert result.verdict.by == "host"
    assert shop.orders == [("acme", 300)]
    assert result.usage.calls == 9  # six look-ups, one order, two attempts to confirm


def test_a_wrong_fix_does_not_succeed(tmp_path: Path) -> None:
    folder = spoiled(tmp_path, "fix-failing-tests", (3, "if count:", "if count > 1:"))
    assert run_example(folder).status is not RunStatus.SUCCESS


def test_a_planner_that_only_says_it_is_done_does_not_succeed(tmp_path: Path) -> None:
    folder = spoiled(
        tmp_path,
        "fix-failing-tests",
        (2, 'shell("python3 -m unittest")\n', ""),
        (3, "edit(", "note("),
        (3, 'shell("python3 -m unittest")\n', ""),
    )
    assert run_example(folder).status is not RunStatus.SUCCESS


@pytest.mark.parametrize(
    "cheat",
    [
        'shell("rm tests/test_timespan.py")',
        'write("tests/test_timespan.py", "")',
        'write("tests/conftest.py", "import os; os._exit(0)")',
        'write("tests/__init__.py", "def load_tests(*a): import unittest; '
        'return unittest.TestSuite()")',
        'shell("rm -r tests; ln -s /workspace/timespan tests")',
    ],
)
def test_tampering_with_the_tests_does_not_succeed(tmp_path: Path, cheat: str) -> None:
    folder = spoiled(
        tmp_path,
        "fix-failing-tests",
        (2, 'edit("timespan/__init__.py", "([hms])", "([dhms])")\n', cheat + "\n"),
        (2, 'shell("python3 -m unittest")\n', ""),
        (3, 'shell("python3 -m unittest")\n', ""),
        (3, "if count:", "if count >= 0:"),
    )
    result = run_example(folder)
    assert result.status is not RunStatus.SUCCESS


def test_a_report_with_wrong_counts_does_not_succeed(tmp_path: Path) -> None:
    folder = spoiled(tmp_path, "word-report", (2, "sort -k1,1nr", "sort -k2"))
    assert run_example(folder).status is not RunStatus.SUCCESS


def test_a_proposed_check_that_passes_untouched_proves_nothing(tmp_path: Path) -> None:
    folder = spoiled(tmp_path, "word-report", (2, "assert ", "assert True or "))
    spoil = folder / "replay.jsonl"
    text = spoil.read_text().replace("rows = [line.split()", "rows = []; [line.split()")
    spoil.write_text(text.replace('report.txt\\").read_text', 'task.md\\").read_text'))
    result = run_example(folder)
    assert result.status is RunStatus.ANSWERED


def test_a_tool_that_lies_to_the_planner_does_not_fool_the_apps_check() -> None:
    module = app(EXAMPLES / "supplier-quotes")

    class Deaf(module.Shop):  # type: ignore[name-defined,misc]
        """Says that it took the order, and does not."""

        class Orders(list):  # type: ignore[type-arg]
            def append(self, order: object) -> None:
                return None

        def __init__(self) -> None:
            super().__init__()
            self.orders = self.Orders()

    result = module.build(Deaf()).run_sync("Buy 300 bolts.")
    assert result.status is not RunStatus.SUCCESS
    assert "book" in result.verdict.checks[0].detail or result.reason


@dataclasses.dataclass
class Report:
    """A run of sales-report, what its tools were called for, and how each statement ended."""

    desk: Any
    result: Result
    ended: list[StatementResult]
    told: list[str]
    """The feedback of each round."""

    def times(self, part: str) -> int:
        """How often a statement that holds this text ran to its end."""
        return sum(part in one.text and one.status is Status.OK for one in self.ended)


def report_sales(folder: Path, workspace: Path, sandbox: str = "bubblewrap") -> Report:
    module = app(folder)
    desk = module.Desk()
    agent = module.build(desk, sandbox)
    workspace.mkdir()
    events: list[Event] = []

    async def go() -> None:
        async for event in agent.stream(module.task(workspace)):
            events.append(event)

    try:
        anyio.run(go)
    finally:
        agent.close()
    ended = [event.result for event in events if isinstance(event, StatementEnded)]
    told = [event.text for event in events if isinstance(event, FeedbackGiven)]
    assert agent.result is not None
    return Report(desk, agent.result, ended, told)


CURRENCIES = ["EUR", "GBP", "JPY", "USD"]
TOTALS = [
    ("east", "52131012.13"),
    ("north", "51497264.11"),
    ("south", "51506038.78"),
    ("west", "52282468.61"),
]
LOAD = """import csv
from decimal import Decimal

rows = []
with open("sales.csv", newline="") as file:
    for row in csv.DictReader(file):
        row["amount"] = row["amount"].strip() or "0.00"
        rows.append(row)
totals, rates = {}, {}
"""


@pytest.mark.parametrize(
    "sandbox", ["bubblewrap", pytest.param("docker", marks=pytest.mark.docker)]
)
def test_sales_report_keeps_the_load_and_repeats_no_call(tmp_path: Path, sandbox: str) -> None:
    report = report_sales(EXAMPLES / "sales-report", tmp_path / "sales", sandbox)
    result = report.result
    assert result.status is RunStatus.SUCCESS, result.reason
    assert [check.by for check in result.verdict.checks] == ["sandbox", "host"]
    assert not result.verdict.in_process
    assert result.changed_files == ("report.csv",)
    assert sorted(report.desk.looked_up) == CURRENCIES
    assert report.desk.mails == TOTALS
    assert result.usage.rounds == 3
    assert result.usage.calls == 4 + 5  # look-ups; mails, of which one failed
    assert (report.times("csv.DictReader"), report.times("csv.writer")) == (1, 1)


def test_the_page_about_sales_report_shows_what_happens(tmp_path: Path) -> None:
    report = report_sales(EXAMPLES / "sales-report", tmp_path / "sales")
    page = (EXAMPLES.parent / "docs" / "examples.md").read_text("utf-8")
    (shown,) = re.findall(r"^```text\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    told = report.told[0].splitlines()
    assert [line for line in shown.splitlines() if line not in told] == []
    assert f"success: {report.result.output}\n" in page
    assert f"look-ups: {report.desk.looked_up}; mails: {[r for r, _ in TOTALS]}\n" in page


def test_a_sales_report_that_loads_otherwise_still_looks_up_once(tmp_path: Path) -> None:
    folder = spoiled(tmp_path, "sales-report", (2, "# add up\n", LOAD))
    report = report_sales(folder, tmp_path / "sales")
    assert report.result.status is RunStatus.SUCCESS, report.result.reason
    assert report.times("csv.DictReader") == 2
    assert sorted(report.desk.looked_up) == CURRENCIES
    assert report.desk.mails == TOTALS


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('text = "-" + text.strip("()")', 'text = text.strip("()")'),
        (':.2f}"])', ':.1f}"])'),
        ("# write\n", "open('sales.csv', 'w').write('day,region,currency,amount\\n')\n"),
    ],
)
def test_a_wrong_sales_report_does_not_succeed(tmp_path: Path, old: str, new: str) -> None:
    folder = spoiled(tmp_path, "sales-report", (2, old, new))
    report = report_sales(folder, tmp_path / "sales")
    assert report.result.status is not RunStatus.SUCCESS
    assert not report.result.verdict.checks[0].passed


def test_trip_goals_does_in_parts_what_failed_twice() -> None:
    result = run_example(EXAMPLES / "trip-goals")
    assert result.status is RunStatus.SUCCESS
    assert result.verdict.by == "task"
    assert not result.verdict.in_process
    assert result.changed_files == ("itinerary.md",)
    assert "+- Hotel Tejo, three nights with breakfast, 305.89 EUR" in result.diff
    assert result.usage.rounds == 10  # three of the plan, seven of its goals


@pytest.mark.parametrize(
    ("reply", "old", "new"),
    [
        (4, "give_up(", "done("),  # the second attempt claims to have found something
        (7, '"Hotel Tejo": 14', '"Hotel Tejo": 41'),  # `llm` is wrong
        (7, "null", '"none"'),  # and does not fit its schema
    ],
)
def test_a_trip_with_a_wrong_hotel_does_not_succeed(
    tmp_path: Path, reply: int, old: str, new: str
) -> None:
    folder = spoiled(tmp_path, "trip-goals", (reply, old, new), replay="executor.jsonl")
    assert run_example(folder).status is not RunStatus.SUCCESS
