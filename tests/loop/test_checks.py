"""What a check may and may not be fooled by, in real sandboxes."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from planloop import (
    Agent,
    FileCheck,
    FunctionModel,
    PythonCheck,
    Result,
    RunCheck,
    RunStatus,
    Task,
    UserError,
)
from planloop.task import Check
from tests.loop.worlds import block


def run(folder: Path, plan: str, *checks: Check) -> Result:
    replies = iter([block(plan)])
    agent = Agent(
        model=FunctionModel(lambda _: next(replies, block('give_up("over")'))),
        sandbox="bubblewrap",
    )
    try:
        return agent.run_sync(Task(text="x", folder=folder, checks=checks))
    finally:
        agent.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "expected").write_text("hello\n")
    (tmp_path / "prog").write_text("#!/bin/sh\necho bye\n")
    (tmp_path / "prog").chmod(0o755)
    return tmp_path


def test_a_check_that_only_looks_claims_more_than_one_that_runs_the_result(folder: Path) -> None:
    plan = 'write("prog", "#!/bin/sh\\necho hello\\n")\nshell("./prog > out")\ndone()'
    looks = run(folder, plan, RunCheck(run="cmp out expected"))
    runs = run(folder, plan, RunCheck(run="./prog | cmp - expected", pins=("expected",)))
    assert looks.status is runs.status is RunStatus.SUCCESS
    assert not looks.verdict.in_process
    assert runs.verdict.in_process


@pytest.mark.parametrize("command", ["./prog > out; cmp out expected", "./prog | cmp - expected"])
def test_a_program_that_overwrites_what_it_is_compared_to_does_not_pass(
    folder: Path, command: str
) -> None:
    cheat = "#!/bin/sh\\necho bye > expected; cat expected\\n"
    plan = f'write("prog", "{cheat}")\nshell("chmod +x prog")\ndone()'
    result = run(folder, plan, RunCheck(run=command, pins=("expected",)))
    assert result.status is not RunStatus.SUCCESS


def test_an_expected_file_changed_by_the_plan_is_put_back(folder: Path) -> None:
    result = run(
        folder, 'write("expected", "bye\\n")\ndone()', RunCheck(run="./prog | cmp - expected")
    )
    assert result.status is not RunStatus.SUCCESS
    assert result.verdict.checks[0].restored == ("expected",)


def test_a_python_check_sees_the_result_as_its_folder(folder: Path) -> None:
    check = PythonCheck(python="assert open('n').read() == '7'")
    assert run(folder, 'write("n", "7")\ndone()', check).status is RunStatus.SUCCESS
    assert run(folder, 'write("n", "8")\ndone()', check).status is not RunStatus.SUCCESS


@pytest.mark.parametrize("module", ["json.py", "sitecustomize.py", "os.py"])
def test_a_python_check_that_the_result_could_shadow_says_in_process(
    folder: Path, module: str
) -> None:
    plan = f'write("{module}", "")\nwrite("n", "7")\ndone()'
    result = run(folder, plan, PythonCheck(python="assert open('n').read() == '7'"))
    assert result.status is not RunStatus.SUCCESS or result.verdict.in_process


def test_a_file_check_looks_at_the_file_itself_never_behind_a_link(folder: Path) -> None:
    plan = 'shell("ln -s expected out")\ndone()'
    assert run(folder, plan, FileCheck(file="out")).status is not RunStatus.SUCCESS
    plan = 'write("out", "a\\nb\\n")\ndone()'
    assert run(folder, plan, FileCheck(file="out", contains="b")).status is RunStatus.SUCCESS
    assert run(folder, plan, FileCheck(file="out", equals="a\n")).status is not RunStatus.SUCCESS


def test_a_check_runs_in_a_sandbox_that_the_plan_could_not_prepare(folder: Path) -> None:
    plan = 'shell("echo x > /tmp/mark; (sleep 60 &) ")\ndone()'
    result = run(folder, plan, RunCheck(run="test -e /tmp/mark"))
    assert result.status is not RunStatus.SUCCESS


@pytest.mark.parametrize(
    ("check", "why"),
    [
        (RunCheck(run="no-such-program --check"), "the sandbox has no `no-such-program`"),
        (PythonCheck(python="x = 1\ny = ("), r"no Python: line 2: SyntaxError: "),
        (PythonCheck(python="if x:\npass"), r"no Python: line 2: IndentationError: "),
    ],
)
def test_a_check_that_cannot_run_is_refused_before_the_first_request(
    folder: Path, check: Check, why: str
) -> None:
    asked: list[object] = []
    agent = Agent(model=FunctionModel(lambda r: asked.append(r) or "x"), sandbox="bubblewrap")
    with pytest.raises(UserError, match=why):
        agent.run_sync(Task(text="x", folder=folder, checks=(check,)))
    agent.close()
    assert asked == []


def test_a_runner_that_the_sandbox_has_not_is_refused_and_one_of_the_folder_is_not(
    folder: Path,
) -> None:
    check = RunCheck(run="python3 -B -m nox --version")
    if subprocess.run(["/usr/bin/python3", "-c", "import nox"], check=False).returncode == 0:
        pytest.skip("this machine's own python3 has nox")
    with pytest.raises(UserError, match="`python3` in the sandbox has no `nox`"):
        run(folder, "done()", check)
    (folder / "nox.py").write_text("print('here')\n")
    assert run(folder, 'write("a", "b")\ndone()', check).status is RunStatus.SUCCESS
