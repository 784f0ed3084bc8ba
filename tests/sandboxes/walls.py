"""Every hardening flag: how it is taken away for a test, and which test then fails.

`docs/security.md` shows this table; `inventory.py` reads the same flags from the code.
"""

from __future__ import annotations

import dataclasses
import errno
from collections.abc import Iterator
from functools import partial

ROOT, BARE, PLAIN, DOCKER = (
    "bubblewrap, root",
    "bubblewrap, root, no cgroup",
    "bubblewrap, plain user",
    "docker, root",
)
"""Modes in which a missing flag shows."""


@dataclasses.dataclass(frozen=True)
class Wall:
    """A flag in a file of `planloop/sandboxes`; without it, `old` is `new`."""

    flag: str
    file: str
    old: str
    new: str
    mode: str
    seen_by: str
    """What fails without it: a test, an attack, or `listed`, where another wall stands behind."""


def _bubblewrap() -> Iterator[Wall]:
    wall = partial(Wall, file="bubblewrap.py", mode=ROOT)
    for old, mode, seen_by in (
        ('"--unshare-user", ', ROOT, "start"),
        ('"--unshare-all", ', ROOT, "start"),
        ('"--disable-userns", ', ROOT, "listed"),
        (', "--die-with-parent"', ROOT, "listed"),
        ('"--new-session", ', ROOT, "listed"),
        ('"--as-pid-1", ', ROOT, "posture"),
        ('"--uid", str(INSIDE_USER), ', ROOT, "posture"),
        (', "--gid", str(INSIDE_USER)', ROOT, "posture"),
        ('"--cap-drop", "ALL", ', PLAIN, "posture"),
        ('"--hostname", "sandbox", ', ROOT, "posture"),
    ):
        flag = f"bwrap {old.split(chr(34))[1]}"
        yield wall(flag=flag, old=old, new="", mode=mode, seen_by=seen_by)
    yield wall(flag="bwrap env", old="env={},\n", new="\n", seen_by="outside")
    yield wall(
        flag="bwrap start_new_session", old="start_new_session=True,", new="", seen_by="outside"
    )
    yield wall(flag="bwrap stdin", old="stdin=subprocess.DEVNULL,\n", new="\n", seen_by="listed")
    wall = partial(Wall, file="rootfs.py", mode=ROOT)
    yield wall(
        flag="bwrap --remount-ro /dev", old='"--remount-ro", "/dev", ', new="", seen_by="posture"
    )
    yield wall(
        flag="bwrap --remount-ro /", old=', "--remount-ro", "/")', new=")", seen_by="posture"
    )
    yield wall(
        flag="bwrap --add-seccomp-fd",
        old="if seccomp is not None:",
        new="if False:",
        seen_by="posture",
    )


def _stage() -> Iterator[Wall]:
    wall = partial(Wall, file="stage.py", mode=ROOT)
    yield wall(flag="stage --reuid", old='"--reuid", user, ', new="", seen_by="start")
    yield wall(flag="stage --clear-groups", old=', "--clear-groups"]', new="]", seen_by="listed")
    yield wall(flag="stage --no-new-privs", old='"--no-new-privs", ', new="", seen_by="listed")
    yield wall(
        flag="stage --propagation", old='"--propagation", "private", ', new="", seen_by="listed"
    )
    yield wall(flag="room size", old="size={size},", new="", seen_by="disk-fill-.")
    yield wall(flag="room nr_inodes", old="nr_inodes={inodes},", new="", seen_by="disk-inodes-.")


