"""The host's side of a way out: a thread of its own that accepts, as long as its sandbox lives.

A thread, because the app's loop may be busy, and because a sandbox is opened and closed by
different tasks, which no task group bears.
"""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import threading
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias

import anyio

from planloop.errors import SandboxLost
from planloop.sandboxes.egress.planning import Listen, Plan
from planloop.sandboxes.egress.policy import Policy, Refused
from planloop.sandboxes.egress.proxy import Forwarded, Proxied
from planloop.sandboxes.egress.reaching import Reach, Resolve, resolve
from planloop.sandboxes.egress.refusals import Refusals
from planloop.sandboxes.egress.wire import Duty, Wire

CONNECTIONS_AT_ONCE = 128
"""Of one sandbox, each of two descriptors; an equal share for each listening socket, so that none
takes the room of another. Further ones wait in the kernel's bounded queues."""
SHARE_OF_A_CORE = 0.5
"""What the thread of one sandbox may take."""
CLOSE_S = 5.0
_NO_ROOM_S = 0.1
_Serve: TypeAlias = Callable[[Wire], Awaitable[None]]


def serve(plan: Plan, descriptors: Sequence[int], resolver: Resolve = resolve) -> Egress:
    """Accept what a plan's listening sockets bring, until the result is closed.

    Args:
        plan: what they were opened for.
        descriptors: of the sockets, in the order of `plan.listen`; owned, and closed at the end,
            also where this raises.
        resolver: finds the addresses of a name; it may wait.

    Raises:
        SandboxLost: they are not the sockets that the plan asks for.
    """
    with contextlib.ExitStack() as owned:
        sockets = [owned.enter_context(one) for one in _sockets(descriptors)]
        if len(sockets) != len(plan.listen) or not all(map(_listens, sockets, plan.listen)):
            raise SandboxLost("the sandbox did not hand out the sockets that its network needs")
        egress = Egress(plan, sockets, resolver)
        owned.pop_all()
    return egress


class Egress:
    """A running way out. Its methods may be called from any thread."""

    def __init__(self, plan: Plan, listeners: Sequence[socket.socket], resolver: Resolve) -> None:
        self._refusals = Refusals()
        self._thread: threading.Thread | None = None
        self._stop, stopped = socket.socketpair()
        if not listeners:
            stopped.close()
            return
        service = _Service(plan, listeners, resolver, self._refusals, stopped)
        self._thread = threading.Thread(target=service.run, name="planloop-egress", daemon=True)
        self._thread.start()

    def refusals(self, since: float) -> tuple[str, ...]:
        """What the policy refused since a monotonic time in seconds: sentences, few and short."""
        return self._refusals.since(since)

    def close(self) -> None:
        """End it and every connection through it, within a bound. Blocks; safe to call twice."""
        self._stop.close()
        if self._thread is not None:
            self._thread.join(CLOSE_S)


class _Service:
    """What the thread does."""

    def __init__(
        self,
        plan: Plan,
        listeners: Sequence[socket.socket],
        resolver: Resolve,
        refusals: Refusals,
        stopped: socket.socket,
    ) -> None:
        self._plan = plan
        self._listeners = listeners
        self._resolver = resolver
        self._refusals = refusals
        self._stopped = stopped

    def run(self) -> None:
        with contextlib.ExitStack() as owned:
            for one in (self._stopped, *self._listeners):
                one.setblocking(False)
                owned.enter_context(one)
            anyio.run(self._until_stopped)

    async def _until_stopped(self) -> None:
        duty = Duty(SHARE_OF_A_CORE)
        reach = Reach(Policy(self._plan.entries), self._resolver)
        services: list[_Serve] = [
            Proxied(reach, self._refuse, duty).serve,
            *(Forwarded(place, duty).serve for place in self._plan.listen[1:]),
        ]
        share = CONNECTIONS_AT_ONCE // len(self._listeners)
        async with anyio.create_task_group() as group:
            for listener, service in zip(self._listeners, services, strict=True):
                group.start_soon(_accept_all, listener, service, duty, share)
            await anyio.wait_readable(self._stopped)
            group.cancel_scope.cancel()

    def _refuse(self, refused: Refused) -> None:
        self._refusals.add(str(refused))


async def _accept_all(listener: socket.socket, service: _Serve, duty: Duty, most: int) -> None:
    room = anyio.Semaphore(most)
    async with anyio.create_task_group() as group:
        while True:
            await room.acquire()
            duty.rest()
            group.start_soon(_serve_one, await _accepted(listener), service, duty, room)


async def _accepted(listener: socket.socket) -> socket.socket:
    while True:
        try:
            return listener.accept()[0]
        except BlockingIOError:
            await anyio.wait_readable(listener)
        except OSError:  # no descriptor left, or the client is gone already
            await anyio.sleep(_NO_ROOM_S)


async def _serve_one(
    connection: socket.socket, service: _Serve, duty: Duty, room: anyio.Semaphore
) -> None:
    client = Wire(connection, duty)
    try:
        with contextlib.suppress(OSError):  # one end broke: there is nobody to tell
            await service(client)
            await client.last_word()
    finally:
        client.close()
        room.release()


def _sockets(descriptors: Sequence[int]) -> list[socket.socket]:
    if all(stat.S_ISSOCK(os.fstat(one).st_mode) for one in descriptors):
        return [socket.socket(fileno=one) for one in descriptors]
    for one in descriptors:
        os.close(one)
    raise SandboxLost("the sandbox handed out something that is no socket")


def _listens(found: socket.socket, wanted: Listen) -> bool:
    """Whether this is the socket that was asked for; an image's python3 could send another."""
    if found.family not in (socket.AF_INET, socket.AF_INET6):
        return False
    accepts = found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    return bool(accepts) and found.getsockname()[:2] == tuple(wanted)
