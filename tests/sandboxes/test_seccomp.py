"""The table of refused system calls: as a program, as docker's profile, and from inside."""

from __future__ import annotations

import errno
import json
import os
import platform
import re
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planloop.observation import Status
from planloop.sandbox import Command, Sandbox
from planloop.sandboxes.seccomp import REFUSALS, docker_profile, filter_program
from planloop.sandboxes.syscalls import LAST, numbers, ordinary_names

X86_64, I386, AARCH64 = 0xC000003E, 0x40000003, 0xC00000B7
ALLOW, KILL = 0x7FFF0000, 0x80000000
TIOCSTI, TIOCLINUX, TIOCSETD, TIOCGWINSZ = 0x5412, 0x541C, 0x5423, 0x5413
REFUSED_OF_IOCTL = (TIOCSTI, TIOCLINUX, TIOCSETD)
SCTP, DCCP, UDPLITE, MPTCP = 132, 33, 136, 262
F_SETLEASE, F_NOTIFY = 1024, 1026
HIGH = 1 << 32

on_x86_64 = pytest.mark.skipif(platform.machine() != "x86_64", reason="numbers of x86_64")

BAD = (1,) * 6
"""Pointers that lead nowhere: without a filter, most calls would answer EFAULT or the like."""
ARGUMENTS: dict[str, list[tuple[int, ...]]] = {
    "clone": [(0x10000000 | 17, 0, 0, 0, 0), (0x00020000 | 17, 0, 0, 0, 0)],
    "ptrace": [(0, 0, 0, 0)],
    "unshare": [(0,), (0x10000000,)],
    "reboot": [(1, 1, 1, 1)],
    "prlimit64": [(1, 7, 0, 0)],
    "sched_setaffinity": [(1, 8, 1)],
    "sched_setattr": [(1, 1, 0)],
    "sched_setparam": [(1, 1)],
    "sched_setscheduler": [(1, 0, 1)],
    "setpriority": [(0, 1, 5), (2, 0, 5)],
    "ioprio_set": [(1, 1, 0), (3, 0, 0)],
    "ioctl": [(0, one, 1) for one in (*REFUSED_OF_IOCTL, HIGH | TIOCSTI)],
    "fcntl": [(0, F_SETLEASE, 1), (0, F_NOTIFY, 1), (0, HIGH | F_SETLEASE, 1)],
    "socket": [
        *((40, 1, 0), (17, 3, 0), (38, 5, 0), (16, 3, 12), (16, 3, 16), (31, 1, 0)),
        *((2, 1, SCTP), (10, 5, SCTP), (2, 6, DCCP), (2, 2, UDPLITE), (2, 1, MPTCP)),
        *((2, 3, 1), (10, 3, 255), (2, 2, 1), (2, 1, HIGH | MPTCP)),
    ],
    "socketpair": [(2, 1, 0, 1), (30, 1, 0, 1)],
    "shmget": [(0, 4096, 0o1600), (0, HIGH, 0o1600)],
    "semget": [(0, 4, 0o1600)],
    "msgget": [(0, 0o1600)],
    "personality": [(0x0040000,), (0x0400000,)],
}
"""Where other arguments than bad pointers tell more: each of these must be refused."""

PROBE = """
import ctypes, json, os, sys
libc = ctypes.CDLL(None, use_errno=True)
found = {}
for name, number, arguments in json.load(sys.stdin):
    pid = os.fork()
    if pid == 0:
        ctypes.set_errno(0)
        result = libc.syscall(ctypes.c_long(number), *(ctypes.c_long(one) for one in arguments))
        os._exit(ctypes.get_errno() if result == -1 else 0)
    status = os.waitpid(pid, 0)[1]
    found.setdefault(name, []).append(os.WEXITSTATUS(status) if os.WIFEXITED(status) else -status)
print(json.dumps(found))
"""

FOREIGN = """
import ctypes, mmap
code = bytes.fromhex("b814000000cd80c3")  # getpid, as i386 numbers it
page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
page.write(code)
address = ctypes.addressof(ctypes.c_char.from_buffer(page))
print("answered", ctypes.CFUNCTYPE(ctypes.c_int)(address)())
"""

