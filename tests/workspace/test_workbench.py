from __future__ import annotations

import os
from pathlib import Path

import pytest

from planloop.sandbox import Command, SandboxSpec
from planloop.sandboxes import open_sandbox
from planloop.task import WorkspaceSpec
from planloop.workspace import Workbench

from .trees import Tree, build


@pytest.mark.anyio
async def test_a_file_too_large_to_come_back_is_not_taken_for_deleted(tmp_path: Path) -> None:
    before: Tree = {"grown": (b"1", False), "gone": (b"1", False), "kept": (b"1", False)}
    folder = build(before, tmp_path / "mine")
    bench, _ = await Workbench.open(folder, WorkspaceSpec(max_bytes=10_000))
    sandbox = await open_sandbox(
        SandboxSpec(kind="bubblewrap"), run_id=f"bench-{os.getpid()}", state_dir=tmp_path / "s"
    )
    assert sandbox is not None
    try:
        await sandbox.copy_in(bench.original)
        bench.attach(sandbox, lambda: 1)
        await sandbox.run(Command(line="head -c 50000 /dev/zero > grown; rm gone; echo 2 > new"))
        found = await bench.diff()
    finally:
        await sandbox.close()
        bench.close()
    assert [(c.path, c.kind) for c in found.changes] == [("gone", "deleted"), ("new", "added")]
    assert dict(found.left_out) == {"grown": "could not be copied out of the sandbox"}
