"""What a hostile program sees and may do, in every kind and mode: exactly this, and no more."""

from __future__ import annotations

import contextlib
import json
import secrets
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from planloop.observation import Status

from .attacks import assert_well, attacked
from .houses import Houses
from .modes import MODES, TIGHT, After, Mode

EVERYWHERE: dict[str, Any] = {
    "groups": [],
    **dict.fromkeys(("CapInh", "CapPrm", "CapEff", "CapAmb"), 0),
    "NoNewPrivs": 1,
    "Seccomp": 2,
    **{
        f"unshare {name}": "EPERM"
        for name in ("user", "mount", "network", "pid", "cgroup", "ipc", "uts", "time")
    },
    **dict.fromkeys(("clone3", "io_uring", "unknown call"), "ENOSYS"),
    **dict.fromkeys(("mount", "pivot_root", "chroot", "quota", "swapon", "handles"), "EPERM"),
    **dict.fromkeys(("keyctl", "add_key", "bpf", "userfaultfd", "perf", "ptrace"), "EPERM"),
    **dict.fromkeys(("reboot", "module", "kexec", "syslog", "acct", "settime"), "EPERM"),
    **dict.fromkeys(("hostname", "typing", "raw", "packet", "vsock", "alg"), "EPERM"),
    "netlink audit": "EPERM",
    "unix": "open",
    "interfaces": ["lo"],
    "mknod": "EPERM",
    "mkfifo": "open",
    **{f"write {path}": "EROFS" for path in ("/planloop", "/usr/planloop", "/etc/planloop")},
    **dict.fromkeys(("write /run/planloop-x", "write /run/planloop/planloop"), "EROFS"),
    "host": "sandbox",
    "umask": 0o022,
    **{f"read /dev/{name}": "ENOENT" for name in ("mem", "kmsg", "vda")},
    **{f"read /proc/1/{name}": "EACCES" for name in ("mem", "environ", "maps")},
    "read /dev/tty": "ENXIO",
    "descriptors": [0, 1, 2],
    "environment": ["HOME", "LANG", "PATH", "PYTHONDONTWRITEBYTECODE", "TMPDIR"],
    "terminal": 0,
    "limit CORE": [0, 0],
}
BUBBLEWRAP: dict[str, Any] = {
    "uid": 1000,
    "gid": 1000,
    "CapBnd": 0,
    **dict.fromkeys(("setuid 0", "setuid other", "chown"), "EINVAL"),
    "write /dev/planloop": "EROFS",
    "write /proc/sys/kernel/core_pattern": "EACCES",
    "write /sys/fs/cgroup/planloop": "ENOENT",
    "processes": [1, 2],
    "not nosuid": [],
    "limit NPROC": [TIGHT.processes, TIGHT.processes],
}
DOCKER: dict[str, Any] = {
    "uid": 65534,
    "gid": 65534,
    "CapBnd": 0xE0,  # kill, setgid, setuid: the first process's own, out of reach of calls
    **dict.fromkeys(("setuid 0", "setuid other", "chown"), "EPERM"),
    "write /dev/planloop": "EACCES",
    "write /proc/sys/kernel/core_pattern": "EROFS",
    "write /sys/fs/cgroup/planloop": "EACCES",
    "own groups": ["/"],
    "limit NOFILE": [16_384, 16_384],
}
OWN_FOLDERS = {"/tmp", "/workspace", "/dev/shm"}
REFUSED = ("EACCES", "EPERM", "ENOENT", "EIO", "EROFS")
GONE = ("read /proc/kcore", "write /proc/sysrq-trigger")
"""Hidden, empty, or refused; this depends on the kernel and the engine."""
DEVICES = {
    *("core", "fd", "full", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin", "stdout"),
    *("tty", "urandom", "zero", "mqueue", "console"),
}
WRITABLE = {
    *("/tmp", "/workspace", "/dev", "/dev/shm", "/dev/pts", "/dev/mqueue", "/proc"),
    *(f"/dev/{name}" for name in ("full", "null", "random", "tty", "urandom", "zero", "console")),
}

by_mode = pytest.mark.parametrize(
    "mode",
    [
        pytest.param(
            mode, id=mode.name, marks=[pytest.mark.docker] if mode.kind == "docker" else []
        )
        for mode in MODES
    ],
)


def expected(mode: Mode) -> dict[str, Any]:
    """The exact answers of a mode's posture."""
    alone = {"limit AS": [TIGHT.memory_bytes] * 2 if not mode.cgroup else [-1, -1]}
    return EVERYWHERE | (DOCKER if mode.kind == "docker" else BUBBLEWRAP) | alone


def said(after: After) -> str:
    """What the one call said, which went well, as did all after it."""
    assert_well(after)
    assert after.result.status is Status.OK, after.result
    return str(after.result.stdout.text)


@by_mode
def test_the_posture_is_exactly_this(houses: Houses, mode: Mode) -> None:
    found = json.loads(said(houses[mode.name].run(attacked, "posture.py", (), 20.0)))
    wanted = expected(mode)
    assert {name: found[name] for name in wanted} == wanted
    assert all(found[name] in REFUSED for name in GONE), found
    assert set(found["devices"]) <= DEVICES
    hidden = {path for path in found["writable mounts"] if not path.startswith(("/proc/", "/sys/"))}
    assert hidden <= WRITABLE
    assert not OWN_FOLDERS & {*found["not nosuid"], *found["not nodev"]}
    assert len(found["processes"]) == 2, "its own keeper, and the first process"


@by_mode
def test_no_way_out_is_open_to_a_shell(houses: Houses, mode: Mode) -> None:
    assert said(houses[mode.name].run(attacked, "escapes.sh", (), 20.0)) == ""


@by_mode
def test_no_way_out_is_open_by_the_network(houses: Houses, mode: Mode) -> None:
    with _listeners() as (addresses, names):
        arguments = (*addresses, "--", *names)
        text = said(houses[mode.name].run(attacked, "network.py", arguments, 60.0))
    lines = text.splitlines()
    assert [line for line in lines if line.startswith("REACHED")] == []
    assert sum(line.startswith("refused tcp") for line in lines) == len(addresses)
    assert "interfaces lo" in lines
    assert not [name for name in names if f"unix @{name}" in text]


@contextlib.contextmanager
def _listeners() -> Iterator[tuple[list[str], list[str]]]:
    """Listeners of the host on every address that it has, and one by an abstract name."""
    name = f"planloop-test-{secrets.token_hex(4)}"
    with contextlib.ExitStack() as kept:
        addresses = []
        for host in {"127.0.0.1", *_addresses()}:
            listener = kept.enter_context(socket.create_server((host, 0)))
            addresses.append(f"{host}:{listener.getsockname()[1]}")
        abstract = kept.enter_context(socket.socket(socket.AF_UNIX))
        abstract.bind(f"\0{name}")
        abstract.listen()
        yield addresses, [name]


def _addresses() -> list[str]:
    """The engine's bridge and the way to the world, where there are such."""
    found = []
    for host, beyond in (("172.17.0.1", None), (None, "192.0.2.1")):
        with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
            one.bind((host, 0)) if host else one.connect((beyond, 9))
            found.append(one.getsockname()[0])
    return found