USUAL = """
import ctypes, fcntl, multiprocessing, os, pty, resource, socket, struct, subprocess, termios
import threading
print([name for _, name in socket.if_nameindex()])
print(socket.getaddrinfo("localhost", 80, type=socket.SOCK_STREAM)[0][4])
resource.setrlimit(resource.RLIMIT_NOFILE, (512, 512))
os.nice(1)
os.sched_setaffinity(0, os.sched_getaffinity(0))
os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
socket.socketpair()
master, slave = pty.openpty()
fcntl.ioctl(master, termios.TIOCGWINSZ, b"0" * 8)
threading.Thread(target=print, args=("thread",)).start()
print(multiprocessing.get_context("fork").Pool(2).map(abs, [-1, -2]))
print(subprocess.run(["echo", "child"], capture_output=True, check=True).stdout)
print(ctypes.CDLL(None).personality(0xffffffff))
"""


def evaluated(
    program: bytes, number: int, arguments: tuple[int, ...], machine: int = X86_64
) -> int:
    """What the kernel would decide: the few instructions that such a program is made of."""
    data = struct.pack("<IIQ6Q", number, machine, 0, *(*arguments, *BAD)[:6])
    steps = [struct.unpack_from("=HBBI", program, at) for at in range(0, len(program), 8)]
    place = value = 0
    while True:
        code, then, otherwise, operand = map(int, steps[place])
        place += 1
        if code == 0x20:
            (value,) = struct.unpack_from("<I", data, operand)
        elif code == 0x54:
            value &= operand
        elif code == 0x15:
            place += then if value == operand else otherwise
        elif code == 0x25:
            place += then if value > operand else otherwise
        else:
            assert code == 0x06
            return operand


def program(machine: str = "x86_64") -> bytes:
    made = filter_program(machine)
    assert made is not None
    return made


def refused(error: int) -> int:
    return 0x00050000 | error


def rows() -> list[tuple[str, int]]:
    return [(name, refusal.error) for refusal in REFUSALS for name in refusal.names]


@pytest.mark.parametrize(("machine", "code"), [("x86_64", X86_64), ("aarch64", AARCH64)])
def test_every_row_is_refused_with_its_errno(machine: str, code: int) -> None:
    known = numbers(machine)
    for name, error in rows():
        for arguments in ARGUMENTS.get(name, [BAD]):
            if name in known:
                decided = evaluated(program(machine), known[name], arguments, code)
                assert decided == refused(error), name


@given(st.integers(0, LAST), st.tuples(*[st.integers(0, 2**64 - 1)] * 6))
def test_calls_without_a_row_are_allowed_whatever_they_ask(
    number: int, arguments: tuple[int, ...]
) -> None:
    if number not in numbers("x86_64").values():
        assert evaluated(program(), number, arguments) == ALLOW


@given(
    st.integers(0, 2**64 - 1)
    | st.integers(0x5400, 0x54FF)
    | st.sampled_from([*REFUSED_OF_IOCTL, HIGH | TIOCLINUX])
)
def test_only_what_gives_terminals_away_is_refused_of_ioctl(request: int) -> None:
    typing = request & 0xFFFFFFFF in REFUSED_OF_IOCTL
    decided = evaluated(program(), numbers("x86_64")["ioctl"], (0, request, 0))
    assert decided == (refused(errno.EPERM) if typing else ALLOW)


@given(st.integers(0, 2**32 - 1))
def test_a_clone_is_allowed_if_it_makes_no_namespace(flags: int) -> None:
    decided = evaluated(program(), numbers("x86_64")["clone"], (flags,))
    assert decided == (refused(errno.EPERM) if flags & 0x7E020000 else ALLOW)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("socket", (1, 1, 0)),
        ("socket", (2, 1, 0)),
        ("socket", (10, 2, 17)),
        ("socket", (2, 1 | 0o2000000, 6)),
        ("socket", (10, 2 | 0o4000, 0)),
        ("socket", (16, 3, 0)),
        ("socketpair", (1, 1, 0)),
        ("prlimit64", (0, 7)),
        ("setpriority", (0, 0, 5)),
        ("sched_setaffinity", (0, 8)),
        ("ioprio_set", (1, 0, 0)),
        ("personality", (0xFFFFFFFF,)),
        ("shmget", (0, 4095, 0o1600)),
        ("semget", (0, 3, 0o1600)),
        ("ioctl", (0, TIOCGWINSZ, 0)),
        ("fcntl", (0, 2, 1)),
    ],
)
def test_the_usual_forms_are_allowed(name: str, arguments: tuple[int, ...]) -> None:
    assert evaluated(program(), numbers("x86_64")[name], arguments) == ALLOW


