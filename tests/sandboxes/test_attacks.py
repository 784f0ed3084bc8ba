"""Hostile programs in every kind and mode of sandbox, each with what must hold afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pytest

from planloop.observation import Status

from .attacks import Attack, by_memory, died, exited, is_, launch, never_ok, noted, timed_out
from .houses import Houses, in_modes

OK, FAILED, TIMEOUT, OOM, KILLED = (
    Status.OK,
    Status.FAILED,
    Status.TIMEOUT,
    Status.OOM,
    Status.KILLED,
)
SHORT_S = 1.0
_bounded = is_(OK, says="bounded", silent_on="unbounded")
_ended = is_(TIMEOUT, FAILED)
_refused_or_oom = is_(OK, FAILED, OOM, silent_on="unbounded")
"""Memory of the kernel's on behalf of a process: refused by its limits or by the group's."""


def _processes() -> Iterator[Attack]:
    attack = partial(Attack, "processes.py", timeout_s=SHORT_S)
    counted = is_(OK, says=r"^([0-9]|[1-5][0-9]|6[0-4]) refused")
    yield Attack("processes.py", ("count",), counted, quick=True)
    yield attack(("fork",), _ended)
    yield attack(("fork_deaf",), _ended, quick=True)
    yield attack(("relay",), is_(OK, TIMEOUT, FAILED))
    yield attack(("guards",), _ended)
    yield attack(("spawn",), _ended)
    yield attack(("zombies",), _ended)
    yield attack(("threads",), timed_out(r"refused after ([0-9]|[1-5][0-9]|6[0-4])\b"))
    yield attack(("stop_all",), timed_out("stopping"))
    yield attack(("stop_self",), timed_out("before"))
    yield attack(("deaf_tree",), timed_out("started"), quick=True)
    yield attack(("spin",), timed_out())
    yield attack(("drip",), timed_out(r"\.\.\.\."))
    yield attack(("daemon",), noted(OK, "1 background process was ended"), quick=True)


def _memory() -> Iterator[Attack]:
    attack = partial(Attack, "memory.py")
    per_process = is_(FAILED, says="MemoryError", silent_on="unbounded")
    yield attack(("heap",), by_memory(is_(OOM), per_process), quick=True)
    yield attack(
        ("child",), by_memory(noted(OK, "oom_kills=1"), is_(OK, says="child [1-9]")), quick=True
    )
    yield attack(("grandchildren",), by_memory(noted(OK, "oom_kills="), is_(OK)))
    yield attack(("mapped",), by_memory(is_(OOM), is_(FAILED, silent_on="unbounded")))
    yield attack(("anonymous_files", "200"), by_memory(is_(OOM, FAILED), is_(OK, FAILED)))
    yield attack(("shared_segments", "400"), by_memory(is_(OOM, OK), is_(OK, FAILED)))
    yield attack(("messages", "200"), by_memory(is_(OOM, OK), is_(OK, FAILED)))
    yield attack(("pipes", "200"), _refused_or_oom)
    yield attack(("sockets", "20"), by_memory(is_(OOM, OK), is_(OK, FAILED)))
    yield attack(("scratch",), is_(OK, says="bounded", silent_on="unbounded"), quick=True)


def _disk() -> Iterator[Attack]:
    attack = partial(Attack, "disk.py")
    for case in ("fill", "inodes", "folders", "links", "long_names", "deleted", "attributes"):
        yield attack((case, "."), _bounded, quick=case in ("fill", "inodes"))
        yield attack((case, "/tmp"), _bounded)
    yield attack(("fill", "/dev/shm"), _bounded)
    yield attack(("inodes", "/dev/shm"), _bounded)
    yield attack(("sparse", "."), is_(OK, FAILED, says="sparse|File too large"), quick=True)
    yield attack(("deep", "."), _bounded)


def _exits() -> Iterator[Attack]:
    attack = partial(Attack, "exits.py")
    for code in (0, 1, 2, 124, 125, 126, 127, 128, 137, 143, 255):
        yield attack((str(code),), exited(code))
    for case, code in (("message", 1), ("256", 0), ("none", 0), ("generator", 1), ("odd", 1)):
        yield attack((case,), exited(code))
    yield attack(("interrupt",), died(2))
    yield attack(("at_once",), exited(0))
    yield attack(("killed",), died(9), quick=True)
    yield attack(("abort",), died(6))
    yield attack(("stack",), is_(FAILED, KILLED, OOM))


def _first_process() -> Iterator[Attack]:
    attack = partial(Attack, "first_process.py", timeout_s=3.0)
    for case in ("descriptors", "own_descriptors", "trace", "memory", "limits", "spare_self"):
        yield attack((case,), never_ok(), quick=True)
    yield attack(("signals",), never_ok(), quick=True)
    for case in ("kill_first", "kill_all", "kill_watcher", "stop_watcher", "stop_all"):
        yield attack((case,), never_ok(lost=True), quick=case in ("kill_first", "kill_watcher"))
    yield attack(("busy",), never_ok())


ATTACKS = (*_processes(), *_memory(), *_disk(), *_exits(), *_first_process())


@pytest.mark.parametrize(("mode", "attack"), in_modes(ATTACKS))
def test_an_attack_ends_as_it_should(houses: Houses, mode: str, attack: Attack) -> None:
    launch(houses[mode], attack)
