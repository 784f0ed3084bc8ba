"""One task in two sandboxes folds to one essence."""

from __future__ import annotations

from pathlib import Path

import pytest
from console import Shell, copy_task, only_run

from planloop.trace.fold import Essence, essence, fold
from planloop.trace.log import read_log


def run_in(shell: Shell, sandbox: str, tmp_path: Path) -> tuple[Essence, str]:
    own = Shell(shell.home, tmp_path / sandbox)
    own.folder.mkdir()
    folder = copy_task(own, "fix")
    ran = own("run", "task.md", "--sandbox", sandbox, cwd=folder)
    assert ran.code == 0, ran.err
    recorded, notices = read_log(only_run(folder))
    assert notices == ()
    view = fold(one.event for one in recorded)
    assert view.sandbox == sandbox
    return essence(view), ran.out


@pytest.mark.docker
def test_docker_and_bubblewrap_fold_to_the_same_plans_calls_verdict_and_diff(
    shell: Shell, tmp_path: Path
) -> None:
    in_bubblewrap, first = run_in(shell, "bubblewrap", tmp_path)
    in_docker, second = run_in(shell, "docker", tmp_path)
    assert in_docker == in_bubblewrap
    assert second == first
    assert in_docker["verdict"] == [("python3 -m unittest -q", True)]