def _cgroup() -> Iterator[Wall]:
    wall = partial(Wall, file="cgroup.py", mode=ROOT)
    first, second = "memory.limit_in_bytes", "memory.max"
    yield wall(flag=f"cgroup {first}", old=f'"{first}"', new='"cgroup.procs"', seen_by="outside")
    old = f'folder / "{second}"'
    yield wall(flag=f"cgroup {second}", old=old, new='folder / "none"', seen_by="listed")
    name = "memory.memsw.limit_in_bytes"
    yield wall(flag=f"cgroup {name}", old=f'("{name}", most),', new="", seen_by="outside")
    name = "memory.kmem.tcp.limit_in_bytes"
    old = "_write(own, str(limits.memory_bytes // 4))"
    yield wall(flag=f"cgroup {name}", old=old, new="pass", seen_by="outside")
    name = "memory.swap.max"
    yield wall(flag=f"cgroup {name}", old=f'("{name}", "0"),', new="", seen_by="listed")
    yield wall(
        flag="cgroup pids.max",
        old='_write(folder / "pids.max", str(limits.processes + _OUTSIDE))',
        new="pass",
        seen_by="outside",
    )


def _docker() -> Iterator[Wall]:
    wall = partial(Wall, file="container.py", mode=DOCKER)
    for name, value, seen_by in (
        ("auto_remove", "True", "outside"),
        ("cap_drop", '["ALL"]', "posture"),
        ("cgroupns", '"private"', "posture"),
        ("ipc_mode", '"private"', "listed"),
        ("log_config", '{"Type": "none"}', "outside"),
        ("mem_limit", "memory", "start"),
        ("memswap_limit", "memory", "outside"),
        ("network_mode", '"bridge" if self.spec.network == "full" else "none"', "network"),
        ("pids_limit", "limits.processes", "processes-count"),
        ("read_only", "True", "posture"),
    ):
        yield wall(flag=f"docker {name}", old=f'"{name}": {value},', new="", seen_by=seen_by)
    yield wall(
        flag="docker no-new-privileges", old='"no-new-privileges", ', new="", seen_by="outside"
    )
    yield wall(flag="docker seccomp", old=", *filters]", new="]", seen_by="posture")
    yield wall(
        flag="docker read-only /run/planloop",
        old='str(self.door), type="bind", read_only=True',
        new='str(self.door), type="bind"',
        seen_by="posture",
    )
    yield wall(
        flag="docker ulimit core",
        old='Ulimit(name="core", soft=0, hard=0),',
        new="",
        seen_by="outside",
    )
    yield wall(
        flag="docker ulimit nofile",
        old='Ulimit(name="nofile", soft=_FILES, hard=_FILES),',
        new="",
        seen_by="posture",
    )
    for name, old, seen_by in (
        ("size", "size={max(size, 1)},", "start"),
        ("nr_inodes", "nr_inodes={max(inodes, 2)},", "start"),
        ("nosuid", "nosuid,", "listed"),
        ("nodev", ",nodev", "listed"),
    ):
        yield wall(flag=f"docker tmpfs {name}", old=old, new="", seen_by=seen_by)
    yield wall(
        flag="docker tmpfs noexec", old="mode=1777,noexec", new="mode=1777", seen_by="outside"
    )


def _guest() -> Iterator[Wall]:
    wall = partial(Wall, file="guest.py", mode=ROOT)
    limit = 'resource.RLIMIT_{0}, config.number("{1}")'
    for name, word, seen_by in (
        ("NPROC", "processes", "processes-count"),
        ("AS", "address_space", "memory-heap"),
    ):
        old = f"({limit.format(name, word)}),"
        yield wall(flag=f"guest limit: RLIMIT_{name}", old=old, new="", mode=BARE, seen_by=seen_by)
    yield wall(
        flag="guest limit: RLIMIT_CORE",
        old="(resource.RLIMIT_CORE, 0),",
        new="",
        seen_by="posture",
    )
    for function, old, new, mode, seen_by in (
        ("limit", "os.umask(0o022)", "pass", ROOT, "posture"),
        ("only_descriptor", "os.closerange(3, kept)", "pass", ROOT, "listed"),
        ("only_descriptor", "os.closerange(kept + 1, highest + 1)", "pass", ROOT, "listed"),
        ("only_descriptor", "os.set_inheritable(kept, False)", "pass", ROOT, "listed"),
        ("harden", "prctl(PR_SET_NO_NEW_PRIVS)", "pass", ROOT, "listed"),
        ("harden", "prctl(PR_SET_DUMPABLE, 0)", "pass", ROOT, "posture"),
        (
            "harden",
            "signal.signal(signal.SIGINT, signal.SIG_IGN)",
            "pass",
            ROOT,
            "first_process-signals",
        ),
        ("keep", "prctl(PR_SET_CHILD_SUBREAPER)", "pass", ROOT, "listed"),
        ("keep", "prctl(PR_SET_DUMPABLE, 0)", "pass", ROOT, "listed"),
        ("become", "os.setresgid(user, user, user)", "pass", DOCKER, "posture"),
        ("become", "os.setgroups([])", "pass", DOCKER, "posture"),
        ("become", "os.setresuid(user, user, 0)", "pass", DOCKER, "start"),
        ("fork", 'os.write(self.badness, b"500")', "pass", ROOT, "outside"),
        ("spawn", "setsid=True,", "", ROOT, "outside"),
        ("spawn", "setsigdef=DEFAULTED,", "", ROOT, "escapes"),
    ):
        name = old.rstrip(",").replace('"', "'").replace("0o022", "18")
        yield wall(
            flag=f"guest {function}: {name}",
            old=f"def {function}(|{old}",
            new=new,
            mode=mode,
            seen_by=seen_by,
        )


