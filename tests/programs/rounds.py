"""Rounds of plans in a real sandbox, straight through the executor, and what they act on."""

from __future__ import annotations

import contextlib
import dataclasses
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

from planloop import Sandbox, SandboxSpec, tool
from planloop.budget import Account, Budget
from planloop.environment import Environment
from planloop.errors import CallFailed
from planloop.events import Event, StatementOutput
from planloop.executor.calls import Surroundings
from planloop.executor.executor import Executor
from planloop.executor.files import Files
from planloop.executor.outputs import Outputs
from planloop.executor.programs.living import Programs
from planloop.executor.running import thread_limiter
from planloop.language import RESERVED, parse
from planloop.ledger import Ledger
from planloop.observation import Status
from planloop.sandbox import Limits, Snapshot
from planloop.sandboxes import open_sandbox
from planloop.state import Execution, Feedback, PinnedCheck, State, Told
from planloop.task import Task
from planloop.tool import Tool, tool_table
from planloop.trace.journal import Journal
from planloop.trace.log import MemoryLog


class Shop:
    """What programs act on. Results hang on the arguments only, attempts are counted."""

    def __init__(self) -> None:
        self.attempts: Counter[str] = Counter()
        self.orders: list[str] = []
        self.broken: set[str] = set()
        """What cannot be ordered now."""
        self.looks: Counter[str] = Counter()

    def order(self, sku: str) -> str:
        """Order something; what begins with `flaky` fails the first time, `never` always."""
        self.attempts[sku] += 1
        first = self.attempts[sku] == 1
        if sku in self.broken or sku.startswith("never") or (sku.startswith("flaky") and first):
            raise ConnectionError(f"{sku} cannot be ordered")
        self.orders.append(sku)
        return f"<{sku}>"

    def ready(self, sku: str) -> bool:
        """Whether it has come: not at the first look."""
        self.looks[sku] += 1
        return self.looks[sku] > 1

    def tools(self) -> list[Tool]:
        return [
            tool(effect="external", name="order")(self.order),
            tool(effect="reads", name="ready", poll=True)(self.ready),
            tool(effect="pure", name="size")(_size),
        ]


def _size(text: str) -> int:
    """How long a text is."""
    return len(text)


class Rounds:
    """The rounds of one run."""

    def __init__(
        self,
        sandbox: Sandbox,
        tools: list[Tool],
        budget: Budget | None = None,
        programs: Programs | None = None,
    ) -> None:
        self.events: list[Event] = []
        self.ledger = Ledger()
        self.journal = Journal(MemoryLog(), (self._hear,))
        self.sandbox = sandbox
        self.tools = tool_table(tools, RESERVED)
        outputs = Outputs(self.ledger)
        outputs.keep_in(self.journal.log.blobs)
        unbounded = Budget(calls=None, wall_s=None, rounds=None, cost_usd=None)
        self._shared = Surroundings(
            tools=self.tools,
            ledger=self.ledger,
            journal=self.journal,
            account=Account(budget or unbounded),
            files=Files(sandbox, Environment(), self.journal),
            outputs=outputs,
            deps=None,
            threads=thread_limiter(),
            propose=_refuse,
        )
        self.executor = Executor(self._shared, programs)
        self.state = State(task=Task(text="act"))

    def open_network(self) -> None:
        """As if the sandbox had its network open."""
        self.executor = Executor(dataclasses.replace(self._shared, network_open=True))

    def _hear(self, event: Event) -> None:
        if not isinstance(event, StatementOutput):
            self.events.append(event)

    async def send(self, source: str) -> Execution:
        """One round."""
        known = self.state.known
        plan = parse(source, self.tools, known, lost=self.state.lost, living=self.state.living)
        done = await self.executor.execute(plan, self.state)
        feedback = Feedback(summary=Told("", ""), failed=not done.completed)
        self.state = self.state.after(plan, done, feedback)
        return done

    async def files(self) -> dict[str, str]:
        """The text of every file of the workspace."""
        names = await self.sandbox.scan()
        return {name: (await self.sandbox.read_file(name)).decode() for name in names}


async def _refuse(_: Mapping[str, Any]) -> PinnedCheck:
    raise CallFailed("NoChecks", "no checks here")


@dataclasses.dataclass
class Room:
    """A sandbox that is used again and again, emptied in between."""

    sandbox: Sandbox
    empty: Snapshot

    last: Rounds | None = None

    async def rounds(self, tools: list[Tool], budget: Budget | None = None) -> Rounds:
        """A new run in the emptied sandbox."""
        await self.end()
        await self.sandbox.restore(self.empty)
        self.last = Rounds(self.sandbox, tools, budget)
        return self.last

    async def end(self) -> None:
        """End the run before."""
        if self.last is not None:
            await self.last.executor.close()


@contextlib.asynccontextmanager
async def room(folder: Path, kind: str = "bubblewrap", **limits: Any) -> AsyncIterator[Room]:
    """A sandbox for rounds."""
    spec = SandboxSpec(kind=kind, limits=Limits(**limits))
    sandbox = await open_sandbox(spec, run_id="rounds", state_dir=folder)
    assert sandbox is not None
    found = Room(sandbox, await sandbox.snapshot())
    try:
        yield found
    finally:
        await found.end()
        await sandbox.close()


def ran(done: Execution) -> list[str]:
    """Texts of the statements that ran, well or not."""
    idle = (Status.SKIPPED,)
    return [one.text for one in done.statements if not one.kept and one.status not in idle]


def statuses(done: Execution) -> list[str]:
    """How each statement ended."""
    return [one.status.value for one in done.statements]
