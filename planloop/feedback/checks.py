"""Checks: run over the result in a clean sandbox, or on the host by the app and its world.

The judged code never shares a live sandbox with its check, and pinned paths are the original's.
"""

from __future__ import annotations

import dataclasses
import inspect
import shlex
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import anyio.to_thread

from planloop.budget import Account, Reservation, Usage
from planloop.environment import Environment
from planloop.errors import UserError
from planloop.feedback.output import OutputType
from planloop.feedback.unloadable import OUTSIDE_HINT, refuse_unloadable
from planloop.observation import Status
from planloop.sandbox import Command, Completed, FileStamp, Sandbox
from planloop.state import CheckResult, Execution, PinnedCheck, State
from planloop.task import Check, FileCheck, PythonCheck, RunCheck
from planloop.workspace import (
    Workbench,
    default_pins,
    loads_in_process,
    pinned_tree,
    python_loads_in_process,
)
from planloop.workspace.pins import matches

_SHOWN_BYTES = 4_000
_MOST_BYTES = 64_000_000
"""Of a file whose text is compared."""

OpenClean = Callable[[], AbstractAsyncContextManager[Sandbox]]
"""Opens a sandbox with an empty workspace."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Candidate:
    """What a check of the app's own gets to see of a result."""

    output: Any
    """What the plan's `done` was given, of the app's `output_type` if it named one."""
    folder: Path | None
    """A copy of the resulting files, to read; None where there is no workspace."""
    deps: Any


HostCheck = Callable[[Candidate], "bool | str | Awaitable[bool | str]"]
"""A check of the app's own: True passes; False, or a text that says why, fails."""


class Checks:
    """Runs the checks of one run."""

    def __init__(
        self,
        *,
        account: Account,
        bench: Workbench | None,
        open_clean: OpenClean | None,
        host: Sequence[HostCheck],
        environment: Environment,
        output_type: OutputType,
        deps: Any,
    ) -> None:
        self._account = account
        self._bench = bench
        self._open_clean = open_clean
        self._host = tuple(host)
        self._environment = environment
        self._output_type = output_type
        self._deps = deps

    def let_go(self) -> None:
        """The run is over: whoever still knows these checks does not keep the files' copies."""
        self._bench, self._open_clean = None, None

    async def run(self, state: State, execution: Execution) -> Sequence[CheckResult]:
        """Every pinned check, the app's own, and the environment's, in this order."""
        misfit = self._output_type.problem(execution.output)
        if misfit is not None:
            return [misfit]
        result = await self._bench.result() if self._bench else None
        pinned = (*state.pinned, *execution.proposed)
        found = [await self._pinned(one, result) for one in pinned]
        output = self._output_type.convert(execution.output)
        candidate = Candidate(output=output, folder=result, deps=self._deps)
        found += [await _on_host(check, candidate) for check in self._host]
        found += [
            dataclasses.replace(one, by="host", passed=one.passed is True and not one.broken)
            for one in await self._environment.check(execution.output) or ()
        ]
        return found

    async def pin_proposed(self, check: Check) -> PinnedCheck:
        """Fix a check that the planner proposes, and see whether it passes on untouched files."""
        pinned = PinnedCheck(check=check, proposed=True)
        found = await self._pinned(pinned, self._bench.start if self._bench else None)
        return dataclasses.replace(pinned, passes_untouched=found.passed)

    async def refuse_impossible(self, checks: Sequence[Check], sandbox: Sandbox | None) -> None:
        """Raise `UserError` for a check that cannot run at all, before the first model call."""
        for check in checks:
            if isinstance(check, FileCheck):
                continue
            if sandbox is None:
                raise UserError(
                    f"check `{check.label}` needs a sandbox, and this run has none",
                    hint="choose one with `sandbox:`, or use a `file` check",
                )
            program = _program(check)
            if program and not await _exists(program, sandbox):
                raise UserError(
                    f"check `{check.label}` cannot run: the sandbox has no `{program}`",
                    hint=OUTSIDE_HINT,
                )
            await refuse_unloadable(check, sandbox)

    async def _pinned(self, pinned: PinnedCheck, result: Path | None) -> CheckResult:
        check = pinned.check
        match check:
            case FileCheck():
                found = await anyio.to_thread.run_sync(_file, check, result)
            case RunCheck() | PythonCheck():
                found = await self._in_sandbox(check, result)
        return dataclasses.replace(
            found, proposed=pinned.proposed, passes_untouched=pinned.passes_untouched
        )

    async def _in_sandbox(self, check: RunCheck | PythonCheck, result: Path | None) -> CheckResult:
        if self._bench is None or self._open_clean is None or result is None:
            return CheckResult(
                label=check.label, passed=False, broken=True, detail="there is no sandbox to run it"
            )
        with self._bench.scratch("check") as target:
            pins = await self._pins(check)
            original = self._bench.start
            pinned = await anyio.to_thread.run_sync(pinned_tree, original, result, pins, target)
            forged = _in_process(check, target)
            async with self._open_clean() as sandbox:
                await sandbox.copy_in(target)
                before = await sandbox.scan()
                completed = await sandbox.run(_command(check))
                self._account.settle(Reservation(), Usage(sandbox_s=completed.duration_s))
                # A test runner may write beside its tests; what a person pinned nobody may.
                held = () if forged and _written_pins(check) is None else pins
                touched = _touched(before, await sandbox.scan(), held)
        detail = _detail(completed)
        if touched:
            detail = f"pinned files were changed while the check ran: {', '.join(touched)}"
        return CheckResult(
            label=check.label,
            passed=completed.status is Status.OK and not touched,
            detail=detail,
            in_process=forged,
            restored=pinned.restored,
            removed=pinned.removed,
        )

    async def _pins(self, check: RunCheck | PythonCheck) -> tuple[str, ...]:
        if isinstance(check, PythonCheck) or self._bench is None:
            return ()
        if check.pins is not None:
            return check.pins
        existing = await anyio.to_thread.run_sync(_paths, self._bench.start)
        return default_pins(check.run, existing)