_ABSENT = (
    *("clone3", "io_uring_setup", "io_uring_enter", "io_uring_register", "msgget"),
    *("uselib", "ustat", "sysfs", "_sysctl", "nfsservctl"),
)
_DENIED = """
    acct add_key adjtimex bpf chroot clock_adjtime clock_settime clone delete_module fanotify_init
    fcntl finit_module fsconfig fsmount fsopen fspick init_module ioctl ioperm iopl ioprio_set kcmp
    kexec_file_load kexec_load keyctl lookup_dcookie lsm_set_self_attr migrate_pages modify_ldt
    mount mount_setattr move_mount move_pages name_to_handle_at open_by_handle_at open_tree
    open_tree_attr perf_event_open personality pidfd_getfd pivot_root prlimit64 process_madvise
    process_mrelease process_vm_readv process_vm_writev ptrace quotactl quotactl_fd reboot
    request_key sched_setaffinity sched_setattr sched_setparam sched_setscheduler semget
    setdomainname sethostname setns setpriority settimeofday shmget socket socketpair swapoff
    swapon syslog umount2 unshare userfaultfd vhangup
"""
REFUSED_CALLS = dict.fromkeys(_ABSENT, errno.ENOSYS) | dict.fromkeys(_DENIED.split(), errno.EPERM)
"""System calls that the filter refuses, all or some forms of them, and how."""


def _seccomp() -> Iterator[Wall]:
    for name in REFUSED_CALLS:
        old = f'"{name}"'
        yield Wall(f"seccomp {name}", "seccomp.py", f"REFUSALS = (|{old}", '"none"', ROOT, "filter")


WALLS = (*_bubblewrap(), *_stage(), *_cgroup(), *_docker(), *_guest(), *_seccomp())


def without(wall: Wall, source: str) -> str:
    """The source without a flag. `old` may begin with the line after which it is, and a `|`."""
    after, _, old = wall.old.rpartition("|")
    start = source.index(after) if after else 0
    place = source.find(old, start)
    assert place >= 0, f"{wall.file} has no `{old}`"
    return source[:place] + wall.new + source[place + len(old) :]


def table() -> str:
    """The table of `docs/security.md`."""
    rows = ["| flag | mode in which it is missed | what then fails |", "|---|---|---|"]
    rows += [
        f"| `{wall.flag}` | {wall.mode} | {wall.seen_by} |"
        for wall in WALLS
        if not wall.flag.startswith("seccomp ")
    ]
    for error in (errno.EPERM, errno.ENOSYS):
        names = sorted(name for name, given in REFUSED_CALLS.items() if given == error)
        shown = ", ".join(f"`{name}`" for name in names)
        rows.append(f"| seccomp, {errno.errorcode[error]}: {shown} | every mode | filter |")
    return "\n".join(rows) + "\n"
