"""Which system calls sandboxes refuse, and why: one table for bubblewrap's filter and docker's.

Namespaces, capabilities and users are the walls; this closes doors of the kernel behind which its
bugs are found, and the few by which calls could reach the first process where they share its user.
"""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import struct
from typing import Any

from planloop.sandboxes.syscalls import LAST, numbers, ordinary_names

_LOW = 0xFFFFFFFF
"""The kernel looks only at the low half of most arguments; so does a test with this mask."""
_WHOLE = 0xFFFFFFFFFFFFFFFF
_LOW_BITS = [(1 << bits) - 1 for bits in range(32)]


@dataclasses.dataclass(frozen=True)
class Test:
    """Whether an argument, masked, has a value."""

    argument: int
    value: int
    mask: int = _LOW


@dataclasses.dataclass(frozen=True)
class Refusal:
    """System calls that fail with `error`, unless one of `allowed` holds in all its tests."""

    names: tuple[str, ...]
    reason: str
    error: int = errno.EPERM
    allowed: tuple[tuple[Test, ...], ...] = ()


def _one_of(argument: int, *values: int) -> tuple[tuple[Test, ...], ...]:
    return tuple((Test(argument, value),) for value in values)


def _none_of(argument: int, *values: int) -> tuple[tuple[Test, ...], ...]:
    """Tests of which one holds if the argument is none of the values: by bits, as a filter of
    docker's can only compare for equality under a mask.
    """
    heads = {(_LOW & ~low, value & ~low) for value in values for low in _LOW_BITS}
    tests = [
        Test(argument, head ^ (mask & -mask), mask)
        for mask, head in sorted(heads)
        if (mask, head ^ (mask & -mask)) not in heads
    ]
    return tuple((test,) for test in tests)


def _families(*families: int) -> tuple[tuple[Test, ...], ...]:
    """Tests of which one holds for a socket of TCP or UDP, by its name or as what is usual."""
    return tuple(
        (Test(0, family), Test(1, kind, _KIND), Test(2, protocol))
        for family in families
        for kind, own in ((_STREAM, _TCP), (_DATAGRAM, _UDP))
        for protocol in (0, own)
    )


_NEW_NAMESPACES = 0x7E020000
_TIOCSTI, _TIOCLINUX, _TIOCSETD = 0x5412, 0x541C, 0x5423
_F_SETLEASE, _F_NOTIFY = 1024, 1026
_UNIX, _INET, _INET6, _NETLINK, _ROUTE = 1, 2, 10, 16, 0
_STREAM, _DATAGRAM, _KIND, _TCP, _UDP = 1, 2, 0xF, 6, 17
_PRIO_PROCESS, _IOPRIO_PROCESS = 0, 1

