"""The contract of environments: what a world means. Every method has a default."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from planloop.state import CheckResult
from planloop.tool import Tool
from planloop.values import Value

if TYPE_CHECKING:
    from pathlib import Path

    from planloop.sandbox import Sandbox


@dataclasses.dataclass(frozen=True, kw_only=True)
class World:
    """What an environment is given when a run starts."""

    deps: Any
    sandbox: Sandbox | None
    folder: Path | None
    """The user's folder that the run works on a copy of; never write to it."""


class Environment:
    """A meaning: tools, observations, checks. Subclass it and override what you need.

    A useful one fits in 20 lines. One that does not override `restore` must not offer tools
    with a `workspace` effect, unless the run has a sandbox that holds its state.
    """

    name: str = "environment"
    needs_sandbox: bool = False
    """Whether its tools use the run's sandbox."""

    async def setup(self, world: World) -> None:
        """Get ready. Called once, before the first plan."""

    def tools(self) -> Sequence[Tool]:
        """The tools of this world."""
        return ()

    def available(self) -> Sequence[str] | None:
        """Names of the tools that make sense now; None for all. Told to the planner only."""
        return None

    async def observe(self) -> Value:
        """What the planner sees of the world after each round; None for nothing."""
        return None

    async def check(self, output: Value) -> Sequence[CheckResult]:
        """Checks of its own on the world and the run's output; the verdict then says `host`."""
        return ()

    async def snapshot(self) -> Any:
        """A token for the present state.

        Called before a lineage's first effect, and before a statement that could be half executed.
        """
        return None

    async def restore(self, token: Any) -> None:
        """Go back to a state that `snapshot` remembered."""
        raise NotImplementedError(f"environment `{self.name}` cannot go back")

    async def close(self) -> None:
        """Release everything. Called once, whatever happened."""

    @property
    def restores(self) -> bool:
        """Whether this class can go back to a snapshot."""
        return type(self).restore is not Environment.restore
