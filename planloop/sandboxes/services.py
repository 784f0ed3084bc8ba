"""Named processes that live until the run ends: started, waited for, shown, started again."""

from __future__ import annotations

import contextlib
import dataclasses
import re
from collections.abc import Awaitable, Callable
from typing import Protocol

import anyio

from planloop.errors import SandboxLost
from planloop.observation import Status
from planloop.sandbox import (
    Command,
    CommandReady,
    Completed,
    OutputReady,
    PortReady,
    Ready,
    Service,
    ServiceState,
)
from planloop.sandboxes.calls import StartedProcess
from planloop.sandboxes.outcome import Outcome
from planloop.text import one_line

_TAIL = 2_000
"""Characters of a service's output in its state."""
_MOST_PATTERN = 1_000
_LOOK_S = 5.0
"""How long one look whether a service is ready may take."""
_FIRST_PAUSE_S = 0.01
_LONGEST_PAUSE_S = 0.25
_LISTENING = re.compile(r"^ *\d+: [0-9A-F]+:([0-9A-F]{4}) [0-9A-F]+:0000 0A ", re.MULTILINE)

# Runs inside the sandbox: a pattern and an output can only hold their own process up.
_MATCHES = """
import re, sys
pattern, text = re.compile(sys.argv[1]), sys.stdin.buffer.read().decode("utf-8", "replace")
sys.exit(not any(pattern.search(line) for line in text.split("\\n")))
"""

Run = Callable[[Command], Awaitable[Completed]]


class Start(Protocol):
    """Starts a process that no time limit ends."""

    async def __call__(self, command: Command) -> StartedProcess: ...


@dataclasses.dataclass
class _Running:
    """A service and its present process, if it has one; `trouble` says why not."""

    service: Service
    process: StartedProcess | None = None
    trouble: str = ""

    def state(self) -> ServiceState:
        process = self.process
        if process is None:
            return _state(self.service, False, self.trouble)
        if process.following.over:
            ended = _end_of(process.following.so_far())
            return _state(self.service, False, _with_output(ended, process))
        return _state(self.service, True, _ready_text(self.service.ready))


