"""Names of what a run makes outside its own folder, with their owner: after a crash it is found.

Everything of this kind is called `planloop-RUN-OWNER-RANDOM`. The owner stands in the name, not
in a file, so that there is no moment without one.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
import re
import secrets
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

State = Literal["alive", "dead", "elsewhere"]
"""Of an owner; `elsewhere`: another user's, machine's or container's, which cannot be judged."""

_UNKNOWN = "0"
_OWNER = r"\d+\.\d+\.\d+\.[0-9a-f]+\.[0-9a-f]+\.[0-9a-f]+"
_MARK = re.compile(rf"planloop-(?P<run>[\w.-]{{1,40}})-(?P<owner>{_OWNER})-\w+", re.ASCII)


@dataclasses.dataclass(frozen=True)
class Owner:
    """A process of a user, named so that it is never taken for another one."""

    pid: int
    tick: int
    """When it started, in clock ticks since the boot; 0 where that is unknown."""
    user: int
    namespace: str
    """Of process ids: a container counts its own."""
    boot: str
    machine: str

    def __str__(self) -> str:
        return f"{self.pid}.{self.tick}.{self.user}.{self.namespace}.{self.boot}.{self.machine}"


@dataclasses.dataclass(frozen=True)
class Mark:
    """What a name says."""

    name: str
    run: str
    owner: Owner


def this_process() -> Owner:
    """The owner that the caller is."""
    started = _started(os.getpid())
    return Owner(
        pid=os.getpid(),
        tick=started[0] if started else 0,
        user=_user(),
        namespace=_namespace(),
        boot=_boot(),
        machine=_machine(),
    )


def owner() -> str:
    """Names this process, as `parse_owner` reads it."""
    return str(this_process())


def mark(run_id: str) -> str:
    """A new name for something of a run and of this process."""
    return f"{_prefix(run_id)}{secrets.token_hex(4)}"


def make_home(folder: Path, run_id: str) -> Path:
    """A new private folder of a run and of this process; `folder` is made if it is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(prefix=_prefix(run_id), dir=folder.absolute()))


@contextlib.contextmanager
def temporary_home(run_id: str) -> Iterator[Path]:
    """A new private folder where temporary files go, for the length of the block."""
    home = make_home(Path(tempfile.gettempdir()), run_id)
    try:
        yield home
    finally:
        shutil.rmtree(home, ignore_errors=True)


def parse_owner(text: str) -> Owner | None:
    """Read what `owner` wrote; None if it is anything else."""
    if not re.fullmatch(_OWNER, text, re.ASCII) or len(text) > 200:
        return None
    pid, tick, user, namespace, boot, machine = text.split(".")
    return Owner(int(pid), int(tick), int(user), namespace, boot, machine)


def parse_mark(name: str) -> Mark | None:
    """Read a name that `mark` or `make_home` made; None if it is anything else."""
    found = _MARK.fullmatch(name) if len(name) < 256 else None
    return None if found is None else _as_mark(found)


def marks_in(text: str) -> list[Mark]:
    """Every such name that stands in a text."""
    return [found for one in _MARK.finditer(text) if (found := _as_mark(one)) is not None]


def state(found: Owner, here: Owner | None = None) -> State:
    """Whether an owner still lives. Only a dead one's things may be taken away.

    Args:
        here: this process, if it was looked up before.
    """
    here = here or this_process()
    if found.user != here.user:
        return "elsewhere"
    if found.boot != here.boot:
        return "dead" if found.machine == here.machine else "elsewhere"
    if found.namespace != here.namespace:
        return "elsewhere"
    return "alive" if _lives(found) else "dead"


def _as_mark(found: re.Match[str]) -> Mark | None:
    parsed = parse_owner(found["owner"])
    return None if parsed is None else Mark(found[0], found["run"], parsed)


def _prefix(run_id: str) -> str:
    run = re.sub(r"[^A-Za-z0-9_.-]", "_", run_id)[:40] or "run"
    return f"planloop-{run}-{owner()}-"


def _lives(found: Owner) -> bool:
    if found.tick == 0:
        return _exists(found.pid)
    started = _started(found.pid)
    return started is not None and started == (found.tick, True)


def _started(pid: int) -> tuple[int, bool] | None:
    """When a process started, and whether it still can do anything; None if there is none."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    over = fields[0] in "ZX" and int(fields[17]) <= 1
    return int(fields[19]), not over


def _exists(pid: int) -> bool:
    """Where there is no `/proc`: a process that may be another one by now counts as alive."""
    if sys.platform == "win32":  # the question itself would end it
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def _user() -> int:
    return os.geteuid() if hasattr(os, "geteuid") else 0


def _namespace() -> str:
    try:
        found = re.search(r"\d+", os.readlink("/proc/self/ns/pid"))
    except OSError:
        return _UNKNOWN
    return f"{int(found[0]):x}" if found else _UNKNOWN


def _boot() -> str:
    text = _text("/proc/sys/kernel/random/boot_id").replace("-", "")
    return text[:8] if re.fullmatch("[0-9a-f]{32}", text) else _UNKNOWN


def _machine() -> str:
    """An installation; its name counts, for machines are copied with their ids."""
    import platform

    known = f"{_text('/etc/machine-id')}\0{platform.node()}"
    return hashlib.blake2s(known.encode(), digest_size=4).hexdigest()


def _text(path: str) -> str:
    try:
        return Path(path).read_text("ascii", "replace").strip()
    except OSError:
        return ""
