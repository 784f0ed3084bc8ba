"""The agent: planloop inside an application."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar, cast

from planloop.budget import Budget
from planloop.errors import UserError
from planloop.options import Options
from planloop.sandbox import SandboxSpec
from planloop.task import Check, FileCheck, ModelSpec, PythonCheck, RunCheck, Task
from planloop.tool import Tool

if TYPE_CHECKING:
    from planloop.environment import Environment
    from planloop.events import Event
    from planloop.feedback.approval import Approve
    from planloop.feedback.checks import HostCheck
    from planloop.messages import Model
    from planloop.models.function import ModelFunction
    from planloop.planner.prompt import Prompt
    from planloop.session import Session
    from planloop.state import Result

Deps = TypeVar("Deps")
Output = TypeVar("Output")
_T = TypeVar("_T")


class Agent(Generic[Deps, Output]):
    """Plans, executes and revises until the checks pass or the budget is spent.

    Args:
        model: `provider:model`, `replay:FILE`, a model object, or a function from a request to a
            reply's text, or to its pieces as an async generator. None looks at `PLANLOOP_MODEL`,
            provider keys and local servers.
        executor: the model of goals and `llm` calls; None for the one that plans.
        on_fail: what comes of a goal or external call that fails for the second time: `tell` the
            planner, or `decompose` it into goals of its own.
        tools: functions, with or without `@tool`, or names.
        environment: an object, a name, `module:Class` or a path; None is the workspace where
            there is a sandbox, and an empty world where there is none.
        sandbox: `auto`, `bubblewrap`, `docker`, `none` or a `SandboxSpec`; None opens one only
            if the task, a tool, a check or the environment needs it.
        checks: commands, `Check` objects, or functions over a `Candidate` that return True.
        budget: limits of each run.
        deps: what tools find in `Context.deps`.
        output_type: what `done` must be given; `Result.output` is of this type then.
        store: a folder that keeps traces under `.planloop/`; None keeps them in memory.
        approve: called with each plan before it runs; returns None, or why it may not.
        style: added to the style part of the prompt.
        unsafe_local: lets `sandbox="unsafe-local"` run on the bare host.
    """

    def __init__(
        self,
        *,
        model: str | ModelSpec | Model | ModelFunction | None = None,
        executor: str | ModelSpec | Model | ModelFunction | None = None,
        tools: Sequence[Tool | Callable[..., Any] | str] = (),
        environment: Environment | str | None = None,
        sandbox: SandboxSpec | str | None = None,
        checks: Sequence[str | Check | HostCheck] = (),
        budget: Budget | None = None,
        deps: Deps = None,  # type: ignore[assignment]  # Deps is None then
        output_type: type[Output] | None = None,
        store: str | Path | None = None,
        approve: Approve | None = None,
        style: str = "",
        on_fail: Literal["tell", "decompose"] | None = None,
        unsafe_local: bool = False,
    ) -> None:
        _refuse_misfits(tools, checks, environment)
        self._options = Options(
            model=model,
            executor=executor,
            on_fail=_on_fail(on_fail),
            tools=tuple(tools),
            environment=environment,
            sandbox=SandboxSpec(kind=sandbox) if isinstance(sandbox, str) else sandbox,
            checks=_functions(checks),
            deps=deps,
            output_type=output_type,
            approve=approve,
            store=None if store is None else Path(store),
            style=style,
            unsafe_local=unsafe_local,
        )
        self._checks = _checks([check for check in checks if not _is_function(check)])
        self._budget = budget
        self._session: Session | None = None
        self._task: Task | None = None
        self._busy = threading.Lock()
        self.result: Result | None = None
        """How the last run ended; None while one goes on, or if it came to no end of its own."""

    async def run(self, task: str | Task) -> Result:
        """Run a task to its end.

        Raises:
            UserError: something the caller can fix; one agent does one run at a time.
            InfrastructureError: the world failed before the run had begun.
        """
        return await self._run(task, ())

    def run_sync(self, task: str | Task) -> Result:
        """`run`, from code that is not async; works inside a running event loop too."""
        return _in_own_loop(lambda: self.run(task), self.cancel)

    async def stream(self, task: str | Task) -> AsyncIterator[Event]:
        """Run a task, yielding its events as they happen. `result` holds the result afterwards.

        Closing the iterator interrupts the run.
        """
        import asyncio

        queue: asyncio.Queue[Event | None] = asyncio.Queue()

        async def go() -> None:
            try:
                await self._run(task, (queue.put_nowait,))
            finally:
                queue.put_nowait(None)

        # A task of its own: a generator must not hold a task group open over a yield.
        running = asyncio.get_running_loop().create_task(go())
        try:
            while (event := await queue.get()) is not None:
                yield event
            await running
        finally:
            if not running.done():
                running.cancel()
                await asyncio.wait([running])

    async def follow_up(
        self,
        text: str,
        *,
        checks: Sequence[str | Check | HostCheck] = (),
        budget: Budget | None = None,
    ) -> Result:
        """Say what comes next: workspace, names and ledger go on, checks and budget are new.

        Raises:
            UserError: nothing has run yet, or something else that the caller can fix.
        """
        if self._session is None or self._task is None:
            raise UserError("there is no run to follow up", hint="call `run` first")
        pinned = _checks([check for check in checks if not _is_function(check)])
        task = dataclasses.replace(self._task, text=text, checks=pinned)
        with self._alone():
            self.result = await self._session.run(
                task, budget or self._limits(task), said=text, checks=_functions(checks)
            )
            return self.result

    def follow_up_sync(
        self,
        text: str,
        *,
        checks: Sequence[str | Check | HostCheck] = (),
        budget: Budget | None = None,
    ) -> Result:
        """`follow_up`, from code that is not async."""
        follow_up = functools.partial(self.follow_up, text, checks=checks, budget=budget)
        return _in_own_loop(follow_up, self.cancel)

    def cancel(self) -> None:
        """Interrupt the run that goes on now, from any thread; its result says `interrupted`."""
        if self._session is not None:
            self._session.cancel()

    async def prompt(self, task: str | Task) -> Prompt:
        """What would be sent first, by part. Nothing is sent."""
        task = self._whole(task)
        session = self._open(task)
        try:
            return await session.prompt(task, self._limits(task))
        finally:
            session.close()

    def close(self) -> None:
        """Remove the copies that follow-ups would need. Safe to call twice."""
        if self._session is not None:
            self._session.close()
            self._session = None

    async def _run(
        self, task: str | Task, listeners: tuple[Callable[[Event], None], ...]
    ) -> Result:
        with self._alone():
            self.close()
            self._task = self._whole(task)
            self._session = self._open(self._task)
            self.result = await self._session.run(
                self._task, self._limits(self._task), listeners=listeners
            )
            return self.result

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """A second run at once would take the first one's files from under it."""
        if not self._busy.acquire(blocking=False):
            raise UserError(
                "this agent is running already",
                hint="make an agent for each run that goes on at the same time",
            )
        try:
            self.result = None
            yield
        finally:
            self._busy.release()

    def _whole(self, task: str | Task) -> Task:
        if not isinstance(task, str | Task):
            raise UserError(f"the task is {task!r:.80}; expected a text or a Task")
        task = Task(text=task) if isinstance(task, str) else task
        if not task.text.strip():
            raise UserError("the task is empty", hint="say what is to be done")
        return dataclasses.replace(task, checks=(*task.checks, *self._checks))

    def _limits(self, task: Task) -> Budget:
        return self._budget or task.budget or Budget()

    def _open(self, task: Task) -> Session:
        from planloop.assemble import assemble
        from planloop.session import Session

        return Session(assemble(self._options, task, os.environ))