class Services:
    """The services of one sandbox.

    Args:
        start: starts a process of it.
        run: runs a command in it.
    """

    def __init__(self, start: Start, run: Run) -> None:
        self._start = start
        self._run = run
        self._running: dict[str, _Running] = {}
        self._beginning = anyio.Lock()

    def states(self) -> tuple[ServiceState, ...]:
        """The services as they are now, in the order of their beginnings."""
        return tuple(running.state() for running in self._running.values())

    async def begin(self, service: Service) -> ServiceState:
        """As `Sandbox.background`.

        Raises:
            OSError, ValueError: as for `Sandbox.background`.
            SandboxLost: the sandbox is gone.
        """
        _check(service)
        async with self._beginning:
            await self._end(self._running.pop(service.name, None))
            running = await self._begun(service)
            if running.process is not None:
                self._running[service.name] = running
            return running.state()

    async def begin_again(self) -> None:
        """Start every service anew, after everything in the sandbox was ended."""
        async with self._beginning:
            for name, before in list(self._running.items()):
                with contextlib.suppress(SandboxLost):  # the one that it ran in
                    await self._end(before)
                try:
                    self._running[name] = await self._begun(before.service)
                except OSError as error:
                    self._running[name] = _Running(before.service, trouble=str(error))

    async def _end(self, running: _Running | None) -> None:
        if running is not None and running.process is not None:
            await running.process.end()

    async def _begun(self, service: Service) -> _Running:
        """A service that is ready, or why it is not and runs no more."""
        if isinstance(service.ready, PortReady) and await self._listens(service.ready.port):
            return _Running(service, trouble=f"port {service.ready.port} is already in use")
        process = await self._start(service.command)
        try:
            trouble = await self._trouble(service, process)
        except BaseException:
            with anyio.CancelScope(shield=True):
                await process.end()
            raise
        if trouble is None:
            return _Running(service, process)
        await process.end()
        return _Running(service, trouble=_with_output(trouble, process))

    async def _trouble(self, service: Service, process: StartedProcess) -> str | None:
        """Wait until a service is ready; else why it is not."""
        with anyio.move_on_after(service.ready_s):
            pause = _FIRST_PAUSE_S
            while not process.following.over:
                if await self._is_ready(service.ready, process) and not process.following.over:
                    return None
                with anyio.move_on_after(pause):
                    await process.following.ended()
                pause = min(2 * pause, _LONGEST_PAUSE_S)
        if process.following.over:
            return _end_of(process.following.so_far())
        return f"not ready within {service.ready_s:g} s: waited for {_awaited(service.ready)}"

    async def _is_ready(self, ready: Ready, process: StartedProcess) -> bool:
        match ready:
            case PortReady(port=port):
                return await self._listens(port)
            case OutputReady(pattern=pattern):
                return await self._matches(pattern, process.following.output())
            case CommandReady(line=line):
                return (await self._run(Command(line=line, timeout_s=_LOOK_S))).status is Status.OK

    async def _listens(self, port: int) -> bool:
        """Whether the kernel says that something inside listens on a port."""
        tables = Command(argv=("cat", "/proc/net/tcp", "/proc/net/tcp6"), timeout_s=_LOOK_S)
        found = _LISTENING.findall((await self._run(tables)).stdout.text)
        return f"{port:04X}" in found

    async def _matches(self, pattern: str, text: str) -> bool:
        if not text:
            return False
        by_python = ("python3", "-I", "-S", "-c", _MATCHES, pattern)
        look = Command(argv=by_python, stdin=text.encode("utf-8", "replace"), timeout_s=_LOOK_S)
        try:
            return (await self._run(look)).status is Status.OK
        except FileNotFoundError:  # an image without python3
            by_grep = ("grep", "-E", "-q", "-e", pattern)
            return (await self._run(dataclasses.replace(look, argv=by_grep))).status is Status.OK


def _check(service: Service) -> None:
    if not service.name or one_line(service.name, 60) != service.name:
        raise ValueError(f"`{one_line(service.name, 60)}` is no name for a service")
    if isinstance(service.ready, PortReady) and not 0 < service.ready.port < 65_536:
        raise ValueError(f"there is no port {service.ready.port}")
    if isinstance(service.ready, OutputReady):
        if len(service.ready.pattern) > _MOST_PATTERN:
            raise ValueError(f"the pattern is longer than {_MOST_PATTERN} characters")
        try:
            re.compile(service.ready.pattern)
        except (re.error, RecursionError, OverflowError) as error:
            raise ValueError(f"no regular expression: {error}") from None


def _state(service: Service, alive: bool, detail: str) -> ServiceState:
    command = service.command
    what = command.line if command.line is not None else " ".join(command.argv)
    return ServiceState(name=service.name, what=one_line(what, 200), alive=alive, detail=detail)


def _awaited(ready: Ready) -> str:
    match ready:
        case PortReady(port=port):
            return f"port {port}"
        case OutputReady(pattern=pattern):
            return f"a line of output like `{one_line(pattern, 80)}`"
        case CommandReady(line=line):
            return f"`{one_line(line, 80)}` to exit 0"


def _ready_text(ready: Ready) -> str:
    match ready:
        case PortReady(port=port):
            return f"ready on port {port}"
        case _:
            return "ready"


def _end_of(end: Outcome) -> str:
    if end.exit_code is not None:
        return f"it ended with exit code {end.exit_code}"
    if end.signal is not None:
        return f"it ended by signal {end.signal}"
    return f"it was ended: {end.status}"


def _with_output(what: str, process: StartedProcess) -> str:
    said = process.following.output()[-_TAIL:].strip()
    return f"{what}\n{said}" if said else what
