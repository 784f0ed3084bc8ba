"""The life of the interpreter: it obeys the host until that hangs up.

A frame is four bytes of length, most significant first, then JSON. From the host:

    {"op": "tools", "tools": {name: stub}}        tools as functions, by the source of their stubs
    {"op": "names", "values": {name: value}}      bind names
    {"op": "plan", "file": F, "source": S}        the text that tracebacks show
    {"op": "seed", "number": N}                   of `random`
    {"op": "run", "id": N, "file": F, "line": L, "source": S, "mark": "none" | "names" | "state",
     "settled": [names]}                          one statement
    {"op": "values", "names": [names]}            what names hold
    {"op": "result", "call": C, "value": V}       of a call
    {"op": "failure", "call": C, "type": T, "message": M, "value": V}
    {"op": "stop", "call": C, "why": W}           the plan is ended from outside (L7)

To the host:

    {"op": "call", "call": C, "tool": T, "args": [V], "kwargs": {name: V}, "line": L, "path": [N]}
    {"op": "out", "stream": "stdout" | "stderr", "text": T}
    {"op": "say", "word": "note" | "done" | "give_up", "value": V}
    {"op": "ended", "id": N, "ok": B, ...}        the statement ended; see `Statement.run`
    {"op": "back", "id": N, "why": "failed" | "died" | "late"}    a checkpoint took its place
    {"op": "values", "values": {name: value}, "lost": {name: type}}

What the program does with descriptor 3 harms only itself: the host checks each frame, lets a
statement call what its text names, and measures outcomes by its own clock and by what is alive.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import inspect
import linecache
import os
import random
import signal
import socket
import sys
from typing import Any

from .channel import Channel
from .checkpoints import Checkpoints
from .errors import Gone
from .keeping import values_of
from .runner import Runner
from .statements import Statement
from .values import decode

PR_SET_DUMPABLE, PR_SET_CHILD_SUBREAPER = 4, 36


def main(connected: socket.socket, control: int) -> None:
    """Live. The first process is the stem of all others, so that they can replace each other."""
    harden()
    os.set_blocking(control, False)
    stem = os.getpid()
    if os.fork():
        connected.close()
        os.close(control)
        live_until_alone()
    channel = Channel(connected)
    checkpoints = Checkpoints(stem, control)
    sys.path.insert(0, "")
    sys.argv = [""]
    gather_accepts_values()
    runner = Runner(channel)
    try:
        while True:
            obey(runner, checkpoints, channel.receive())
    except Gone:
        os._exit(0)


def harden() -> None:
    """No other process of this user may look into this one, or into its descriptors."""
    prctl = ctypes.CDLL(None).prctl
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)


def live_until_alone() -> None:
    """The stem reaps what its descendants leave; it ends when nothing is left."""
    while True:
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            os._exit(0)


def obey(runner: Runner, checkpoints: Checkpoints, order: dict[str, Any]) -> None:
    kind = order["op"]
    if kind == "run":
        Statement(runner, checkpoints, order).run()
    elif kind == "tools":
        runner.add_tools(order["tools"])
    elif kind == "names":
        runner.names.update((name, decode(value)) for name, value in order["values"].items())
    elif kind == "plan":
        lines = order["source"].splitlines(keepends=True)
        linecache.cache[order["file"]] = (len(order["source"]), None, lines, order["file"])
        runner.stopped = None
    elif kind == "seed":
        random.seed(order["number"])
    elif kind == "values":
        with contextlib.suppress(ValueError):
            runner.channel.send(values_of(runner, order["names"]))


def gather_accepts_values() -> None:
    """`asyncio.gather` also takes what is already a value: a tool that was called outright."""
    gather: Any = asyncio.gather

    def accepting(*things: Any, **options: Any) -> Any:
        awaitables = (one if inspect.isawaitable(one) else settled(one) for one in things)
        return gather(*awaitables, **options)

    async def settled(value: Any) -> Any:
        return value

    asyncio.gather = accepting
