"""The examples run as they are, and stop succeeding when they are spoiled."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path
from types import ModuleType

import pytest

from planloop import Agent, Result, RunStatus
from planloop.taskfile import load_task

EXAMPLES = Path(__file__).parents[2] / "examples"


def run_example(folder: Path) -> Result:
    task = load_task(folder, cwd=folder).task
    return Agent(sandbox="bubblewrap").run_sync(task)


def spoiled(tmp_path: Path, name: str, *changes: tuple[int, str, str]) -> Path:
    """A copy of an example in whose replies texts are replaced: (reply, old, new)."""
    folder = tmp_path / name
    shutil.copytree(EXAMPLES / name, folder)
    path = folder / "replay.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for number, old, new in changes:
        reply = lines[number]["reply"]
        assert old in reply["text"]
        reply["text"] = reply["text"].replace(old, new)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def app(folder: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("supplier_quotes_app", folder / "app.py")
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
