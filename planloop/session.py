"""One session: runs that share workspace, names, ledger and conversation."""

from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path

import anyio

from planloop.budget import Account, Budget
from planloop.ending import End, last_verdict
from planloop.errors import InfrastructureError, UserError
from planloop.events import RunEnded, RunStarted, Warned
from planloop.feedback.checks import HostCheck
from planloop.messages import Model
from planloop.models import ContextTooLong, Recorder, ReplayModel
from planloop.planner.prompt import Prompt
from planloop.rooms import Memory, Rooms, Setup, open_rooms
from planloop.state import Result, RunStatus
from planloop.task import Task
from planloop.trace.journal import Journal, Listener
from planloop.trace.log import FolderLog, Log, MemoryLog
from planloop.trace.store import new_run_id
from planloop.values import dump
from planloop.workspace import collect_outputs, save_changes

_CLEAN_UP_S = 30.0
"""Seconds that the end of an interrupted run may take."""
_ENDED_WELL = (RunStatus.SUCCESS, RunStatus.ANSWERED)


class Session:
    """A run and its follow-ups."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._memory = Memory()
        self._scope: anyio.CancelScope | None = None
        self._event_loop: asyncio.AbstractEventLoop | None = None
        self._told_differences = 0
        self._cancelled = False
        self.last_run: str | None = None
        self.folder: Path | None = None
        """Where the last run's trace and changes lie; None if they are in memory."""

    async def run(
        self,
        task: Task,
        budget: Budget,
        listeners: tuple[Listener, ...] = (),
        said: str | None = None,
        checks: tuple[HostCheck, ...] | None = None,
    ) -> Result:
        """Run a task to its end; with `said`, what the user says next.

        Args:
            checks: of the app's own, in place of the agent's.

        Raises:
            UserError: something the caller can fix.
            InfrastructureError: the world failed before the run had begun.
        """
        self._cancelled = False
        _refuse_unknown_price(self._setup, budget)
        run_id = new_run_id()
        if said is None:
            self._memory.names = {name: dump(value) for name, value in task.inputs.items()}
        log = self._open_log(run_id)
        began = False
        try:
            journal = Journal(log, listeners)
            setup = self._for_this_run(checks)
            async with open_rooms(
                setup, self._memory, task, budget, journal, run_id=run_id, said=said
            ) as rooms:
                journal.emit(self._started(run_id, task, budget, rooms), sync=True)
                for event in rooms.prelude:
                    journal.emit(event)
                began = True
                return await self._run(rooms, task, journal, run_id)
        finally:
            log.close()
            if not began and self._setup.store is not None and self.folder is not None:
                self._setup.store.discard(self.folder)
            if self._setup.owns_model:
                with anyio.CancelScope(shield=True), anyio.move_on_after(_CLEAN_UP_S):
                    await self._setup.model.close()
            if self._setup.owns_executor and self._setup.executor is not None:
                with anyio.CancelScope(shield=True), anyio.move_on_after(_CLEAN_UP_S):
                    await self._setup.executor.close()

    async def prompt(self, task: Task, budget: Budget) -> Prompt:
        """What would be sent first. Nothing is sent, and no trace is left."""
        journal = Journal(MemoryLog())
        self._memory.names = {name: dump(value) for name, value in task.inputs.items()}
        async with open_rooms(
            self._setup, self._memory, task, budget, journal, run_id=new_run_id()
        ) as rooms:
            return rooms.prompt

    def cancel(self) -> None:
        """Interrupt the run that goes on now. Its processes end, and its result says so.

        May be called from any thread, and when nothing runs.
        """
        self._cancelled = True
        scope, loop = self._scope, self._event_loop
        if scope is not None and loop is not None:
            loop.call_soon_threadsafe(scope.cancel)

    def close(self) -> None:
        """Remove the session's copies. Safe to call twice."""
        if self._memory.bench is not None:
            self._memory.bench.close()
            self._memory.bench = None
        if self._memory.prepared is not None:
            self._memory.prepared.close()
            self._memory.prepared = None

    def _open_log(self, run_id: str) -> Log:
        if self._setup.store is None:
            return MemoryLog()
        self.folder = self._setup.store.create(run_id)
        return FolderLog(self.folder)

    def _for_this_run(self, checks: tuple[HostCheck, ...] | None) -> Setup:
        setup = self._setup
        if checks is not None:
            setup = dataclasses.replace(setup, checks=checks)
        if self.folder is None:
            return setup
        path, executor = self.folder / "replay.jsonl", setup.executor
        recorder = Recorder(setup.model, path, executor)
        beside = None if executor is None else Recorder(executor, path)
        return dataclasses.replace(setup, model=recorder, executor=beside)

    async def _run(self, rooms: Rooms, task: Task, journal: Journal, run_id: str) -> Result:
        """Run the loop to an end of its own, or to one from outside; finish in every case."""
        end = End(status=RunStatus.INTERRUPTED, reason="interrupted")
        self._event_loop = asyncio.get_running_loop()
        try:
            with anyio.CancelScope() as self._scope:
                if self._cancelled:  # while the rooms were opened
                    self._scope.cancel()
                end = await _within_wall_time(rooms)
        except InfrastructureError as error:
            end = End(status=RunStatus.ERROR, reason=_with_hint(error))
        except ContextTooLong as error:
            end = End(status=RunStatus.CAPPED, reason=error.what)
        except UserError as error:
            end = End(status=RunStatus.ERROR, reason=error.what)
            if not rooms.account.usage.model_requests:
                raise  # found before anything was done: the caller's to fix
        except Exception as error:
            end = End(status=RunStatus.ERROR, reason=f"{type(error).__name__}: {error}")
            raise
        finally:
            self._scope = None
            with anyio.CancelScope(shield=True):
                result = await self._finish(rooms, task, journal, run_id, end)
        return result

    async def _finish(
        self, rooms: Rooms, task: Task, journal: Journal, run_id: str, end: End
    ) -> Result:
        """Save what the run changed and said, and write its last event."""
        diff, changed = "", tuple[str, ...]()
        in_time = _CLEAN_UP_S if end.status is RunStatus.INTERRUPTED else None
        try:
            with anyio.fail_after(in_time):
                diff, changed = await self._save_files(task, journal)
        except (InfrastructureError, OSError) as error:  # also when the time was too short
            end = _without_files(end, error)
        end = _without_work(end, changed, rooms)
        self._tell_differences(journal)
        self._remember(rooms, run_id)
        usage = rooms.account.usage
        verdict = end.verdict if end.verdict.checks else last_verdict(rooms.loop.state)
        journal.emit(
            RunEnded(
                status=end.status,
                reason=end.reason,
                output=end.output,
                checks=verdict.checks,
                verdict_by=verdict.by,
                changed_files=changed,
                usage=usage,
            ),
            sync=True,
        )
        ended_well = end.status in _ENDED_WELL
        convert = self._setup.output_type.convert if ended_well else lambda output: output
        return Result(
            status=end.status,
            output=convert(end.output),
            verdict=verdict,
            diff=diff,
            usage=usage,
            run_id=run_id,
            reason=end.reason,
            changed_files=changed,
        )

    async def _save_files(self, task: Task, journal: Journal) -> tuple[str, tuple[str, ...]]:
        bench = self._memory.bench
        if bench is None:
            return "", ()
        found, result = await bench.diff(), await bench.result()
        for left in (*(f"{one.path} ({one.why})" for one in found.left_out), *bench.refused):
            journal.emit(Warned(text=f"not part of the result: {left}"))
        if self.folder is not None:
            await anyio.to_thread.run_sync(save_changes, found, bench.original, result, self.folder)
            await anyio.to_thread.run_sync(collect_outputs, task.outputs, result, self.folder)
        return found.text, tuple(change.path for change in found.changes)

    def _remember(self, rooms: Rooms, run_id: str) -> None:
        state = rooms.loop.state
        self._memory.names = state.names
        self._memory.history = rooms.planner.history(state)
        self.last_run = run_id

    def _tell_differences(self, journal: Journal) -> None:
        model: Model = self._setup.model
        if isinstance(model, ReplayModel):
            for text in model.differences[self._told_differences :]:
                journal.emit(Warned(text=f"the replay differs: {text}"))
            self._told_differences = len(model.differences)

    def _started(self, run_id: str, task: Task, budget: Budget, rooms: Rooms) -> RunStarted:
        sandbox = rooms.sandbox
        return RunStarted(
            run_id=run_id,
            task=task.name,
            text=task.text,
            folder=str(task.folder) if task.folder else None,
            model=self._setup.model.name,
            executor=None if self._setup.executor is None else self._setup.executor.name,
            price=self._setup.price,
            sandbox=sandbox.kind if sandbox else "none",
            environment=self._setup.environment.name,
            tools=tuple(rooms.tools),
            budget=budget,
            checks=tuple(check.label for check in task.checks),
            sandbox_because=getattr(sandbox, "because", ""),
            unenforced=sandbox.unenforced if sandbox else (),
            left_out=self._memory.left_out,
            follows=self.last_run,
        )


