"""How a sandbox's first process (`guest.py`) is given its source and its words."""

from __future__ import annotations

import dataclasses
import functools
import importlib.util
import marshal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

SOURCE = Path(__file__).with_name("guest.py")
_IMPORT = (
    "import sys; sys.path.insert(0, sys.argv[1].rpartition('/')[0]); "
    "import guest; guest.main(sys.argv[2:])"
)
_UNCHECKED = 1
"""Of a compiled file: it is used without a look at its source (PEP 552)."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Words:
    """What the first process is told. None leaves a limit to someone else."""

    door: str
    """The number of its descriptor, or the path of a listening socket."""
    workspace: str
    listen: Sequence[tuple[str, int]] = ()
    """Addresses and ports inside on which the host accepts connections."""
    user: int | None = None
    """User and group of the calls, where this process is root."""
    processes: int | None = None
    address_space: int | None = None
    """Bytes of one process."""

    def arguments(self) -> list[str]:
        """As arguments of a program."""
        limits = {
            "user": self.user,
            "processes": self.processes,
            "address_space": self.address_space,
        }
        return [
            f"door={self.door}",
            f"workspace={self.workspace}",
            *(f"listen={port},{address}" for address, port in self.listen),
            *(f"{name}={value}" for name, value in limits.items() if value is not None),
        ]


def command(python: str, source: str, words: Words) -> list[str]:
    """The command that runs the first process from a folder with `files()`.

    Args:
        python: the interpreter inside.
        source: path inside of `guest.py`.
    """
    return [python, "-I", "-S", "-c", _IMPORT, source, *words.arguments()]


@functools.cache
def files() -> Mapping[str, bytes]:
    """The source, and its code for interpreters of this version: others compile it anew."""
    source = SOURCE.read_bytes()
    code = compile(source, "guest.py", "exec", dont_inherit=True, optimize=0)
    head = importlib.util.MAGIC_NUMBER + _UNCHECKED.to_bytes(4, "little")
    compiled = head + importlib.util.source_hash(source) + marshal.dumps(code)
    return {"guest.py": source, f"__pycache__/guest.{sys.implementation.cache_tag}.pyc": compiled}
