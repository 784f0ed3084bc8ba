"""`on_fail: decompose`: what keeps failing as a whole is done in parts."""

from __future__ import annotations

import dataclasses

import anyio

from planloop.errors import BudgetSpent, CallFailed, PlanInvalid
from planloop.events import GoalDecomposed
from planloop.executor.calls import Decompose, Failing
from planloop.goals.asking import conversation
from planloop.goals.nested import Goals, Level
from planloop.observation import Failure, Observation, Status
from planloop.planner.goal_lists import GOAL, Goal, bare_list, read_goals
from planloop.planner.reply import blocks
from planloop.text import bounded_repr, one_line
from planloop.tool import Within
from planloop.values import Value

_SYSTEM = (
    "You break a goal that has failed into smaller ones. Reply with one fenced ```goals block "
    "that holds a numbered list of 2 to 8 goals, in their order. Each is carried out by itself, "
    "by somebody who sees its words, the inputs and the results of those before it. The result of "
    "the last one is the result of the whole. What is done already need not be a goal."
)
_REPAIRS = 1


def decompose_with(goals: Goals, level: Level) -> Decompose:
    """What does a failing call of a level in parts."""

    async def decompose(failing: Failing) -> Observation:
        started = anyio.current_time()
        try:
            found = await _in_parts(failing, goals, level)
            took = failing.observation.duration_s + anyio.current_time() - started
            return dataclasses.replace(found, duration_s=took)
        except BudgetSpent as spent:
            return _noted(failing.observation, f"not done in parts: {spent}")

    return decompose


async def _in_parts(failing: Failing, goals: Goals, level: Level) -> Observation:
    within, tool = failing.within, failing.call.tool
    assert within is not None  # it has run, and has an entry
    journal = level.journal.within(within.serial)
    inputs = dict(failing.call.arguments.get("inputs") or {}) if tool.name == GOAL else {}
    name = f"{within.conversation}/parts"
    talk = conversation(level.engine.model, name, _SYSTEM, level.account, journal)
    asked = _question(failing, inputs)
    try:
        for _ in range(_REPAIRS + 1):
            reply = await talk.ask(asked)
            try:
                parts = _parts(reply.text)
                break
            except PlanInvalid as error:
                asked = f"That is no list of goals: {error}. Send the whole block again."
        else:
            return _noted(failing.observation, "not done in parts: no list of goals was given")
        journal.emit(GoalDecomposed(parts=tuple(part.text for part in parts)))
        return await _carried_out(parts, failing, inputs, goals)
    except CallFailed as failed:
        failure = Failure(type=failed.error, message=f"{failed.message} (done in parts)")
        return Observation(status=Status.FAILED, error=failure)


async def _carried_out(
    parts: tuple[Goal, ...], failing: Failing, inputs: dict[str, Value], goals: Goals
) -> Observation:
    within, known = failing.within, dict(inputs)
    assert within is not None
    done: list[str] = []
    value: Value = None
    for number, part in enumerate(parts, 1):
        words = part.text
        if done:
            words += "\n\nDone before, with its result under the name that stands in front:\n"
            words += "\n".join(done)
        own = Within(within.serial, f"{within.conversation}/parts.{number}")
        try:
            value = await goals.run(own, words, known)
        except CallFailed as failed:
            told = f"part {number} of {len(parts)} (`{one_line(part.text)}`): {failed.message}"
            raise CallFailed(failed.error, told) from None
        known[f"part_{number}"] = value
        done.append(f"- part_{number}: {one_line(part.text, 200)}")
    note = f"done in {len(parts)} parts after it had failed {failing.times} times"
    return Observation(status=Status.OK, value=value, notes=(note,))


def _question(failing: Failing, inputs: dict[str, Value]) -> str:
    call, error = failing.call, failing.observation.error
    if call.tool.name == GOAL:
        goal = str(call.arguments["text"])
    else:
        goal = f"Do what this call was to do: {call.key}\n{call.tool.description}"
    lines = [f"The goal:\n\n{goal}"]
    if inputs:
        shown = "\n".join(f"{name} = {bounded_repr(value)}" for name, value in inputs.items())
        lines.append(f"Its inputs:\n\n{shown}")
    why = f"{error.type}: {error.message}" if error else failing.observation.status.value
    lines.append(f"It has failed {failing.times} times, the last time with:\n\n{why[:4_000]}")
    return "\n\n".join(lines)


def _parts(text: str) -> tuple[Goal, ...]:
    found = [block for block in blocks(text) if block.info == "goals"]
    bare = bare_list(text)
    if len(found) == 1 and found[0].closed:
        return read_goals(found[0].source)
    if not found and bare is not None:
        return read_goals(bare)
    raise PlanInvalid("send one goals block")


def _noted(observation: Observation, note: str) -> Observation:
    return dataclasses.replace(observation, notes=(*observation.notes, note))
