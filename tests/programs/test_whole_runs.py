"""Programs in whole runs: prompt, feedback, checks, trace, follow-ups, two sandboxes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from planloop import Agent, Budget, FunctionModel, Request, RunStatus, Task, tool
from planloop.state import Result
from planloop.task import FileCheck
from planloop.trace.fold import RunView, fold
from planloop.trace.log import read_log

ROWS = "\n".join(f"{n},{n * 2}" for n in range(100)) + "\n7,bad\n5,5\n"
FIRST = """```python
# load
import csv
rows = list(csv.reader(open("rows.csv")))
stamp = sign("sales")

# add up
total = 0
for row in rows:
    total += int(row[1])
print(len(rows), "rows")

# write
open("total.txt", "w").write(f"{total} {stamp}")
done(total)
```"""
SECOND = FIRST.replace(
    "    total += int(row[1])", "    if row[1].isdigit():\n        total += int(row[1])"
)
TOTAL = sum(n * 2 for n in range(100)) + 5


class Signing:
    """A model that plays its replies, and keeps what it was asked."""

    def __init__(self, *replies: str) -> None:
        self._replies = iter(replies)
        self.asked: list[str] = []
        self.signed: list[str] = []

    def model(self) -> FunctionModel:
        def answer(request: Request) -> str:
            self.asked.append(request.messages[-1].text)
            self.system = request.messages[0].text
            return next(self._replies)

        return FunctionModel(answer)

    def agent(self, sandbox: str = "bubblewrap", store: Path | None = None) -> Agent[Any]:
        @tool
        def sign(text: str) -> str:
            """Sign it."""
            self.signed.append(text)
            return f"signed {text}"

        return Agent(
            model=self.model(),
            tools=[sign],
            sandbox=sandbox,
            store=store,
            budget=Budget(cost_usd=None),
        )


def task_in(folder: Path) -> Task:
    folder.mkdir(exist_ok=True)
    (folder / "rows.csv").write_text(ROWS)
    check = FileCheck(file="total.txt", equals=f"{TOTAL} signed sales")
    return Task(text="Add up.", folder=folder, checks=(check,))


def run(signing: Signing, sandbox: str, tmp_path: Path) -> tuple[Result, RunView]:
    agent = signing.agent(sandbox, tmp_path)
    result = agent.run_sync(task_in(tmp_path / "task"))
    agent.close()
    (folder,) = (tmp_path / ".planloop" / "runs").iterdir()
    recorded, notices = read_log(folder)
    assert notices == ()
    return result, fold(one.event for one in recorded)


@pytest.mark.parametrize(
    "sandbox", ["bubblewrap", pytest.param("docker", marks=pytest.mark.docker)]
)
def test_a_program_fails_deep_in_a_loop_and_its_revision_keeps_what_is_done(
    sandbox: str, tmp_path: Path
) -> None:
    signing = Signing(FIRST, SECOND)
    result, view = run(signing, sandbox, tmp_path)
    assert (result.status, result.output) == (RunStatus.SUCCESS, TOTAL)
    assert signing.signed == ["sales"]
    assert [found.form for found in view.rounds] == ["program", "program"]
    assert view.rounds[1].mode == "whole"
    texts = [one.text for one in view.rounds[1].statements]
    assert not any("csv.reader" in text for text in texts), "the load is kept"
    told = signing.asked[1]
    assert "ValueError: invalid literal for int() with base 10: 'bad'" in told
    assert "the loop in line 8 = iteration 101" in told
    assert "The failed statement has left no effect on names and files." in told
    assert "its top-level statements run one at a time" in signing.system


def test_without_a_sandbox_the_prompt_teaches_no_programs_and_one_is_refused() -> None:
    signing = Signing("```python\nimport os\n```", "```python\ndone(1)\n```")
    result = signing.agent("none").run_sync("count")
    assert result.output == 1
    assert "No `if`, `for`" in signing.system
    assert "programs need a sandbox with python3" in signing.asked[1]


def test_a_follow_up_finds_definitions_and_values(tmp_path: Path) -> None:
    first = "```python\ndef twice(x):\n    return 2 * x\nn = 4\ndone(n)\n```"
    signing = Signing(first, "```python\ndone(twice(n) + 1)\n```")
    agent = signing.agent()
    task = Task(text="Count.", folder=tmp_path)
    try:
        assert agent.run_sync(task).output == 4
        assert agent.follow_up_sync("And now?").output == 9
    finally:
        agent.close()


def test_the_budget_counts_the_time_of_programs() -> None:
    signing = Signing("```python\nimport time\ntime.sleep(0.3)\ndone(1)\n```")
    agent = signing.agent()
    result = agent.run_sync("sleep")
    agent.close()
    assert 0.3 <= result.usage.sandbox_s < 3
