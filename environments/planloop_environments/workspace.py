"""The default environment: a folder of files in a sandbox."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import planloop_tools
from planloop import Environment, Tool, World

_MOST_ENTRIES = 40
_MOST_WIDTH = 80


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
        view = listing(await self._world.sandbox.scan())
        if view == self._shown:
            return None
        self._shown = view
        return view


def listing(paths: Iterable[str]) -> str:
    """A short view of a folder: files at its top, and how many each subfolder holds."""
    everything = list(paths)
    folders = Counter(path.partition("/")[0] for path in everything if "/" in path)
    entries = [
        f"{_shown(name)}/ ({count} file{'s' * (count > 1)})"
        for name, count in sorted(folders.items())
    ]
    entries += [_shown(path) for path in sorted(everything) if "/" not in path]
    lines = [f"The workspace holds {len(everything)} files:", *entries[:_MOST_ENTRIES]]
    if len(entries) > _MOST_ENTRIES:
        lines.append(f"… and {len(entries) - _MOST_ENTRIES} more")
    return "\n".join(lines)


def _shown(name: str) -> str:
    """A name on one line, whatever it holds."""
    plain = name if name.isprintable() else repr(name)
    return plain if len(plain) <= _MOST_WIDTH else plain[: _MOST_WIDTH - 1] + "…"
