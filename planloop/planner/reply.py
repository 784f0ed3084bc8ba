"""Reads a model's reply: a fenced Python block, native tool calls, or prose."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Collection, Mapping
from types import MappingProxyType

from planloop.errors import PlanInvalid
from planloop.language import parse, parse_native
from planloop.messages import Reply
from planloop.plan import Answer, Flow, Plan, Program
from planloop.planner.goal_lists import GOAL, bare_list, goals_source, read_goals
from planloop.tool import Tool, json_arguments

FENCE = re.compile(r"^(?P<indent>[ \t]*)(?P<fence>`{3,}|~{3,})(?P<info>[^`]*)$")
"""At any depth: models put blocks into lists."""
PYTHON = frozenset({"python", "py", "python3"})


@dataclasses.dataclass(frozen=True)
class Block:
    """A fenced block of a reply."""

    info: str
    source: str
    closed: bool


def read_reply(
    reply: Reply,
    tools: Mapping[str, Tool],
    names: Collection[str],
    *,
    lost: Mapping[str, str] = MappingProxyType({}),
    living: Collection[str] = (),
    programs: bool = False,
    bare_goals: bool = False,
) -> Plan:
    """The plan that a reply is.

    Args:
        tools: by the names that plans use.
        names: what the run has bound already.
        lost: names that the run had bound, and what they held.
        living: those that live in the interpreter of programs.
        programs: whether there is a sandbox to run them in.
        bare_goals: a numbered list without a block is a list of goals.

    Raises:
        PlanInvalid: it is none; the text says what is wrong and what to send instead.
    """
    if reply.finish == "length":
        raise PlanInvalid("the reply was cut off at its length limit; send a shorter one")
    if reply.finish == "content_filter":
        raise PlanInvalid("the reply was cut off by the provider's content filter")
    if reply.tool_calls:
        return _native(reply, tools, names)
    source = plan_source(reply.text, tools, names, bare_goals=bare_goals)
    if source is None:
        if not reply.text.strip():
            raise PlanInvalid("the reply is empty; send a plan or an answer")
        return Answer(reply.text.strip())
    return _runnable(parse(source, tools, names, lost=lost, living=living), programs)


def plan_source(
    text: str, tools: Mapping[str, Tool], names: Collection[str], *, bare_goals: bool = False
) -> str | None:
    """The source of the plan in a reply's text; None if the text is prose.

    Args:
        tools: by the names that plans use.
        names: what the run has bound already.
        bare_goals: a numbered list without a block is a list of goals.

    Raises:
        PlanInvalid: there are several blocks, or one is not closed.
    """
    found = blocks(text)
    goals = [block for block in found if block.info == "goals"]
    if goals or (bare_goals and bare_list(text) is not None):
        return _goals_plan(found, goals, bare_list(text) or "", tools)
    plans = [block for block in found if block.info in PYTHON]
    if not plans:
        plans = [block for block in found if not block.info and _calls_a_tool(block, tools, names)]
    if len(plans) > 1:
        raise PlanInvalid(
            f"the reply has {len(plans)} python blocks; send one block with all of it"
        )
    if not plans:
        return None
    if not plans[0].closed:
        raise PlanInvalid("the python block is not closed; send the whole plan again")
    return plans[0].source


def _goals_plan(
    found: Collection[Block], goals: Collection[Block], bare: str, tools: Mapping[str, Tool]
) -> str:
    """The plan that a list of goals is; it stands alone in its reply."""
    if GOAL not in tools:
        raise PlanInvalid("goals can be nested no deeper here; send a python block")
    if len(goals) > 1 or any(block.info in PYTHON for block in found):
        raise PlanInvalid("send one block: either a goals block or a python block")
    if any(not block.closed for block in goals):
        raise PlanInvalid("the goals block is not closed; send the whole plan again")
    return goals_source(read_goals(next((block.source for block in goals), bare)))


def blocks(text: str) -> list[Block]:
    """The fenced blocks of a Markdown text, without the indentation of their fences."""
    found: list[Block] = []
    fence, info, indent, lines = "", "", "", list[str]()
    for line in text.replace("\r\n", "\n").split("\n"):
        match = FENCE.match(line)
        if not fence:
            if match:
                words = match["info"].strip().lower().split()
                fence, info, lines = match["fence"], words[0] if words else "", []
                indent = match["indent"]
        elif match and match["fence"].startswith(fence) and not match["info"].strip():
            found.append(Block(info, "\n".join(lines) + "\n", closed=True))
            fence = ""
        else:
            lines.append(line.removeprefix(indent))
    if fence:
        found.append(Block(info, "\n".join(lines) + "\n", closed=False))
    return found


def _calls_a_tool(block: Block, tools: Mapping[str, Tool], names: Collection[str]) -> bool:
    """Whether a block without a language is a plan: it must be one, and call something."""
    try:
        plan = parse(block.source, tools, names)
    except PlanInvalid:
        return False
    if isinstance(plan, Program):
        return any(re.search(rf"\b{re.escape(name)}\(", block.source) for name in tools)
    values = ("expression", "assign")
    return any(statement.calls or statement.kind not in values for statement in plan.statements)


def _native(reply: Reply, tools: Mapping[str, Tool], names: Collection[str]) -> Plan:
    calls = []
    for number, call in enumerate(reply.tool_calls, 1):
        try:
            calls.append((call.id, call.name, json_arguments(call.arguments)))
        except ValueError as error:
            raise PlanInvalid(
                f"the arguments of tool call {number} (`{call.name}`) are no JSON object: {error}"
            ) from None
    return parse_native(calls, tools, names)


def _runnable(plan: Flow | Program, programs: bool) -> Flow | Program:
    if isinstance(plan, Flow) or programs:
        return plan
    raise PlanInvalid(
        f"{plan.reason}: that makes the plan a program, and programs need a sandbox with python3, "
        "and do not run inside goals; "
        "write it as straight lines: calls, assignments, comprehensions, conditional expressions",
        line=plan.line,
        column=plan.column,
    )