def _written_pins(check: RunCheck | PythonCheck) -> tuple[str, ...] | None:
    """The pins that a person wrote."""
    return check.pins if isinstance(check, RunCheck) else None


def _touched(
    before: Mapping[str, FileStamp], after: Mapping[str, FileStamp], pins: Sequence[str]
) -> tuple[str, ...]:
    """Pinned files that are not as they were: a judged program may overwrite what it is held to."""
    changed = (path for path, stamp in before.items() if after.get(path) != stamp)
    return tuple(sorted(path for path in changed if any(matches(pin, path) for pin in pins)))


def _command(check: RunCheck | PythonCheck) -> Command:
    if isinstance(check, RunCheck):
        return Command(line=check.run, timeout_s=check.timeout_s)
    source = check.python.encode()
    return Command(argv=("python3", "-"), stdin=source, timeout_s=check.timeout_s)


def _in_process(check: RunCheck | PythonCheck, tree: Path) -> bool:
    """Whether judged code runs where the check runs, and could then forge it."""
    if isinstance(check, RunCheck):
        return loads_in_process(check.run)
    return python_loads_in_process(check.python, [path.name for path in tree.iterdir()])


def _file(check: FileCheck, result: Path | None) -> CheckResult:
    detail = _file_problem(check, result)
    return CheckResult(label=check.label, passed=detail is None, detail=detail or "")


def _file_problem(check: FileCheck, result: Path | None) -> str | None:
    if result is None:
        return "there is no workspace"
    path = result
    for step in Path(check.file).parts:
        path = path / step
        if path.is_symlink():
            return f"`{check.file}` is, or lies behind, a link"
    if not path.is_file():
        return f"`{check.file}` does not exist" if not path.exists() else "it is no regular file"
    if check.contains is None and check.equals is None:
        return None
    if path.stat().st_size > _MOST_BYTES:
        return f"it is larger than the {_MOST_BYTES:,} bytes that a check looks into"
    text = path.read_bytes().decode("utf-8", "replace")
    if check.contains is not None and check.contains not in text:
        return f"it does not contain {check.contains!r}"
    if check.equals is not None and text != check.equals:
        return f"it holds {text[:500]!r}, not {check.equals[:500]!r}"
    return None


async def _on_host(check: HostCheck, candidate: Candidate) -> CheckResult:
    label = getattr(check, "__name__", type(check).__name__)
    try:
        said = check(candidate)
        if inspect.isawaitable(said):
            said = await said
    except Exception as error:  # an app's check that raises has not passed
        return CheckResult(
            label=label, passed=False, by="host", detail=f"{type(error).__name__}: {error}"
        )
    if said is True:
        return CheckResult(label=label, passed=True, by="host")
    detail = said if isinstance(said, str) else f"it returned {said!r}; True passes"
    return CheckResult(label=label, passed=False, by="host", detail=detail)


def _program(check: RunCheck | PythonCheck) -> str | None:
    """The program that a check starts, where that is plain to see."""
    if isinstance(check, PythonCheck):
        return "python3"
    try:
        words = shlex.split(check.run)
    except ValueError:
        return None
    while words and "=" in words[0]:
        words.pop(0)
    plain = bool(words) and all(c.isalnum() or c in "._+-" for c in words[0])
    return words[0] if plain else None


async def _exists(program: str, sandbox: Sandbox) -> bool:
    command = Command(line=f"command -v {shlex.quote(program)}", timeout_s=10)
    return (await sandbox.run(command)).status is Status.OK


def _detail(completed: Completed) -> str:
    head = {
        Status.OK: "",
        Status.FAILED: f"exit {completed.exit_code}",
    }.get(completed.status, completed.status.value)
    streams = [completed.stdout.text[-_SHOWN_BYTES:], completed.stderr.text[-_SHOWN_BYTES:]]
    return "\n".join(part.rstrip() for part in [head, *streams] if part.strip())


def _paths(folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()]
