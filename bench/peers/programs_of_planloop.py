"""planloop's interpreter, in a sandbox with all default limits but memory:
`programs_of_planloop.py bubblewrap | docker`.

A statement is measured at the surface of the interpreter, and as one more statement of a whole
run; calls are measured in a whole run, with its ledger and trace.
"""

from __future__ import annotations

import sys
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from programs import CALLS, echo, report, reported, serve

from planloop import Agent, Budget, FunctionModel, SandboxSpec, tool
from planloop.executor.programs.ending import Answer, PlanOver, ProgramCall
from planloop.executor.programs.interpreter import Interpreter
from planloop.language import as_program, parse
from planloop.plan import Program, Statement
from planloop.sandbox import Command, Limits, Sandbox
from planloop.sandboxes import open_sandbox

KIND, STATE = sys.argv[1], Path(sys.argv[2])
SPEC = SandboxSpec(kind=KIND, limits=Limits(memory_bytes=4 << 30))
"""Half a gigabyte of live data, and what a change of it copies."""
NAMES = ("n", "live")


class PlanloopWorld:
    def __init__(self, sandbox: Sandbox, interpreter: Interpreter) -> None:
        self.sandbox = sandbox
        self.interpreter = interpreter
        self.read: dict[str, Statement] = {}

    async def run(self, source: str) -> bool:
        if (statement := self.read.get(source)) is None:
            statement = self.read[source] = _statement(source)
        ended = await self.interpreter.run(
            statement,
            "<plan>",
            _no_calls,
            timeout_s=60.0,
            shown_bytes=1000,
            kept_bytes=1000,
            on_output=lambda *_: None,
        )
        if not ended.ok and not (ended.undone and ended.alive):
            raise SystemExit(f"not undone: {ended}")
        return ended.ok

    async def close(self) -> None:
        await self.interpreter.end()
        await self.sandbox.close()


def _statement(source: str) -> Statement:
    plan = parse(source, {}, NAMES)
    program = plan if isinstance(plan, Program) else as_program(plan, NAMES)
    (statement,) = program.statements
    return statement


async def _no_calls(_: ProgramCall) -> Answer:
    return PlanOver("it calls nothing")


async def _open_sandbox() -> Sandbox:
    sandbox = await open_sandbox(SPEC, run_id=f"bench-{uuid.uuid4()}", state_dir=STATE)
    assert sandbox is not None
    return sandbox


async def open_world() -> PlanloopWorld:
    sandbox = await _open_sandbox()
    return PlanloopWorld(sandbox, await Interpreter.start(sandbox))


async def fresh(count: int) -> list[float]:
    """Fresh interpreters as calls of the same kind of sandbox."""
    sandbox = await _open_sandbox()
    took = []
    for _ in range(count + 1):
        started = time.perf_counter()
        await sandbox.run(Command(argv=("python3", "-c", "pass"), timeout_s=60))
        took.append(1e3 * (time.perf_counter() - started))
    await sandbox.close()
    return took[1:]


async def calls(count: int, size: int, effect: str = "pure", on_disk: bool = False) -> list[float]:
    """Calls of a tool from one program of a whole run."""
    asked = tool(effect=effect)(echo)  # type: ignore[call-overload]
    await _whole_run(CALLS.format(size=size, count=count), [asked, tool(report)], on_disk)
    return [1e3 * seconds for seconds in reported]


async def in_a_run(few: int, many: int) -> float:
    """One more statement of a whole run, with everything that belongs to it."""
    took = []
    for count in (few, many):
        source = "n = 0\nfor k in [1]:\n    n = 0\n" + "n = n + 1\n" * count
        started = time.perf_counter()
        await _whole_run(source, [])
        took.append(1e3 * (time.perf_counter() - started))
    return (took[1] - took[0]) / (many - few)


async def _whole_run(source: str, tools: Sequence[Any], on_disk: bool = False) -> None:
    reply = f"```python\n{source}done(1)\n```"
    store = STATE / "store"
    store.mkdir(exist_ok=True)
    agent: Agent[None, Any] = Agent(
        model=FunctionModel(lambda _: reply),
        tools=tools,
        sandbox=SPEC,
        budget=Budget(calls=100_000),
        store=store if on_disk else None,
    )
    result = await agent.run("Measure.")
    agent.close()
    if result.status != "answered":
        raise SystemExit(f"{result.status}: {result.reason}")


if __name__ == "__main__":
    serve(open_world, can_undo=True, fresh=fresh, calls=calls, in_a_run=in_a_run)
