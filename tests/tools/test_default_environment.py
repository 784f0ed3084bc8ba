from __future__ import annotations

import pytest

from planloop import Sandbox, World
from planloop_environments import Workspace
from planloop_environments.workspace import listing


def test_a_listing_is_short_whatever_the_folder_holds() -> None:
    paths = [f"f{i}" for i in range(500)] + [f"d/{i}" for i in range(500)]
    paths += ["odd\nname", "x" * 250, "\x1b]0;x\x07"]
    view = listing(paths)
    assert view.startswith("The workspace holds 1003 files:\nd/ (500 files)\n")
    assert view.endswith("… and 464 more")
    assert len(view) < 4_500
    assert all(line.isprintable() for line in listing(paths[-3:]).splitlines())


@pytest.mark.anyio
async def test_the_workspace_is_shown_again_only_when_it_changed(sandbox: Sandbox) -> None:
    environment = Workspace()
    await environment.setup(World(deps=None, sandbox=sandbox, folder=None))
    await sandbox.write_file("src/a.py", b"1")
    assert await environment.observe() == "The workspace holds 1 files:\nsrc/ (1 file)"
    assert await environment.observe() is None
    await sandbox.write_file("b", b"1")
    assert await environment.observe() == "The workspace holds 2 files:\nsrc/ (1 file)\nb"


def test_it_offers_planloops_own_tools() -> None:
    names = {tool.name for tool in Workspace().tools()}
    assert names == {"background", "edit", "read", "search", "shell", "write"}
    assert Workspace.needs_sandbox
