"""Small file tasks: their plans, and whole runs of them in a real sandbox."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

import planloop_tools
from planloop import Agent, Budget, FileCheck, FunctionModel, PythonCheck, RunStatus, Task
from planloop.language import parse
from planloop.plan import Flow
from tests.suites.running import block, rows, table

TASKS = rows("small/tasks.jsonl")
TOOLS = [getattr(planloop_tools, name) for name in planloop_tools.__all__]


def test_the_plans_of_small_tasks_are_flows() -> None:
    for task in TASKS:
        plan = parse(task["gold"], table(TOOLS), ())
        assert isinstance(plan, Flow), task["id"]
        assert [one.kind for one in plan.statements] == ["expression", "done"], task["id"]
    assert len(TASKS) == 20


def lay_out(folder: Path, files: dict[str, str | None]) -> None:
    for name, text in files.items():
        if text is None:
            (folder / name).mkdir()
        else:
            (folder / name).write_text(text, "utf-8")


def wanted(after: dict[str, str | None]) -> list[Any]:
    """Checks that the result is this folder, and nothing else."""
    texts = [FileCheck(file=name, equals=text) for name, text in after.items() if text is not None]
    folders = [name for name, text in after.items() if text is None]
    source = (
        "import os\n"
        "found = sorted(name for name in os.listdir('.') if not name.startswith('.'))\n"
        f"assert found == {sorted(after)!r}, found\n"
        f"assert all(os.path.isdir(name) for name in {folders!r})\n"
    )
    return [*texts, PythonCheck(python=source)]


def carry_out(task: dict[str, Any], folder: Path, plan: str) -> tuple[Any, list[str]]:
    told: list[str] = []
    replies = iter([block(plan), block('give_up("that did not do it")')])

    def answer(request: Any) -> str:
        told.append(request.messages[-1].text)
        return next(replies)

    agent = Agent(model=FunctionModel(answer), sandbox="bubblewrap", budget=Budget(rounds=2))
    whole = Task(text=task["text"], folder=folder, checks=tuple(wanted(task["after"])))
    try:
        return agent.run_sync(whole), told
    finally:
        agent.close()


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS, ids=lambda task: task["id"])
def test_a_small_task_is_done_in_a_sandbox_and_the_folder_is_left_alone(
    task: dict[str, Any], tmp_path: Path
) -> None:
    lay_out(tmp_path, task["files"])
    result, told = carry_out(task, tmp_path, task["gold"])
    assert result.status is RunStatus.SUCCESS, (result.reason, told)
    assert result.verdict.by == "task"
    before, after = task["files"], task["after"]
    touched = before.keys() | after.keys()
    changed = {name for name in touched if before.get(name) != after.get(name)}
    assert set(result.changed_files) == changed
    assert sorted(os.listdir(tmp_path)) == sorted(task["files"])


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS[:5], ids=lambda task: task["id"])
def test_a_small_task_that_is_not_done_is_no_success(task: dict[str, Any], tmp_path: Path) -> None:
    lay_out(tmp_path, task["files"])
    plan = "shell(\"echo 'All tests passed'\")\ndone('success')"
    result, told = carry_out(task, tmp_path, plan)
    assert result.status is RunStatus.FAILED, (result.reason, told)
    assert not result.verdict.passed
