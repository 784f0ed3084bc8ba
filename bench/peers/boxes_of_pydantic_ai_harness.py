"""The workspaces of pydantic-ai-harness: `boxes_of_pydantic_ai_harness.py bubblewrap | docker`."""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from boxes import serve
from pydantic_ai.workspaces import LocalWorkspaceBackend, Workspace
from pydantic_ai_harness.bubblewrap_sandbox import BubblewrapWorkspace
from pydantic_ai_harness.docker_sandbox import DockerSandbox, DockerSandboxBackend

KIND = sys.argv[1]


class HarnessBox:
    def __init__(self, workspace: Any, folder: Path | None) -> None:
        self.workspace = workspace
        self.folder = folder

    async def call(self, line: str, timeout_s: float) -> str:
        return str((await self.workspace.run(line, shell=True, timeout=timeout_s)).stdout)

    def containers(self) -> list[str]:
        return [self.workspace.ref.id] if KIND == "docker" else []

    async def close(self) -> None:
        if self.folder is not None:
            shutil.rmtree(self.folder)
        else:
            await DockerSandbox().destroy(self.workspace.ref)


async def open_box() -> HarnessBox:
    folder, workspace = None, None
    if KIND == "docker":
        workspace = DockerSandboxBackend(
            image="planloop-sandbox:latest", allow_internet_access=False
        )
    else:
        folder = Path(tempfile.mkdtemp(dir=sys.argv[2]))
        workspace = BubblewrapWorkspace(Workspace(LocalWorkspaceBackend(folder)))
    box = HarnessBox(workspace, folder)
    await box.call("true", 60)  # nothing is made before the first call
    return box


if __name__ == "__main__":
    serve(open_box)