def test_newer_calls_x32_and_other_architectures_are_refused() -> None:
    getpid = 39
    assert evaluated(program(), LAST + 1, ()) == refused(errno.ENOSYS)
    assert evaluated(program(), 0x40000000 | getpid, ()) == refused(errno.ENOSYS)
    assert evaluated(program(), getpid, (), I386) == KILL
    assert evaluated(program("aarch64"), 172, (), X86_64) == KILL


def test_unknown_machines_get_no_filter() -> None:
    assert filter_program("riscv64") is None


def test_numbers_are_those_of_this_machine() -> None:
    header = Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h")
    if not header.is_file():
        pytest.skip("no headers here")
    known = {
        name: int(number)
        for name, number in re.findall(r"#define __NR_(\w+) (\d+)", header.read_text())
    }
    assert known.items() >= {
        (name, number) for name, number in numbers("x86_64").items() if name in known
    }
    left_over = set(known) - ordinary_names() - set(numbers("x86_64"))
    assert left_over <= {
        *("afs_syscall", "create_module", "epoll_ctl_old", "epoll_wait_old", "get_kernel_syms"),
        *("getpmsg", "putpmsg", "query_module", "security", "tuxcall", "vserver"),
    }


def test_dockers_profile_holds_the_same_table() -> None:
    profile = json.loads(docker_profile())
    assert profile["defaultAction"] == "SCMP_ACT_ERRNO"
    plain = {
        name
        for rule in profile["syscalls"]
        if rule["action"] == "SCMP_ACT_ALLOW" and "args" not in rule
        for name in rule["names"]
    }
    conditional = {name for rule in profile["syscalls"] if "args" in rule for name in rule["names"]}
    silent = {
        name: rule["errnoRet"]
        for rule in profile["syscalls"]
        if rule["action"] == "SCMP_ACT_ERRNO"
        for name in rule["names"]
    }
    for refusal in REFUSALS:
        for name in refusal.names:
            assert name not in plain
            assert (name in conditional) == bool(refusal.allowed)
            assert silent.get(name, errno.EPERM) == refusal.error
    assert {"read", "execve", "openat", "futex"} <= plain


@pytest.mark.anyio
@on_x86_64
async def test_calls_see_every_row_of_the_table(sandbox: Sandbox, kind: str) -> None:
    known = numbers("x86_64")
    asked = [
        (name, known[name], arguments)
        for name, _ in rows()
        for arguments in ARGUMENTS.get(name, [BAD])
    ]
    done = await sandbox.run(
        Command(argv=("python3", "-c", PROBE), stdin=json.dumps(asked).encode())
    )
    assert done.status is Status.OK, done.stderr.text
    found = json.loads(done.stdout.text)
    wrong = {
        name: found[name]
        for name, error in rows()
        if set(found[name]) != {error}
        and not (kind == "docker" and _unknown(known[name], found[name]))
    }
    assert not wrong


def _unknown(number: int, errors: list[int]) -> bool:
    """Whether an engine's library, which is older than a call, has it answered as kernels do."""
    return number > 450 and set(errors) == {errno.ENOSYS}


@pytest.mark.anyio
@on_x86_64
async def test_calls_of_another_architecture_end_their_process(sandbox: Sandbox) -> None:
    done = await sandbox.run(Command(argv=("python3", "-c", FOREIGN)))
    assert (done.status, done.signal) == (Status.KILLED, 31)
    assert "answered" not in done.stdout.text


@pytest.mark.anyio
async def test_usual_programs_notice_nothing(sandbox: Sandbox) -> None:
    done = await sandbox.run(Command(argv=("python3", "-c", USUAL)))
    assert done.status is Status.OK, done.stderr.text
    lines = done.stdout.text.splitlines()
    assert lines[0] == "['lo']"
    assert lines[1:] == ["('127.0.0.1', 80)", "thread", "[1, 2]", "b'child\\n'", "0"], os.linesep
