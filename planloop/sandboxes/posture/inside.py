"""What the doctor's probe runs inside a sandbox: tries one thing, and says what happened.

Runs there alone, as `python3 -I -S - TOPIC SETTINGS` on Python 3.8 or later, this text on its
standard input. SETTINGS is a JSON object. It prints one JSON object of texts and numbers. Every
trial is bounded by itself: where nothing holds it, it ends all the same.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import json
import os
import platform
import signal
import socket
import sys
import time
from functools import partial

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

PIECE = 1 << 20
ALARM_S = 20


def tried(act: Callable[[], Any]) -> str:
    """`done`, or the name of the error that the kernel gave."""
    try:
        act()
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, "no answer")
    except Exception as error:
        return type(error).__name__
    return "done"


def apart(act: Callable[[], Any]) -> str:
    """The same in a child process: what it changes does not stay, what kills it is seen."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, tried(act).encode())
        os._exit(0)
    os.close(writing)
    said = os.read(reading, 200).decode()
    os.close(reading)
    os.waitpid(child, 0)
    return said or "killed"


# ---------------------------------------------------------------- network


def network(settings: dict[str, Any]) -> dict[str, Any]:
    with open("/proc/net/dev") as file:
        interfaces = sorted(line.split(":")[0].strip() for line in file if ":" in line)
    return {
        "interfaces": interfaces,
        # Addresses that are kept free for documentation: nobody is disturbed.
        "outside": tried(lambda: connect(socket.AF_INET, ("192.0.2.1", 80))),
        "outside by IPv6": tried(lambda: connect(socket.AF_INET6, ("2001:db8::1", 80))),
        "datagrams": tried(datagram),
        "loopback of the host": tried(
            lambda: connect(socket.AF_INET, ("127.0.0.1", settings["port"]))
        ),
        "unix socket of the host": tried(
            lambda: connect(socket.AF_UNIX, "\0" + settings["abstract"])
        ),
    }


def connect(family: int, address: Any) -> None:
    with socket.socket(family) as door:
        door.settimeout(1.0)
        door.connect(address)


def datagram() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as door:
        door.sendto(b"?", ("192.0.2.1", 53))


# ---------------------------------------------------------------- memory, processes, disk


def memory(settings: dict[str, Any]) -> dict[str, Any]:
    """Have programs hold memory, all at the same time; says how each came out."""
    children = []
    for _ in range(settings["programs"]):
        child = os.fork()
        if child == 0:
            hold(settings["bytes"])
        children.append(child)
    endings = [os.waitpid(child, 0)[1] for child in children]
    return {
        "held": sum(one == 0 for one in endings),
        "refused": sum(one == 1 << 8 for one in endings),
        "killed": sum(os.WIFSIGNALED(one) for one in endings),
    }


def hold(size: int) -> None:
    signal.alarm(ALARM_S)
    try:
        held = bytearray(b"x") * size
        time.sleep(1.0)  # so that all hold theirs together
        os._exit(0 if held else 2)
    except MemoryError:
        os._exit(1)


def processes(settings: dict[str, Any]) -> dict[str, Any]:
    children = []
    end = "no end"
    for _ in range(settings["most"]):
        try:
            child = os.fork()
        except OSError as error:
            end = errno.errorcode.get(error.errno or 0, "refused")
            break
        if child == 0:
            signal.alarm(ALARM_S)
            signal.pause()
            os._exit(0)
        children.append(child)
    for child in children:
        os.kill(child, signal.SIGKILL)
    for child in children:
        os.waitpid(child, 0)
    return {"made": len(children), "end": end}


def disk(settings: dict[str, Any]) -> dict[str, Any]:
    return {place: fill(place, settings["most"]) for place in settings["places"]}


def fill(place: str, most: int) -> list[Any]:
    """Write a file until it is refused; how many bytes went in, and what ended it."""
    written = 0
    piece = b"x" * (1 << 16)
    try:
        with open(os.path.join(place, "fill"), "wb", buffering=0) as file:
            while written < most:
                written += file.write(piece)
    except OSError as error:
        return [written, errno.errorcode.get(error.errno or 0, "refused")]
    finally:
        if place != ".":  # there the host looks for itself
            with contextlib.suppress(OSError):
                os.unlink(os.path.join(place, "fill"))
    return [written, "no end"]