def _refuse_misfits(tools: Sequence[object], checks: Sequence[object], environment: object) -> None:
    """Raise `UserError` for what is of no use as a tool, a check or an environment."""
    from planloop.environment import Environment

    for found in tools:
        if not (isinstance(found, str) or callable(found)):
            raise UserError(f"`tools` holds {found!r:.80}; expected functions, tools or names")
    for check in checks:
        if not (isinstance(check, str | RunCheck | FileCheck | PythonCheck) or callable(check)):
            raise UserError(f"`checks` holds {check!r:.80}; expected commands, checks or functions")
    if not (environment is None or isinstance(environment, str | Environment)):
        raise UserError(
            f"`environment` is {environment!r:.80}; expected an Environment object or a name",
            hint="an object, not its class: `environment=MyWorld()`",
        )


def _on_fail(
    said: Literal["tell", "decompose"] | None,
) -> Literal["tell", "decompose"] | None:
    if said not in (None, "tell", "decompose"):
        raise UserError(
            f"`on_fail` is {said!r:.60}; expected `tell` or `decompose`",
        )
    return said


def _functions(checks: Sequence[object]) -> tuple[HostCheck, ...]:
    return tuple(cast(Any, check) for check in checks if _is_function(check))


def _is_function(check: object) -> bool:
    return callable(check)


def _checks(found: Sequence[object]) -> tuple[Check, ...]:
    return tuple(RunCheck(run=one) if isinstance(one, str) else cast(Check, one) for one in found)


def _in_own_loop(start: Callable[[], Coroutine[Any, Any, _T]], stop: Callable[[], None]) -> _T:
    """Run a coroutine to its end: in this thread, or in another if this one has a loop already.

    Args:
        start: makes the coroutine.
        stop: ends it early, called when this thread is interrupted while it waits.
    """
    import asyncio

    if not _in_a_loop():
        return asyncio.run(start())
    with ThreadPoolExecutor(max_workers=1) as pool:
        running = pool.submit(lambda: asyncio.run(start()))
        try:
            return running.result()
        except KeyboardInterrupt:
            stop()
            raise


def _in_a_loop() -> bool:
    import asyncio

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
