"""What an engine says of itself, and what follows for the limits of a sandbox."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from planloop.errors import UserError
from planloop.text import one_line

_SHIMS = "io.containerd."
"""Runtimes called so are found by their name, not in the engine's list."""
_PLAIN = ("runc", "crun")


@dataclasses.dataclass(frozen=True)
class EngineFacts:
    """What an engine can hold."""

    holds_memory: bool
    counts_swap: bool
    holds_processes: bool
    filters_calls: bool
    """Whether it takes a seccomp profile."""
    runtimes: tuple[str, ...]
    runtime: str
    """The one that is used where none is asked for."""

    @classmethod
    def read(cls, info: Mapping[str, Any]) -> EngineFacts:
        """From the engine's `/info`."""
        security = info.get("SecurityOptions") or ()
        return cls(
            holds_memory=bool(info.get("MemoryLimit")),
            counts_swap=bool(info.get("SwapLimit")),
            holds_processes=bool(info.get("PidsLimit", True)),
            filters_calls=any("seccomp" in str(one) for one in security),
            runtimes=tuple(sorted(map(str, info.get("Runtimes") or ()))),
            runtime=str(info.get("DefaultRuntime") or "runc"),
        )

    @classmethod
    def usual(cls) -> EngineFacts:
        """What nearly every engine can hold, until this one has been asked."""
        return cls(
            holds_memory=True,
            counts_swap=True,
            holds_processes=True,
            filters_calls=True,
            runtimes=_PLAIN,
            runtime=_PLAIN[0],
        )

    @property
    def decisive(self) -> tuple[bool, bool]:
        """What a container is made differently for."""
        return self.holds_memory, self.filters_calls

    def refuse_unknown(self, runtime: str | None) -> None:
        """See that the engine knows a runtime.

        Raises:
            UserError: it does not; the known ones are listed.
        """
        if runtime is None or runtime in self.runtimes or runtime.startswith(_SHIMS):
            return
        known = ", ".join(f"`{one_line(name, 60)}`" for name in self.runtimes)
        raise UserError(
            f"the Docker engine has no runtime `{one_line(runtime, 60)}`",
            hint=f"it has {known}; others are added in the engine's own configuration",
        )

    def shares_kernel(self, runtime: str | None) -> bool:
        """Whether containers of a runtime, None for the engine's own, run on the engine's kernel.

        A runtime that is not known to do so is taken to bring its own, as gVisor and Kata do.
        """
        return (runtime or self.runtime).removeprefix(_SHIMS).startswith(_PLAIN)

    def unenforced(self) -> tuple[str, ...]:
        """Limits that this engine does not hold, a sentence each."""
        sentences = (
            (self.holds_memory, "memory limit: per process only"),
            (self.counts_swap, "memory limit: this engine does not count swap"),
            (self.holds_processes, "process limit: this engine's kernel has none"),
            (self.filters_calls, "system calls: this engine filters none"),
        )
        return tuple(sentence for holds, sentence in sentences if not holds)