def inodes(settings: dict[str, Any]) -> dict[str, Any]:
    with contextlib.suppress(OSError):
        os.unlink("fill")
    for number in range(settings["most"]):
        try:
            os.close(os.open(f"n{number}", os.O_CREAT | os.O_WRONLY))
        except OSError as error:
            return {"made": number, "end": errno.errorcode.get(error.errno or 0, "refused")}
    return {"made": settings["most"], "end": "no end"}


# ---------------------------------------------------------------- privileges and kernel doors


def privileges(settings: dict[str, Any]) -> dict[str, Any]:
    status = process_status()
    return {
        "user": os.getuid(),
        "groups": sorted({os.getgid(), *os.getgroups()}),
        **{name: status.get(name, "?") for name in ("CapEff", "CapPrm", "CapInh", "CapAmb")},
        "CapBnd": status.get("CapBnd", "?"),
        "NoNewPrivs": status.get("NoNewPrivs", "?"),
        "Seccomp": status.get("Seccomp", "?"),
        "become root": apart(lambda: os.setuid(0)),
        "become another user": apart(lambda: os.setuid(12345)),
        "give a file away": apart(give_away),
        "make a device": apart(lambda: os.mknod("device", 0o20600, os.makedev(1, 3))),
        "chroot": apart(lambda: os.chroot("/tmp")),
    }


def process_status() -> dict[str, str]:
    with open("/proc/self/status") as file:
        rows = (line.partition(":") for line in file)
        return {name: value.strip() for name, _, value in rows}


def give_away() -> None:
    with open("given", "w"):
        os.chown("given", 1234, 1234)


NUMBERS = {
    "x86_64": {"keyctl": 250, "add_key": 248, "perf_event_open": 298, "bpf": 321,
               "userfaultfd": 323, "process_vm_readv": 310, "ptrace": 101, "mount": 165,
               "unshare": 272, "open_by_handle_at": 304, "kexec_load": 246},
    "aarch64": {"keyctl": 219, "add_key": 217, "perf_event_open": 241, "bpf": 280,
                "userfaultfd": 282, "process_vm_readv": 270, "ptrace": 117, "mount": 40,
                "unshare": 97, "open_by_handle_at": 265, "kexec_load": 104},
}  # fmt: skip
EVERYWHERE = {"io_uring_setup": 425, "pidfd_getfd": 438, "fsopen": 430}
TRACE_ME, SESSION_RING, PROCESS_RING = 0, -3, -2
NEW_USER, NEW_MOUNTS, NEW_NETWORK = 0x10000000, 0x00020000, 0x40000000


DOORS: dict[str, tuple[Any, ...]] = {
    "new user namespace": ("unshare", NEW_USER),
    "new mount namespace": ("unshare", NEW_MOUNTS),
    "new network namespace": ("unshare", NEW_NETWORK),
    "mount": ("mount", b"none", b"/tmp", b"tmpfs", 0, None),
    "new mount interface": ("fsopen", b"tmpfs", 0),
    "ptrace": ("ptrace", TRACE_ME, 0, 0, 0),
    "key rings": ("keyctl", 0, SESSION_RING, 0),
    "new key": ("add_key", b"user", b"planloop-probe", b"x", 1, PROCESS_RING),
    "bpf": ("bpf", 0, None, 0),
    "userfaultfd": ("userfaultfd", 0),
    "io_uring": ("io_uring_setup", 1, None),
    "perf events": ("perf_event_open", None, 0, -1, -1, 0),
    "descriptors of others": ("pidfd_getfd", -1, 0, 0),
    "files by handle": ("open_by_handle_at", -1, None, 0),
    "kexec": ("kexec_load", 0, 0, None, 0),
}
SOCKETS = {
    "raw sockets": (socket.AF_INET, socket.SOCK_RAW, 1),
    "packet sockets": (17, socket.SOCK_RAW, 0),
    "firewall sockets": (16, socket.SOCK_RAW, 12),
    "audit sockets": (16, socket.SOCK_RAW, 9),
    "hypervisor sockets": (40, socket.SOCK_STREAM, 0),
    "cryptography sockets": (38, socket.SOCK_SEQPACKET, 0),
}


