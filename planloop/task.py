"""Tasks: what is asked, on what, and how success is decided. Read by `planloop.taskfile`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, TypeAlias

from planloop.budget import Budget
from planloop.sandbox import SandboxSpec
from planloop.values import Value

DEFAULT_PINS = (
    "tests/**",
    "test_*.py",
    "**/test_*.py",
    "*_test.py",
    "**/*_test.py",
    "conftest.py",
    "**/conftest.py",
    "pytest.ini",
    "tox.ini",
)
"""Put back from the original before a `run` check, besides existing paths that it names."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunCheck:
    """A command exits 0 in a clean sandbox over the result."""

    run: str
    pins: tuple[str, ...] | None = None
    """Glob patterns of paths put back from the original; None for the default."""
    timeout_s: float | None = None
    kind: Literal["run"] = "run"

    @property
    def label(self) -> str:
        """How views name it."""
        return self.run


@dataclasses.dataclass(frozen=True, kw_only=True)
class FileCheck:
    """A file of the result exists, contains a text, or equals one."""

    file: str
    contains: str | None = None
    equals: str | None = None
    kind: Literal["file"] = "file"

    @property
    def label(self) -> str:
        """How views name it."""
        if self.contains is not None:
            return f"{self.file} contains {self.contains[:40]!r}"
        if self.equals is not None:
            return f"{self.file} equals {self.equals[:40]!r}"
        return f"{self.file} exists"


@dataclasses.dataclass(frozen=True, kw_only=True)
class PythonCheck:
    """Python source that ends without an error in a clean sandbox, the result as its folder."""

    python: str
    timeout_s: float | None = None
    kind: Literal["python"] = "python"

    @property
    def label(self) -> str:
        """How views name it."""
        lines = [line.strip() for line in self.python.strip().splitlines() if line.strip()]
        return f"python: {lines[-1][:60]}" if lines else "python"


Check: TypeAlias = RunCheck | FileCheck | PythonCheck


@dataclasses.dataclass(frozen=True, kw_only=True)
class WorkspaceSpec:
    """What of the folder is copied. Sizes in bytes."""

    git: bool = False
    """Bring `.git`, without its config and hooks."""
    include: tuple[str, ...] = ()
    """Glob patterns that are copied although an ignore rule leaves them out."""
    exclude: tuple[str, ...] = ()
    max_bytes: int = 1_000_000_000
    max_files: int = 50_000


@dataclasses.dataclass(frozen=True, kw_only=True)
class SetupSpec:
    """Commands that make the copy of the folder ready, once, with the network open."""

    commands: tuple[str, ...] = ()
    """Shell lines, run one after the other."""
    suggested: bool = False
    """Run what lock files of the folder suggest, in place of commands."""
    timeout_s: float = 900.0
    """For each command."""

    def __bool__(self) -> bool:
        return self.suggested or bool(self.commands)


@dataclasses.dataclass(frozen=True, kw_only=True)
class PackagesSpec:
    """Packages that are there before the setup commands. Their installers see no file."""

    pip: tuple[str, ...] = ()
    """Requirements, installed into an environment that is first on PATH."""
    apt: tuple[str, ...] = ()
    """Packages of the image's distribution; docker only."""

    def __bool__(self) -> bool:
        return bool(self.pip or self.apt)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """Which model a task asks for: `provider:model`, or a name at a base URL."""

    name: str
    base_url: str | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Task:
    """What is asked, on what, and how success is decided."""

    text: str
    """The task description, in Markdown."""
    folder: Path | None = None
    """The folder that the run works on a copy of; None for a run without files."""
    name: str = "task"
    model: ModelSpec | None = None
    executor: ModelSpec | None = None
    """The model of goals and `llm` calls; None for the one that plans."""
    on_fail: Literal["tell", "decompose"] = "tell"
    """What comes of a goal or external call that fails again: the planner is told, or it is done
    in parts."""
    sandbox: SandboxSpec | None = None
    environment: str | None = None
    workspace: WorkspaceSpec = dataclasses.field(default_factory=WorkspaceSpec)
    setup: SetupSpec = dataclasses.field(default_factory=SetupSpec)
    packages: PackagesSpec = dataclasses.field(default_factory=PackagesSpec)
    tools: tuple[str, ...] | None = None
    """Names, `module:function` or paths; None for the environment's own."""
    checks: tuple[Check, ...] = ()
    budget: Budget | None = None
    inputs: Mapping[str, Value] = dataclasses.field(default_factory=dict)
    """Names bound before the first plan."""
    outputs: tuple[str, ...] = ()
    """Glob patterns of result files copied to the run's folder."""