REFUSALS = (
    Refusal(
        ("unshare", "setns"),
        "new namespaces give capabilities over much of the kernel",
    ),
    Refusal(
        ("clone",),
        "as unshare; threads and plain processes are made without these flags",
        allowed=((Test(0, 0, _NEW_NAMESPACES),),),
    ),
    Refusal(
        ("clone3",),
        "its flags lie in memory, out of a filter's sight; libraries fall back to clone",
        error=errno.ENOSYS,
    ),
    Refusal(
        (
            *("mount", "umount2", "pivot_root", "chroot", "move_mount", "open_tree"),
            *("open_tree_attr", "fsopen", "fsconfig", "fsmount", "fspick", "mount_setattr"),
            *("swapon", "swapoff", "quotactl", "quotactl_fd"),
        ),
        "file systems are laid out before the first call",
    ),
    Refusal(
        ("open_by_handle_at", "name_to_handle_at"),
        "file handles go round the folders that a sandbox sees",
    ),
    Refusal(
        ("add_key", "request_key", "keyctl"),
        "keyrings are shared by all of a user's namespaces",
    ),
    Refusal(
        ("bpf", "perf_event_open", "userfaultfd", "fanotify_init", "lookup_dcookie"),
        "tracing and page faults in user space: tools of attacks on the kernel",
    ),
    Refusal(
        ("io_uring_setup", "io_uring_enter", "io_uring_register"),
        "runs system calls that no filter sees; libraries fall back",
        error=errno.ENOSYS,
    ),
    Refusal(
        (
            *("ptrace", "process_vm_readv", "process_vm_writev", "pidfd_getfd", "kcmp"),
            *("process_madvise", "process_mrelease", "migrate_pages", "move_pages"),
        ),
        "no process takes over another, the sandbox's own least of all",
    ),
    Refusal(
        ("prlimit64", "sched_setaffinity", "sched_setattr", "sched_setparam", "sched_setscheduler"),
        "only for the caller itself: the first process must not be slowed or limited",
        allowed=_one_of(0, 0),
    ),
    Refusal(
        ("setpriority",),
        "only for the caller itself",
        allowed=((Test(0, _PRIO_PROCESS), Test(1, 0)),),
    ),
    Refusal(
        ("ioprio_set",),
        "only for the caller itself",
        allowed=((Test(0, _IOPRIO_PROCESS), Test(1, 0)),),
    ),
    Refusal(
        ("ioctl",),
        "typing into a terminal that someone else reads (TIOCSTI, TIOCLINUX), and drivers that "
        "a terminal can be given to (TIOCSETD)",
        allowed=_none_of(1, _TIOCSTI, _TIOCLINUX, _TIOCSETD),
    ),
    Refusal(
        ("fcntl",),
        "leases on files: the host, which looks at them for a snapshot, could not open them; and "
        "the old watching of folders, their neighbour",
        allowed=_none_of(1, _F_SETLEASE, _F_NOTIFY),
    ),
    Refusal(
        ("socket",),
        "other families reach past the network namespace (vsock) or into rarely used code, as do "
        "other protocols (SCTP, DCCP, MPTCP); of netlink only the list of interfaces, which "
        "getifaddrs reads and nobody here may change",
        allowed=(
            *_one_of(0, _UNIX),
            *_families(_INET, _INET6),
            (Test(0, _NETLINK), Test(2, _ROUTE)),
        ),
    ),
    Refusal(
        ("socketpair",),
        "as socket",
        allowed=_one_of(0, _UNIX),
    ),
    Refusal(
        ("msgget",),
        "queues that outlive their maker: the next call would die of the memory that they hold",
        error=errno.ENOSYS,
    ),
    Refusal(
        ("shmget",),
        "as queues; of segments below 4 kB, with which databases lock their files, all that there "
        "may be take little",
        allowed=((Test(1, 0, ~0xFFF & _WHOLE),),),
    ),
    Refusal(
        ("semget",),
        "as queues; of sets below 4, all that there may be take little: 32,000 of them, 16 MB",
        allowed=((Test(1, 0, ~0x3 & _LOW),),),
    ),
    Refusal(
        ("personality",),
        "beyond the usual ones, old ways that weaken memory protection",
        allowed=_one_of(0, 0x0, 0x8, 0x20000, 0x20008, 0xFFFFFFFF),
    ),
    Refusal(
        (
            *("kexec_load", "kexec_file_load", "reboot", "init_module", "finit_module"),
            *("delete_module", "acct", "syslog", "vhangup", "iopl", "ioperm", "modify_ldt"),
            *("sethostname", "setdomainname", "settimeofday", "clock_settime", "adjtimex"),
            *("clock_adjtime", "lsm_set_self_attr"),
        ),
        "the machine's own matters",
    ),
    Refusal(
        ("uselib", "ustat", "sysfs", "_sysctl", "nfsservctl"),
        "left over from old kernels",
        error=errno.ENOSYS,
    ),
)


# ---------------------------------------------------------------- bubblewrap: a program

_ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_LOAD, _AND, _EQUAL, _GREATER, _RETURN = 0x20, 0x54, 0x15, 0x25, 0x06
_ALLOW, _ERRNO, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16


