"""planloop: a plan-execute-feedback agent framework.

Names are loaded when they are first used, so that importing planloop costs next to nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from planloop._version import __version__

# Not lazy: loading the module `planloop.tool` later would put it in the decorator's place.
from planloop.tool import tool

if TYPE_CHECKING:
    from planloop.agent import Agent
    from planloop.budget import Budget, Usage
    from planloop.environment import Environment, World
    from planloop.errors import (
        BudgetSpent,
        CallFailed,
        InfrastructureError,
        ModelUnavailable,
        PlanloopError,
        SandboxLost,
        TaskError,
        UserError,
    )
    from planloop.feedback.checks import Candidate
    from planloop.messages import Message, Model, Profile, Reply, Request
    from planloop.models import FunctionModel, OpenAIChat, ReplayModel
    from planloop.observation import Status
    from planloop.sandbox import (
        Command,
        CommandReady,
        Completed,
        FileStamp,
        Limits,
        OnOutput,
        OutputReady,
        PortReady,
        Process,
        Ready,
        Sandbox,
        SandboxSpec,
        Service,
        ServiceState,
        Snapshot,
    )
    from planloop.sandboxes import open_sandbox
    from planloop.state import CheckResult, Result, RunStatus, Verdict
    from planloop.task import (
        FileCheck,
        ModelSpec,
        PackagesSpec,
        PythonCheck,
        RunCheck,
        SetupSpec,
        Task,
        WorkspaceSpec,
    )
    from planloop.tool import Context, Effect, Tool
else:
    _HOMES = {
        "agent": ("Agent",),
        "budget": ("Budget", "Usage"),
        "environment": ("Environment", "World"),
        "errors": (
            "BudgetSpent",
            "CallFailed",
            "InfrastructureError",
            "ModelUnavailable",
            "PlanloopError",
            "SandboxLost",
            "TaskError",
            "UserError",
        ),
        "feedback.checks": ("Candidate",),
        "messages": ("Message", "Model", "Profile", "Reply", "Request"),
        "models": ("FunctionModel", "OpenAIChat", "ReplayModel"),
        "observation": ("Status",),
        "sandbox": (
            "Command",
            "CommandReady",
            "Completed",
            "FileStamp",
            "Limits",
            "OnOutput",
            "OutputReady",
            "PortReady",
            "Process",
            "Ready",
            "Sandbox",
            "SandboxSpec",
            "Service",
            "ServiceState",
            "Snapshot",
        ),
        "sandboxes": ("open_sandbox",),
        "state": ("CheckResult", "Result", "RunStatus", "Verdict"),
        "task": (
            "FileCheck",
            "ModelSpec",
            "PackagesSpec",
            "PythonCheck",
            "RunCheck",
            "SetupSpec",
            "Task",
            "WorkspaceSpec",
        ),
        "tool": ("Context", "Effect", "Tool"),
    }
    _HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

    def __getattr__(name: str) -> object:
        if name not in _HOME_OF:
            raise AttributeError(f"module 'planloop' has no attribute {name!r}")
        import importlib

        found = getattr(importlib.import_module(f"planloop.{_HOME_OF[name]}"), name)
        globals()[name] = found
        return found

    def __dir__() -> list[str]:
        return sorted(__all__)


__all__ = [
    "Agent",
    "Budget",
    "BudgetSpent",
    "CallFailed",
    "Candidate",
    "CheckResult",
    "Command",
    "CommandReady",
    "Completed",
    "Context",
    "Effect",
    "Environment",
    "FileCheck",
    "FileStamp",
    "FunctionModel",
    "InfrastructureError",
    "Limits",
    "Message",
    "Model",
    "ModelSpec",
    "ModelUnavailable",
    "OnOutput",
    "OpenAIChat",
    "OutputReady",
    "PackagesSpec",
    "PlanloopError",
    "PortReady",
    "Process",
    "Profile",
    "PythonCheck",
    "Ready",
    "ReplayModel",
    "Reply",
    "Request",
    "Result",
    "RunCheck",
    "RunStatus",
    "Sandbox",
    "SandboxLost",
    "SandboxSpec",
    "Service",
    "ServiceState",
    "SetupSpec",
    "Snapshot",
    "Status",
    "Task",
    "TaskError",
    "Tool",
    "Usage",
    "UserError",
    "Verdict",
    "WorkspaceSpec",
    "World",
    "__version__",
    "open_sandbox",
    "tool",
]
