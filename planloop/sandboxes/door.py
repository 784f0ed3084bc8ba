"""How the first process of a container reaches the host: by a socket in a folder, once."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import anyio

from planloop.sandboxes import first_process, tree
from planloop.sandboxes.link import Link

SOCKET = "socket"
_LOOK_S = 0.5
"""How often a silent first process is looked after."""


def make_door(folder: Path) -> None:
    """Make a folder that every user may read, with the source of the first process."""
    for name, content in first_process.files().items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        file.chmod(0o644)
        file.parent.chmod(0o755)


@contextlib.contextmanager
def listening(folder: Path) -> Iterator[socket.socket]:
    """A socket in the folder, gone afterwards: nothing inside can come later."""
    directory = tree.open_root(folder)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        listener.bind(f"/proc/self/fd/{directory}/{SOCKET}")  # the folder's path may be too long
        (folder / SOCKET).chmod(0o666)
        listener.listen(1)
        listener.setblocking(False)
        yield listener
    finally:
        listener.close()
        os.close(directory)
        (folder / SOCKET).unlink(missing_ok=True)


async def accept(listener: socket.socket, is_over: Callable[[], Awaitable[bool]]) -> Link | None:
    """Wait until the first process comes; None if it has ended instead."""
    while True:
        with anyio.move_on_after(_LOOK_S):
            await anyio.wait_readable(listener)
            return Link(listener.accept()[0])
        if await is_over():
            return None
