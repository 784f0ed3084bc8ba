"""Nested runs: a goal is carried out by the same engine, on a slice of its caller's budget."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import anyio

from planloop.budget import Account
from planloop.ending import End
from planloop.environment import Environment
from planloop.errors import CallFailed
from planloop.executor.calls import Decompose, Surroundings
from planloop.executor.executor import Executor
from planloop.executor.files import Files
from planloop.feedback.approval import Approver
from planloop.feedback.collector import Collector
from planloop.goals.inputs import check_inputs
from planloop.goals.telling import left_over_text
from planloop.loop import Loop
from planloop.messages import Model
from planloop.models import ContextTooLong
from planloop.planner.goal_lists import GOAL
from planloop.planner.planner import Planner
from planloop.planner.prompt import build_prompt
from planloop.state import CheckResult, Execution, PinnedCheck, RunStatus, State
from planloop.task import Task
from planloop.tool import Context, Effect, Tool, Within
from planloop.trace.journal import Journal
from planloop.values import Value, dump

__all__ = ["GOAL", "LLM", "Engine", "Goals", "Level", "equipped"]

LLM = "llm"
_WELL = (RunStatus.SUCCESS, RunStatus.ANSWERED)
_ERRORS = {RunStatus.FAILED: "GaveUp", RunStatus.CAPPED: "Capped", RunStatus.STUCK: "Stuck"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Engine:
    """What every level of a run shares."""

    model: Model
    """Of goals and `llm` calls."""
    tools: Mapping[str, Tool]
    """By the names that plans use, without those of this package."""
    shown: Mapping[str, Tool]
    """Those of them that a prompt holds."""
    environment: Environment
    approver: Approver
    decomposes: bool = False
    """A goal or call that keeps failing is done in parts."""
    style: str = ""
    templates: Path | None = None


@dataclasses.dataclass(frozen=True)
class Level:
    """One run among those that are nested in one another."""

    engine: Engine
    account: Account
    journal: Journal
    files: Files
    depth: int = 0
    """How deep it is nested; 0 for the run itself."""


class _LlmTool(Tool):
    """It asks a model, and does nothing else."""

    asks_models = True


class _GoalTool(Tool):
    """What its calls do they do by calls of their own; so they may touch what those touch."""

    nests = True
    asks_models = True
    touched: frozenset[str]

    def resources_of(self, arguments: dict[str, Value]) -> tuple[frozenset[str], bool]:
        """Everything: what a goal will do is known only once it is planned."""
        return self.touched, False


def _llm_tool(level: Level) -> Tool:
    async def llm(
        context: Context[Any], prompt: str, schema: dict[str, Any] | str | None = None
    ) -> Any:
        """Ask a language model one question; it sees `prompt` alone, and calls nothing.

        The answer is a text, or what `schema` says: a JSON schema, or a type such as "list[str]".
        """
        from planloop.goals.asking import ask

        within = _within(context)
        journal = level.journal.within(within.serial)
        name = within.conversation
        return await ask(level.engine.model, name, prompt, schema, level.account, journal)

    return _LlmTool(name=LLM, description=_documentation(llm), function=llm, effect=Effect.PURE)


def _goal_tool(goals: Goals) -> Tool:
    async def goal(context: Context[Any], text: str, inputs: dict[str, Any] | None = None) -> Any:
        """Hand over a goal in words, with all that must be known; returns its answer.

        Another planner carries it out with these tools; `inputs` are names that it can use.
        A numbered list in a ```goals block is such calls, each given the results before it.
        """
        return await goals.run(_within(context), text, inputs or {})

    made = _GoalTool(
        name=GOAL, description=_documentation(goal), function=goal, effect=goals.effect
    )
    object.__setattr__(made, "touched", goals.touched)
    return made


def _documentation(function: Any) -> str:
    import inspect

    return inspect.getdoc(function) or ""


def _within(context: Context[Any]) -> Within:
    assert context.within is not None  # a call that nests is never begun before its entry
    return context.within


@dataclasses.dataclass(frozen=True)
class _Given:
    """What a goal is."""

    within: Within
    text: str
    inputs: Mapping[str, Value]


class Goals:
    """Carries out the goals of one level."""

    def __init__(self, level: Level, shared: Surroundings) -> None:
        self._level = level
        self._shared = shared
        self._one_by_one = anyio.Lock()
        """Goals with effects go one after the other, whatever calls them at once."""

    @property
    def effect(self) -> Effect:
        """That of everything that a goal may do."""
        tools = self._level.engine.tools.values()
        looks = all(not tool.effect.is_effect for tool in tools)
        return Effect.READS if looks else Effect.EXTERNAL

    @property
    def touched(self) -> frozenset[str]:
        """What a goal may touch."""
        found = {"world", *({"workspace"} if self._level.files.sandbox else ())}
        for tool in self._level.engine.tools.values():
            if not callable(tool.resources):
                found |= tool.resources_of({})[0]
        return frozenset(found)

    async def run(self, within: Within, text: str, inputs: Mapping[str, Value]) -> Value:
        """Carry out a goal; its answer.

        Raises:
            CallFailed: it gave up, got stuck, or spent its slice of the budget.
            BudgetSpent: not enough is left for any slice.
        """
        check_inputs(inputs, {*self._level.engine.tools, GOAL, LLM})
        async with contextlib.AsyncExitStack() as stack:
            files = Files(self._level.files.sandbox, self._level.engine.environment, self._journal)
            if self.effect.is_effect:
                await stack.enter_async_context(self._one_by_one)
                stack.enter_context(self._level.files.inside())
                files = self._level.files
            account = stack.enter_context(self._level.account.slice())
            end = await self._end(_Given(within, text, inputs), files, account)
        if end.status in _WELL:
            return end.output
        last_word = f"; its last word: {end.output}" if end.output else ""
        raise CallFailed(_ERRORS.get(end.status, "Failed"), f"{end.reason}{last_word}")

    @property
    def _journal(self) -> Journal:
        return self._level.journal

    async def _end(self, given: _Given, files: Files, account: Account) -> End:
        loop = await self._loop(given, files, account)
        try:
            with anyio.move_on_after(account.wall_left_s):
                return await loop.run()
        except ContextTooLong as error:
            return End(status=RunStatus.CAPPED, reason=error.what)
        spent = f"wall_s spent: {account.usage.wall_s:.1f} of {account.budget.wall_s:g}"
        return End(status=RunStatus.CAPPED, reason=spent)

    async def _loop(self, given: _Given, files: Files, account: Account) -> Loop:
        engine, ledger, within = self._level.engine, self._shared.ledger, given.within
        journal = self._journal.within(within.serial)
        lineage = ledger.open_lineage()
        left = ledger.left_over(within.serial)
        ledger.adopt(left, lineage, within.serial)
        inner = Level(engine, account, journal, files, self._level.depth + 1)
        shared = dataclasses.replace(
            self._shared,
            journal=journal,
            account=account,
            files=files,
            propose=_propose_nothing,
            parent=within.serial,
            conversation=within.conversation,
        )
        shared, own = equipped(inner, shared)
        state = State(
            task=Task(text=given.text + left_over_text(left, ledger)),
            names={name: dump(value) for name, value in given.inputs.items()},
            environment_view=await engine.environment.observe(),
        )
        services = self._level.files.services
        prompt = build_prompt(
            state,
            {**engine.shown, **own},
            engine.model.profile,
            style=engine.style,
            overrides=engine.templates,
        )
        planner = Planner(
            engine.model,
            dict(shared.tools),
            prompt.messages,
            prompt.tools,
            account=account,
            journal=journal,
            conversation=within.conversation,
        )
        return Loop(
            planner=planner,
            approver=engine.approver,
            executor=Executor(shared, lineage=lineage),
            collector=Collector(_no_checks, engine.environment, account, journal, services),
            account=account,
            state=state,
        )


def equipped(level: Level, shared: Surroundings) -> tuple[Surroundings, dict[str, Tool]]:
    """What the calls of a level share, with `llm`, and `goal` where goals may still be nested.

    Returns those two as well, for the prompt.
    """
    from planloop.goals.parts import decompose_with

    own = {LLM: _llm_tool(level)}
    decompose: Decompose | None = None
    most = level.account.budget.depth
    if most is None or level.depth < most:
        goals = Goals(level, shared)
        own[GOAL] = _goal_tool(goals)
        decompose = decompose_with(goals, level) if level.engine.decomposes else None
    tools = {**level.engine.tools, **own}
    return dataclasses.replace(shared, tools=tools, decompose=decompose), own


async def _no_checks(state: State, execution: Execution) -> Sequence[CheckResult]:
    """The checks of a run judge the run, not what is nested in it."""
    return ()


async def _propose_nothing(arguments: dict[str, Value]) -> PinnedCheck:
    raise CallFailed("NoChecks", "a goal has no checks of its own: say `expect(…)` instead")
