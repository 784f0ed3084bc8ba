"""What the host sees of a running sandbox, in every kind and mode, and what its filter refuses."""

from __future__ import annotations

import json

from planloop.sandbox import Sandbox
from planloop.sandboxes.seccomp import docker_profile, filter_program
from planloop.sandboxes.syscalls import numbers

from .attacks import assert_well
from .houses import Houses
from .modes import PLAIN_USER, TIGHT, Mode
from .outside import Outside, outside
from .test_attacks_posture import by_mode
from .test_seccomp import ARGUMENTS, BAD, evaluated, refused
from .walls import REFUSED_CALLS

MEMORY = str(TIGHT.memory_bytes + TIGHT.disk_bytes)


@by_mode
def test_processes_and_settings_seen_from_outside(houses: Houses, mode: Mode) -> None:
    after = houses[mode.name].run(outside)
    assert_well(after)
    seen: Outside = after.result
    assert len(seen.processes) >= 4, "the command, its shell, the keeper, the first process"
    assert not any(one.tells_canary for one in seen.processes)
    assert all(one.no_new_privileges for one in seen.processes)
    command, keeper = seen.processes[0], seen.processes[2]
    assert (command.badness, command.groups, command.stdin) == (500, [], "/dev/null")
    assert command.session != keeper.session, "each call has a session of its own"
    assert seen.own_session not in {one.session for one in seen.processes}
    _check_users(
        mode, {one.user for one in seen.processes[:2]}, {one.user for one in seen.processes}
    )
    if mode.kind == "docker":
        _check_container(seen)
    if mode.cgroup:
        _check_limits(mode, seen.limits)


def _check_users(mode: Mode, calls: set[int], everyone: set[int]) -> None:
    if mode.kind == "docker":
        assert calls == {65534}
        assert everyone == {0, 65534}
    elif mode.plain:
        assert everyone == {PLAIN_USER}
    else:
        (user,) = everyone
        assert user > 1_000_000, "a user of its own"


def _check_limits(mode: Mode, limits: dict[str, str]) -> None:
    processes = TIGHT.processes + (mode.kind == "bubblewrap")
    assert limits.pop("pids.max") == str(processes)
    assert limits.pop("memory.swap.max", "0") == "0"
    waiting = limits.pop("memory.kmem.tcp.limit_in_bytes", None)
    assert waiting in (None, str(TIGHT.memory_bytes // 4))
    assert limits
    assert set(limits.values()) == {MEMORY}


def _check_container(seen: Outside) -> None:
    wanted = {
        "AutoRemove": True,
        "CapDrop": ["ALL"],
        "CapAdd": ["SETUID", "SETGID", "KILL"],
        "CgroupnsMode": "private",
        "IpcMode": "private",
        "LogConfig": {"Type": "none", "Config": {}},
        "NetworkMode": "none",
        "Privileged": False,
        "ReadonlyRootfs": True,
        "Memory": int(MEMORY),
        "MemorySwap": int(MEMORY),
        "PidsLimit": TIGHT.processes,
        "Healthcheck": {"Test": ["NONE"]},
    }
    assert {name: seen.container[name] for name in wanted} == wanted
    assert "no-new-privileges" in seen.container["SecurityOpt"]
    limits = {one["Name"]: (one["Soft"], one["Hard"]) for one in seen.container["Ulimits"]}
    assert limits.get("core") == (0, 0)
    assert "noexec" in seen.container["Tmpfs"]["/dev/shm"].split(",")
    assert not seen.container["Devices"]
    assert not seen.container["Binds"]


async def open_doors(sandbox: Sandbox) -> list[str]:
    """The scenario: listed system calls that the filter, or docker's profile, lets through."""
    program, known = filter_program("x86_64"), numbers("x86_64")
    assert program is not None
    rules = json.loads(docker_profile())["syscalls"]
    plain = {
        name
        for rule in rules
        if rule["action"] == "SCMP_ACT_ALLOW" and "args" not in rule
        for name in rule["names"]
    }
    return [
        name
        for name, error in REFUSED_CALLS.items()
        if name in plain
        or name not in known
        or any(
            evaluated(program, known[name], arguments) != refused(error)
            for arguments in ARGUMENTS.get(name, [BAD])
        )
    ]


@by_mode
def test_the_filter_refuses_all_that_is_listed(houses: Houses, mode: Mode) -> None:
    assert houses[mode.name].run(open_doors).result == []