def filter_program(machine: str | None = None) -> bytes | None:
    """The filter for bwrap's `--add-seccomp-fd`, or None for a kind of machine without one.

    Calls of another architecture (i386) end the process; numbers that the table does not know
    (newer ones, x32) fail with ENOSYS, as on an older kernel.

    Args:
        machine: as `uname -m` has it; None for this one.
    """
    machine = machine or os.uname().machine
    if machine not in _ARCHITECTURES:
        return None
    program = [
        _step(_LOAD, _ARCHITECTURE),
        _step(_EQUAL, _ARCHITECTURES[machine], then=1),
        _step(_RETURN, _KILL),
        _step(_LOAD, _NUMBER),
        _step(_GREATER, LAST, otherwise=1),
        _step(_RETURN, _ERRNO | errno.ENOSYS),
    ]
    known = numbers(machine)
    for refusal in REFUSALS:
        for name in refusal.names:
            if name in known:
                program += _refusing(known[name], refusal)
    return b"".join([*program, _step(_RETURN, _ALLOW)])


def _refusing(number: int, refusal: Refusal) -> list[bytes]:
    block = [step for tests in refusal.allowed for step in _allowing(tests)]
    block.append(_step(_RETURN, _ERRNO | refusal.error))
    return [_step(_EQUAL, number, otherwise=len(block)), *block]


def _allowing(tests: tuple[Test, ...]) -> list[bytes]:
    block: list[bytes] = [_step(_RETURN, _ALLOW)]
    for place, mask, value in (half for test in reversed(tests) for half in _halves(test)):
        block = [
            _step(_LOAD, place),
            _step(_AND, mask),
            _step(_EQUAL, value, otherwise=len(block)),
            *block,
        ]
    return block


def _halves(test: Test) -> list[tuple[int, int, int]]:
    """Where the program finds what a test looks at, 32 bits at a time, with mask and value."""
    place = _ARGUMENTS + 8 * test.argument
    halves = [(place, test.mask & _LOW, test.value & _LOW)]
    return (
        halves if test.mask <= _LOW else [*halves, (place + 4, test.mask >> 32, test.value >> 32)]
    )


def _step(code: int, operand: int, *, then: int = 0, otherwise: int = 0) -> bytes:
    """One instruction of the kernel's packet filter; jumps count instructions to skip."""
    return struct.pack("=HBBI", code, then, otherwise, operand)


# ---------------------------------------------------------------- docker: a profile


def docker_profile() -> str:
    """The same table for `security_opt`, as JSON.

    What it does not name is refused; engines answer ENOSYS for system calls newer than all of it.
    """
    refused = {name for refusal in REFUSALS for name in refusal.names}
    rules = [_rule(sorted(ordinary_names() - refused), "SCMP_ACT_ALLOW")]
    for refusal in REFUSALS:
        for tests in refusal.allowed:
            arguments = [_argument(test) for test in tests]
            rules.append({**_rule(refusal.names, "SCMP_ACT_ALLOW"), "args": arguments})
        if refusal.error != errno.EPERM:
            rules.append({**_rule(refusal.names, "SCMP_ACT_ERRNO"), "errnoRet": refusal.error})
    architectures = [
        {"architecture": f"SCMP_ARCH_{name.upper()}", "subArchitectures": []}
        for name in _ARCHITECTURES
    ]
    return json.dumps(
        {
            "defaultAction": "SCMP_ACT_ERRNO",
            "defaultErrnoRet": errno.EPERM,
            "archMap": architectures,
            "syscalls": rules,
        }
    )


def _rule(names: list[str] | tuple[str, ...], action: str) -> dict[str, Any]:
    return {"names": list(names), "action": action}


def _argument(test: Test) -> dict[str, Any]:
    return {
        "index": test.argument,
        "value": test.mask,
        "valueTwo": test.value,
        "op": "SCMP_CMP_MASKED_EQ",
    }
