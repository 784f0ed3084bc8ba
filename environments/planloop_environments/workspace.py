"""The default environment: a folder of files in a sandbox."""

from __future__ import annotations

from collections.abc import Sequence

import planloop_tools
from planloop import Environment, Tool, World

_MOST_ENTRIES = 40


class Workspace(Environment):
    """Files in a sandbox, with a shell and tools to read and change them."""

    name = "workspace"
    needs_sandbox = True

    def __init__(self) -> None:
        self._world: World | None = None
        self._shown: str | None = None

    async def setup(self, world: World) -> None:
        """Remember the run's sandbox."""
        self._world = world
        self._shown = None

    def tools(self) -> Sequence[Tool]:
        """The shell, and tools for files."""
        return [getattr(planloop_tools, name) for name in planloop_tools.__all__]

    async def observe(self) -> str | None:
        """The top of the folder, when it is not as it was shown before."""
        if self._world is None or self._world.sandbox is None:
            return None
        paths = await self._world.sandbox.scan()
        view = listing(sorted(paths))
        if view == self._shown:
            return None
        self._shown = view
        return view


def listing(paths: Sequence[str]) -> str:
    """A short view of a folder: files at its top, and how many each subfolder holds."""
    folders: dict[str, int] = {}
    files = []
    for path in paths:
        top, slash, _ = path.partition("/")
        if slash:
            folders[top] = folders.get(top, 0) + 1
        else:
            files.append(top)
    entries = [f"{name}/ ({count} files)" for name, count in sorted(folders.items())] + files
    shown = entries[:_MOST_ENTRIES]
    if len(entries) > len(shown):
        shown.append(f"… and {len(entries) - len(shown)} more")
    return f"The workspace holds {len(paths)} files:\n" + "\n".join(shown)
