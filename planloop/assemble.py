"""From what an agent was built with to what its runs are made of: names are looked up here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from planloop.environment import Environment
from planloop.feedback.output import OutputType
from planloop.messages import Model
from planloop.models import ReplayModel, resolve_model
from planloop.options import Options
from planloop.plugins import resolve_environment, resolve_tool
from planloop.rooms import Setup
from planloop.sandbox import SandboxSpec
from planloop.task import ModelSpec, Task
from planloop.tool import Tool, tool
from planloop.trace.store import RunStore

DEFAULT_ENVIRONMENT = "workspace"


def assemble(options: Options, task: Task, environ: Mapping[str, str]) -> Setup:
    """Look everything up.

    Raises:
        UserError: a name means nothing, or no model can be found.
    """
    base = task.folder or Path.cwd()
    tools = tuple(_tool(found, base) for found in options.tools)
    environment = _named_environment(options, task, base)
    sandbox = options.sandbox or task.sandbox or _needed_sandbox(task, tools, environment)
    if environment is None:
        in_sandbox = sandbox.kind != "none"
        environment = (
            resolve_environment(DEFAULT_ENVIRONMENT, base) if in_sandbox else Environment()
        )
    named = options.model or task.model
    model = resolve_model(named, environ=environ, base=base)
    executor = _executor(options, task, model.model, environ, base)
    return Setup(
        model=model.model,
        executor=executor,
        owns_executor=executor not in (None, options.executor),
        decomposes=(options.on_fail or task.on_fail) == "decompose",
        price=model.price,
        owns_model=model.model is not named,
        tools=tools,
        environment=environment,
        sandbox=sandbox,
        checks=options.checks,
        deps=options.deps,
        output_type=OutputType(options.output_type),
        approve=options.approve,
        store=None if options.store is None else RunStore(options.store),
        unsafe_local=options.unsafe_local,
        style=options.style,
    )


def _executor(
    options: Options, task: Task, planner: Model, environ: Mapping[str, str], base: Path
) -> Model | None:
    """The model of goals and `llm` calls; None if it is the planner's.

    A replay holds what was said in goals too, so that it needs no other model beside it.
    """
    named = options.executor or task.executor
    if isinstance(planner, ReplayModel) and (planner.executor or not is_replay(named)):
        return planner.executor
    if named is None:
        return None
    return resolve_model(named, environ=environ, base=base).model


def is_replay(named: object) -> bool:
    """Whether a model is named that is a recording."""
    name = named.name if isinstance(named, ModelSpec) else named
    return isinstance(named, ReplayModel) or (
        isinstance(name, str) and name.strip().startswith("replay:")
    )


def _tool(found: Tool | Callable[..., Any] | str, base: Path) -> Tool:
    return resolve_tool(found, base) if isinstance(found, str) else tool(found)


def _named_environment(options: Options, task: Task, base: Path) -> Environment | None:
    named = options.environment or task.environment
    return resolve_environment(named, base) if isinstance(named, str) else named


def _needed_sandbox(
    task: Task, tools: tuple[Tool, ...], environment: Environment | None
) -> SandboxSpec:
    """One is opened only if something needs it: plain host tools run on any machine."""
    needed = (
        task.folder is not None
        or bool(task.checks or task.setup or task.packages)
        or any(found.needs_sandbox for found in tools)
        or (environment is not None and environment.needs_sandbox)
    )
    return SandboxSpec(kind="auto" if needed else "none")
