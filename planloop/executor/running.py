"""Runs one tool function once: its context, its time limit, its thread, its outcome."""

from __future__ import annotations

import asyncio
import dataclasses
import inspect
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any

import anyio
import anyio.to_thread

from planloop.errors import CallFailed, PlanloopError, UserError
from planloop.observation import Failure, Observation, Status
from planloop.sandbox import Command, Completed, Sandbox
from planloop.tool import BoundCall, Context, Effect, Within
from planloop.values import Value, dump, fresh

_MOST_THREADS = 1_000


class Names(Mapping[str, Value]):
    """The run's names as a tool may read them: what it does to a value changes no name."""

    def __init__(self, names: Mapping[str, Value]) -> None:
        self._names = names

    def __getitem__(self, name: str) -> Value:
        return fresh(self._names[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


@dataclasses.dataclass
class Attempt:
    """One run of a tool: what it may use, and what the host saw of it."""

    call: BoundCall
    deps: Any
    sandbox: Sandbox | None
    idempotency_key: str
    names: Mapping[str, Value]
    on_output: Callable[[str, str], None]
    keep: Callable[[Completed], Awaitable[Completed]]
    """Sees to it that what a command wrote beyond what is shown is not lost."""
    within: Within | None = None
    """Which call of the ledger it is; None while none is."""
    completed: Completed | None = None
    sandbox_s: float = 0.0
    sandbox_left: Callable[[], float | None] = lambda: None
    """Seconds of sandbox time that the run had left when this began; None without a limit."""

    async def run(self, threads: anyio.CapacityLimiter) -> Observation:
        """Run the tool to its end. Every failure of the tool is an observation.

        Raises:
            InfrastructureError, BudgetSpent: not the tool's doing.
        """
        started = anyio.current_time()
        value, failure, status = None, None, Status.OK
        try:
            with anyio.fail_after(self.call.tool.timeout_s):
                found = await self._invoke(threads)
        except TimeoutError as error:
            late = anyio.current_time() - started >= (self.call.tool.timeout_s or float("inf"))
            status = Status.TIMEOUT if late else Status.FAILED
            failure = _failure(error, self.call)
        except CallFailed as error:
            status, failure = Status.FAILED, Failure(type=error.error, message=error.message)
        except PlanloopError:
            raise
        except asyncio.CancelledError as error:
            if _is_cancelled():
                raise
            status, failure = Status.KILLED, _failure(error, self.call)
        except (Exception, SystemExit) as error:
            status, failure = Status.FAILED, _failure(error, self.call)
        else:
            value, failure, status = self._kept(found)
        duration = anyio.current_time() - started
        if self.completed is not None:
            self.completed = await self.keep(self.completed)
        return self._observation(value, failure, status, duration)

    def _kept(self, found: Any) -> tuple[Value, Failure | None, Status]:
        """A tool's result as a value. One that has no such form does not undo what was done."""
        try:
            return dump(found), None, Status.OK
        except Exception as error:
            lost = Failure(type=type(error).__name__, message=f"its result was lost: {error}")
            return None, lost, Status.UNKNOWN if self._is_external else Status.FAILED

    @property
    def _is_external(self) -> bool:
        return self.call.tool.effect is Effect.EXTERNAL and not self.call.tool.nests

    async def _invoke(self, threads: anyio.CapacityLimiter) -> Any:
        tool = self.call.tool
        parameters = dict(self.call.parameters)
        if tool.context_parameter:
            parameters[tool.context_parameter] = self._context()
        if inspect.iscoroutinefunction(tool.function):
            return await tool.function(**parameters)
        result = await anyio.to_thread.run_sync(
            lambda: tool.function(**parameters), limiter=threads, abandon_on_cancel=True
        )
        return await result if inspect.isawaitable(result) else result

    def _context(self) -> Context[Any]:
        return Context(
            deps=self.deps,
            sandbox=self.sandbox,
            idempotency_key=self.idempotency_key,
            output=lambda text: self.on_output("stdout", text),
            run=self._run_command,
            names=self.names,
            within=self.within,
            spent=self._spent,
        )

    async def _run_command(self, command: Command) -> Completed:
        if self.sandbox is None:
            raise UserError(
                f"tool `{self.call.tool.name}` needs a sandbox, and this run has none",
                hint="choose one with `sandbox=`, or leave the tool out",
            )
        within = self._within_what_is_left(command, self.sandbox)
        completed = await self.sandbox.run(within, self.on_output)
        self._spent(completed.duration_s)
        if self.completed is None or self.completed.status in (Status.OK, Status.FAILED):
            self.completed = completed  # one that was stopped stays: it decides how the call ended
        if completed.status not in (Status.OK, Status.FAILED):
            raise CallFailed(completed.status.value, self._stopped_text(completed))
        return completed

    def _spent(self, seconds: float) -> None:
        self.sandbox_s += seconds

    def _within_what_is_left(self, command: Command, sandbox: Sandbox) -> Command:
        """The command, cut off where the run's sandbox time is spent."""
        left = self.sandbox_left()
        if left is None:
            return command
        most = command.timeout_s or sandbox.limits.timeout_s
        return dataclasses.replace(command, timeout_s=min(most, max(left - self.sandbox_s, 0.001)))

    def _stopped_text(self, completed: Completed) -> str:
        assert self.sandbox is not None  # something ran in it
        return _stopped_text(completed, self.sandbox.limits.kept_bytes)

    def _observation(
        self, value: Value, failure: Failure | None, status: Status, duration: float
    ) -> Observation:
        completed = self.completed
        # A tool that swallows the error of a killed command must not turn it into a success.
        if completed is not None and completed.status not in (Status.OK, Status.FAILED):
            status = completed.status
            failure = failure or Failure(type=status.value, message=self._stopped_text(completed))
        if self._is_external and status not in (Status.OK, Status.FAILED):
            status = Status.UNKNOWN
        return Observation(
            status=status,
            value=value if status is Status.OK else None,
            error=failure,
            exit_code=completed.exit_code if completed else None,
            stdout=completed.stdout if completed else None,
            stderr=completed.stderr if completed else None,
            notes=completed.notes if completed else (),
            duration_s=duration,
        )


def thread_limiter() -> anyio.CapacityLimiter:
    """As wide as any plan: the default pool would run eight blocking tools in two waves."""
    return anyio.CapacityLimiter(_MOST_THREADS)


def _is_cancelled() -> bool:
    """Whether it is this call that is cancelled, and not something that its tool waited for."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _failure(error: BaseException, call: BoundCall) -> Failure:
    message, limit = str(error), call.tool.timeout_s
    if isinstance(error, TimeoutError) and not message and limit is not None:
        message = f"`{call.tool.name}` took longer than {limit:g} s"
    return Failure(type=type(error).__name__, message=message[:4_000])


def _stopped_text(completed: Completed, kept_bytes: int) -> str:
    match completed.status:
        case Status.TIMEOUT:
            return f"the command was ended after {completed.duration_s:.1f} s, its time limit"
        case Status.OOM:
            return "the command was ended: out of memory"
        case Status.OUTPUT_LIMIT:
            name = "stdout" if completed.stdout.total_bytes >= kept_bytes else "stderr"
            return f"the command was ended: it wrote more than {kept_bytes / 1e6:g} MB of {name}"
        case _ if completed.signal is None:
            return "the command was ended together with everything in the sandbox"
        case _:
            return f"the command was killed by signal {completed.signal}"
