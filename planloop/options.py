"""What an agent was built with."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from planloop.environment import Environment
    from planloop.feedback.approval import Approve
    from planloop.feedback.checks import HostCheck
    from planloop.messages import Model
    from planloop.models.function import ModelFunction
    from planloop.sandbox import SandboxSpec
    from planloop.task import ModelSpec
    from planloop.tool import Tool


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """What an agent was built with; names in it are looked up when it runs."""

    model: str | ModelSpec | Model | ModelFunction | None
    executor: str | ModelSpec | Model | ModelFunction | None
    tools: tuple[Tool | Callable[..., Any] | str, ...]
    environment: Environment | str | None
    sandbox: SandboxSpec | None
    checks: tuple[HostCheck, ...]
    deps: Any
    output_type: Any
    approve: Approve | None
    on_fail: Literal["tell", "decompose"] | None
    """None for what the task says."""
    store: Path | None
    style: str
    unsafe_local: bool
