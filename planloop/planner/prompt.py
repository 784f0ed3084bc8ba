"""The prompt: task description, input data, context, style. Append-only from its first message."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from planloop.language import BUILTINS
from planloop.messages import Message, Profile, ToolSpec
from planloop.state import State
from planloop.text import bounded_repr, sanitise
from planloop.tool import Tool
from planloop.values import Value

TEMPLATES = Path(__file__).parent / "templates"
_SHOWN_INPUT = 500
"""Characters of an input value in the prompt; the rest is reached by its name."""
_SHOWN_VIEW = 8_000
"""Characters of what the environment shows of its world."""


@dataclasses.dataclass(frozen=True)
class Part:
    """One of the four parts of a prompt, for people who want to see what is sent."""

    name: Literal["style", "context", "task description", "input data"]
    text: str


@dataclasses.dataclass(frozen=True)
class Prompt:
    """What a conversation begins with."""

    messages: tuple[Message, ...]
    tools: tuple[ToolSpec, ...]
    """Native declarations, if the model plans in them."""
    parts: tuple[Part, ...]


def build_prompt(
    state: State,
    tools: Mapping[str, Tool],
    profile: Profile,
    *,
    may_propose: bool = False,
    programs: bool = False,
    output: str = "",
    style: str = "",
    overrides: Path | None = None,
) -> Prompt:
    """The first messages of a conversation.

    Args:
        state: the task, the names bound before the first plan, the pinned checks.
        tools: by the name that plans use.
        profile: decides between Python signatures and native declarations.
        may_propose: the task has no checks, so that the planner is asked to propose some.
        programs: whether there is a sandbox to run programs in.
        output: the type that `done` must be given, if there is one.
        style: what the user adds to the style part.
        overrides: a folder of the user's own with templates of the same names; never one of a
            workspace.
    """
    native = profile.plans_in == "native"
    render = functools.partial(_render, overrides)
    stubs = "" if native else "\n\n".join(tool.stub(name) for name, tool in tools.items())
    system = functools.partial(
        render,
        "system.md.j2",
        plans_in=profile.plans_in,
        builtins=", ".join(sorted(BUILTINS)),
        may_propose=may_propose,
        programs=programs,
        output=output,
    )
    view = state.environment_view
    shown_view = "" if view is None else _shown(view)
    inputs = [(name, bounded_repr(value, _SHOWN_INPUT)) for name, value in state.names.items()]
    task = functools.partial(render, "task.md.j2", text=sanitise(state.task.text.strip()))
    labels = [sanitise(pinned.check.label) for pinned in state.pinned]
    first = task(inputs=inputs, view=shown_view, checks=labels)
    declared = tuple(_declaration(name, tool) for name, tool in tools.items()) if native else ()
    parts = (
        Part("style", system(style=style, stubs="")),
        Part("context", "\n\n".join([stubs, *(str(d) for d in declared), shown_view]).strip()),
        Part("task description", state.task.text.strip()),
        Part("input data", "\n".join(f"{name} = {shown}" for name, shown in inputs)),
    )
    messages = (
        Message(role="system", text=system(style=style, stubs=stubs)),
        Message(role="user", text=first, stable=task(inputs=inputs, view="", checks=labels)),
    )
    return Prompt(messages, declared + (_LANGUAGE_TOOLS if native else ()), parts)


def _shown(view: Value) -> str:
    """What an environment shows of its world: harmless, and bounded."""
    text = view if isinstance(view, str) else bounded_repr(view, _SHOWN_VIEW)
    more = len(text) - _SHOWN_VIEW
    return sanitise(text if more <= 0 else f"{text[:_SHOWN_VIEW]}\n… {more} characters more")


def _render(overrides: Path | None, template: str, **values: Any) -> str:
    text: str = _environment(overrides).get_template(template).render(**values)
    return text.strip() + "\n"


@functools.cache
def _environment(overrides: Path | None) -> Any:
    import jinja2
    import jinja2.sandbox

    folders = [str(folder) for folder in (overrides, TEMPLATES) if folder is not None]
    return jinja2.sandbox.ImmutableSandboxedEnvironment(
        loader=jinja2.FileSystemLoader(folders),
        undefined=jinja2.StrictUndefined,
        autoescape=False,
        keep_trailing_newline=True,
    )


def _declaration(name: str, tool: Tool) -> ToolSpec:
    return ToolSpec(name, tool.description, tool.parameters_schema)


def _one_argument(name: str, description: str, argument: str) -> ToolSpec:
    properties = {argument: {"type": "string"}}
    schema = {"type": "object", "properties": properties, "required": [argument]}
    return ToolSpec(name, description, schema)


_LANGUAGE_TOOLS = (
    _one_argument("done", "End the task with an answer.", "answer"),
    _one_argument("give_up", "End the task as failed, saying why.", "why"),
)