def kernel(settings: dict[str, Any]) -> dict[str, Any]:
    calls = {name: apart(partial(system_call, *call)) for name, call in DOORS.items()}
    calls["memory of others"] = apart(read_memory)
    sockets = {name: apart(partial(open_socket, *one)) for name, one in SOCKETS.items()}
    return {**calls, **sockets}


def read_memory() -> None:
    source, target = ctypes.create_string_buffer(8), ctypes.create_string_buffer(8)
    here, there = (
        (ctypes.c_size_t * 2)(ctypes.addressof(one), len(one)) for one in (target, source)
    )
    system_call("process_vm_readv", os.getpid(), here, 1, there, 1, 0)


def open_socket(family: int, kind: int, protocol: int) -> None:
    socket.socket(family, kind, protocol).close()


def system_call(name: str, *arguments: Any) -> None:
    number = EVERYWHERE.get(name) or NUMBERS.get(platform.machine(), {}).get(name)
    if number is None:
        raise LookupError(name)
    library = ctypes.CDLL(None, use_errno=True)
    words = [ctypes.c_long(one) if isinstance(one, int) else one for one in arguments]
    if library.syscall(ctypes.c_long(number), *words) == -1:
        raise OSError(ctypes.get_errno(), name)


# ---------------------------------------------------------------- files and secrets


def files(settings: dict[str, Any]) -> dict[str, Any]:
    writing = [f"{folder}/planloop-probe" for folder in ("", "/usr", "/etc", "/dev")]
    switches = ("/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger", "/sys/kernel/uevent_helper",
                "/sys/fs/cgroup/cgroup.procs")  # fmt: skip
    return {
        "written": opened(writing, write),
        "switches": opened(switches, open_switch),
        "readable": opened(settings["closed"], look),
        "engines": [one for one in settings["engines"] if os.path.exists(one)],
        "devices": sorted(one for one in os.listdir("/dev") if is_block_device("/dev/" + one)),
    }


def opened(paths: Iterable[str], act: Callable[[str], None]) -> list[str]:
    return [path for path in paths if tried(partial(act, path)) == "done"]


def write(path: str) -> None:
    with open(path, "w"):
        os.unlink(path)


def open_switch(path: str) -> None:
    os.close(os.open(path, os.O_WRONLY))


def look(path: str) -> None:
    if os.path.isdir(path):
        if not os.listdir(path):
            raise OSError(errno.ENOENT, path)
        return
    with open(path, "rb") as file:
        file.read(1)


def is_block_device(path: str) -> bool:
    with contextlib.suppress(OSError):
        return os.lstat(path).st_mode & 0o170000 == 0o060000
    return False


def secrets(settings: dict[str, Any]) -> dict[str, Any]:
    """The names of all variables that can be read: its own, and those of other processes."""
    names = set(os.environ)
    for process in filter(str.isdigit, os.listdir("/proc")):
        pairs = of_process(process, "environ")
        names.update(pair.split(b"=")[0].decode("ascii", "replace") for pair in pairs)
    return {"names": sorted(filter(None, names))}


def running(settings: dict[str, Any]) -> dict[str, Any]:
    """How many processes have a word on their command line."""
    others = [one for one in os.listdir("/proc") if one.isdigit() and int(one) != os.getpid()]
    word = settings["word"].encode()
    return {"count": sum(word in of_process(one, "cmdline") for one in others)}


def of_process(process: str, kind: str) -> list[bytes]:
    with contextlib.suppress(OSError), open(f"/proc/{process}/{kind}", "rb") as file:
        return file.read(PIECE).split(b"\0")
    return []


TOPICS = (network, memory, processes, disk, inodes, privileges, kernel, files, secrets, running)

if __name__ == "__main__":
    (topic,) = (one for one in TOPICS if one.__name__ == sys.argv[1])
    sys.stdout.write(json.dumps(topic(json.loads(sys.argv[2]))))