def _without_work(end: End, changed: tuple[str, ...], rooms: Rooms) -> End:
    """Say it where checks passed and nothing had been done for it."""
    rounds = rooms.loop.state.rounds
    calls = [call for done in rounds for call in done.execution.calls if call.effect.is_effect]
    if end.status is not RunStatus.SUCCESS or changed or calls:
        return end
    return dataclasses.replace(end, reason=f"{end.reason}; nothing was changed for it")


async def _within_wall_time(rooms: Rooms) -> End:
    account: Account = rooms.account
    left = account.wall_left_s
    with anyio.move_on_after(left) as scope:
        async with rooms.head_start.opened():
            return await rooms.loop.run()
    assert scope.cancelled_caught
    spent = f"wall_s spent: {account.usage.wall_s:.1f} of {account.budget.wall_s:g}"
    return End(status=RunStatus.CAPPED, reason=spent)


def _refuse_unknown_price(setup: Setup, budget: Budget) -> None:
    for model in (setup.model, setup.executor):
        if not budget.needs_price or model is None or model.profile.price_known:
            continue
        raise UserError(
            f"money is limited to ${budget.cost_usd:g}, and the price of `{model.name}` is unknown",
            hint="give its price in your configuration, or limit `tokens` or `rounds` instead",
        )


def _without_files(end: End, error: Exception) -> End:
    """A run whose files are lost did not end well, whatever its checks had seen."""
    lost = f"the files of the run could not be saved: {error or 'it took too long'}"
    if end.status in _ENDED_WELL:
        return dataclasses.replace(end, status=RunStatus.ERROR, reason=lost)
    return dataclasses.replace(end, reason=f"{end.reason}; {lost}")


def _with_hint(error: InfrastructureError) -> str:
    return f"{error.message} ({error.hint})" if error.hint else error.message
