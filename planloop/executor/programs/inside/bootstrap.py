"""Makes the package of the interpreter from sources that the host sends, and starts it.

Runs as `python3 -c SOURCE`. Descriptor 3 is the channel; its first byte brings the control socket.
"""

from __future__ import annotations

import sys

# First of all: a `json.py` in the workspace must not stand in for the real one.
sys.path[:] = [folder for folder in sys.path if folder]

import importlib.abc
import importlib.machinery
import importlib.util
import json
import os
import socket
import struct
from typing import Any

PACKAGE = "planloop_inside"


class Sent(importlib.abc.MetaPathFinder, importlib.abc.InspectLoader):
    """Finds and loads the modules that the host sent."""

    def __init__(self, modules: dict[str, str]) -> None:
        self._modules = modules

    def find_spec(
        self, name: str, path: Any = None, target: Any = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name != PACKAGE and name.rpartition(".")[0] != PACKAGE:
            return None
        is_package = name == PACKAGE
        return importlib.machinery.ModuleSpec(name, self, is_package=is_package)

    def get_source(self, name: str) -> str:
        return self._modules[name.rpartition(".")[2] if name != PACKAGE else "__init__"]


def exactly(channel: socket.socket, size: int) -> bytes:
    pieces = b""
    while len(pieces) < size:
        piece = channel.recv(size - len(pieces))
        if not piece:
            sys.exit(0)
        pieces += piece
    return pieces


def main() -> None:
    channel = socket.socket(fileno=3)
    channel.setblocking(True)
    os.set_inheritable(3, False)
    _, rights, _, _ = channel.recvmsg(1, socket.CMSG_SPACE(4), socket.MSG_CMSG_CLOEXEC)
    control = struct.unpack("i", rights[0][2][:4])[0]
    size = struct.unpack(">I", exactly(channel, 4))[0]
    modules = json.loads(exactly(channel, size))["modules"]
    sys.meta_path.insert(0, Sent(modules))
    importlib.import_module(PACKAGE + ".life").main(channel, control)


if __name__ == "__main__":
    main()
