"""The run's interpreter: when it starts, which names live in it, and what goes with it (R8)."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterable, Mapping, Sequence

import anyio

from planloop.errors import SandboxLost
from planloop.executor.programs.comparing import reached
from planloop.executor.programs.ending import (
    Ended,
    OnStatementOutput,
    PlanOver,
    ProgramCall,
    Serve,
)
from planloop.executor.programs.frames import HungUp
from planloop.executor.programs.interpreter import Interpreter, NoPython
from planloop.observation import Failure
from planloop.plan import Statement
from planloop.sandbox import Sandbox
from planloop.tool import Tool
from planloop.values import Value

_DEFINITIONS = ("import", "define")


@dataclasses.dataclass
class Definitions:
    """Imports and definitions of lineages that have ended: a new interpreter gets them first."""

    statements: dict[str, Statement] = dataclasses.field(default_factory=dict)
    """By the name that they bind last, in their order."""

    def keep(self, finished: Iterable[Statement]) -> None:
        """Keep those among the statements of a lineage that has ended."""
        for statement in finished:
            for name in statement.binds:
                self.statements.pop(name, None)
                if statement.kind in _DEFINITIONS:
                    self.statements[name] = statement

    @property
    def names(self) -> frozenset[str]:
        """What they bind."""
        return frozenset(self.statements)


class Programs:
    """The interpreter of one run, which starts with its first program."""

    def __init__(self, sandbox: Sandbox | None, definitions: Definitions | None = None) -> None:
        self._sandbox = sandbox
        self._interpreter: Interpreter | None = None
        self._definitions = definitions or Definitions()
        self._names: set[str] = set()
        self._formless: dict[str, str] = {}
        self._origins: dict[str, frozenset[str]] = {}
        """Name → what the statement that bound it reads, tools too."""
        self._seed: int | None = None
        self._starting = anyio.Lock()

    @property
    def alive(self) -> bool:
        """Whether an interpreter lives."""
        return self._interpreter is not None and self._interpreter.lives()

    @property
    def died(self) -> bool:
        """Whether there was an interpreter, which has ended by itself or with its sandbox."""
        return self._interpreter is not None and not self._interpreter.lives()

    @property
    def living(self) -> frozenset[str]:
        """Names that live there, or come back with the next interpreter."""
        return frozenset(self._names) | self._definitions.names

    def keep_definitions(self, finished: Iterable[Statement]) -> None:
        """A lineage has ended: its imports and definitions outlive the interpreter."""
        self._definitions.keep(finished)

    def take_back(self, names: Iterable[str]) -> None:
        """A flow has bound these names on the host: what lives inside is outdated."""
        for name in names:
            self._names.discard(name)
            self._formless.pop(name, None)
            self._definitions.statements.pop(name, None)

    async def warm(self) -> None:
        """Start the first interpreter of a run before its program has wholly come.

        It runs nothing; what keeps it from starting is met by the program itself.
        """
        if self._sandbox is None or self._definitions.statements:
            return
        async with self._starting:
            if self._interpreter is None:
                with contextlib.suppress(NoPython, SandboxLost):
                    await self._started()

    async def begin(
        self,
        statements: Sequence[Statement],
        sources: Mapping[int, str],
        names: Mapping[str, Value],
        tools: Mapping[str, Tool],
        seed: int,
    ) -> None:
        """Make ready for statements: their tools, and the values that they read.

        Args:
            sources: round → text of its plan, which tracebacks show.
            names: the run's names by value.
            seed: of `random`, where it has not been seeded with it yet.

        Raises:
            NoPython: there is no python3 in the sandbox.
            SandboxLost: the sandbox ended.
        """
        async with self._starting:
            interpreter = await self._started()
        known = [*self._definitions.statements.values(), *statements]
        read = reached(known) | {name for one in known for name in one.reads}
        try:
            await interpreter.teach({name: tool.stub(name) for name, tool in tools.items()})
            for number, source in sources.items():
                await interpreter.begin(file_of(number), source)
            if self._seed != seed:
                await interpreter.seed(seed)
                self._seed = seed
            await self.bind({name: names[name] for name in read - self._names if name in names})
        except HungUp:
            raise SandboxLost("the interpreter of programs ended before its program") from None

    async def bind(self, names: Mapping[str, Value]) -> None:
        """From here on these names live inside."""
        assert self._interpreter is not None
        await self._interpreter.bind(names)
        self._names |= names.keys()
        for name in names:
            self._formless.pop(name, None)

    async def run(
        self,
        statement: Statement,
        number: int,
        serve: Serve,
        on_output: OnStatementOutput,
    ) -> Ended:
        """Run one statement of the plan of a round."""
        assert self._interpreter is not None
        assert self._sandbox is not None
        limits = self._sandbox.limits
        for name in statement.binds:
            older = self._origins.get(name, frozenset())
            self._origins[name] = older | statement.reads | statement.grants
        granted = statement.grants | self._reached(statement.reads)
        ended = await self._interpreter.run(
            dataclasses.replace(statement, grants=granted),
            file_of(number),
            serve,
            timeout_s=limits.timeout_s,
            shown_bytes=limits.shown_bytes,
            kept_bytes=limits.kept_bytes,
            on_output=on_output,
        )
        self._names |= set(ended.bound)
        return ended

    def _reached(self, names: Iterable[str]) -> frozenset[str]:
        """All that names may lead to, through the statements that bound them."""
        found, pending = set[str](), list(names)
        while pending:
            name = pending.pop()
            if name not in found:
                found.add(name)
                pending += self._origins.get(name, ())
        return frozenset(found)

    async def fetch(self, names: Iterable[str]) -> dict[str, Value]:
        """The values of those names that live inside and have a value form."""
        wanted = sorted(self._names.intersection(names))
        if not wanted or self._interpreter is None or not self._interpreter.alive:
            return {}
        values, formless = await self._interpreter.values(wanted)
        if not self._interpreter.alive:
            return {}
        self._names -= set(wanted) - values.keys() - formless.keys()
        self._formless = {
            name: what
            for name, what in {**self._formless, **formless}.items()
            if name not in values and name in self._names
        }
        return values

    async def end(self, known: Iterable[str] = ()) -> dict[str, str]:
        """End the interpreter.

        Args:
            known: names whose values the host has.

        Returns what goes with it: names, and what they hold.
        """
        if self._interpreter is not None:
            await self._interpreter.end()
        self._interpreter, self._seed = None, None
        gone = self._names - set(known) - self._definitions.names
        lost = {name: self._formless.get(name, "no value form") for name in sorted(gone)}
        self._names, self._formless = set(), {}
        return lost

    async def _started(self) -> Interpreter:
        if self._interpreter is not None and self._interpreter.lives():
            return self._interpreter
        if self._sandbox is None:
            raise SandboxLost("a program has come, and there is no sandbox")
        self._interpreter = interpreter = await Interpreter.start(self._sandbox)
        self._names, self._formless, self._seed = set(), {}, None
        for statement in dict.fromkeys(self._definitions.statements.values()):
            ended = await interpreter.run(
                statement,
                "<plan of an earlier round>",
                _serve_nothing,
                timeout_s=self._sandbox.limits.timeout_s,
                shown_bytes=0,
                kept_bytes=self._sandbox.limits.kept_bytes,
                on_output=lambda *_: None,
            )
            self._names |= set(ended.bound)
            if not interpreter.alive:
                raise SandboxLost("an import or definition ends the interpreter")
        return interpreter


def file_of(number: int) -> str:
    """What the text of a round's plan is called in tracebacks."""
    return f"<plan of round {number}>"


async def _serve_nothing(_: ProgramCall) -> PlanOver:
    return PlanOver("definitions are repeated, and call nothing")


NO_PYTHON = Failure(
    type="NoInterpreter",
    message="programs need python3 (3.8 or later) in the sandbox, and there is none: write a flow, "
    "in straight lines of calls, assignments, comprehensions and conditional expressions",
)
