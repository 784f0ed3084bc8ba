# SPDX-License-Identifier: Apache-2.0
"""Attacks on the processes that watch a call: the first one, and the one above this. argv: CASE.

Whatever worked is printed as `DID ...`. It always ends with exit code 3: a call that attacked and
is then told to be `ok` was forged.
"""
import ctypes, os, resource, signal, struct, sys, time

LIBC = ctypes.CDLL(None, use_errno=True)
WATCHERS = (1, os.getppid())
FORGED = b"exited 0 0"


def did(what, work, *arguments):
    try:
        result = work(*arguments)
    except (OSError, ValueError, OverflowError):
        return None
    if isinstance(result, int) and result < 0:
        return None
    print("DID", what, flush=True)
    return result


def signals():
    """Signals that must bounce off the first process."""
    for number in (15, 2, 1, 3, 6, 10, 11, 12, 13, 14, 17, 20, 21, 22, 29, 34, 40):
        try: os.kill(1, number)
        except OSError: pass


def kill_first():
    for number in (9, 19):
        try: os.kill(1, number)
        except OSError: pass


def kill_all():
    try: os.kill(-1, 9)
    except OSError: pass


def kill_watcher():
    try: os.kill(os.getppid(), 9)
    except OSError: pass
    time.sleep(0.3)


def stop_watcher():
    """The watcher sleeps on while this ends."""
    try: os.kill(os.getppid(), 19)
    except OSError: pass


def stop_all():
    try: os.kill(-1, 19)
    except OSError: pass


def descriptors():
    """Their descriptors, through /proc and by theft; whatever opens gets the forged end of a call."""
    for pid in WATCHERS:
        pidfd = LIBC.syscall(434, pid, 0)
        for number in range(64):
            try:
                with open(f"/proc/{pid}/fd/{number}", "wb", buffering=0) as file: file.write(FORGED)
                print("DID open", pid, number)
            except OSError: pass
            stolen = LIBC.syscall(438, pidfd, number, 0)
            if stolen >= 0:
                print("DID steal", pid, number)
                try: os.write(stolen, FORGED)
                except OSError: pass


def own_descriptors():
    """Whatever was inherited besides the three streams."""
    for number in range(3, 256):
        try:
            target = os.readlink(f"/proc/self/fd/{number}")
            if target != f"/proc/{os.getpid()}/fd": print("DID inherit", number, target)
            os.write(number, FORGED)
        except OSError: pass


def trace():
    for pid in WATCHERS:
        for request in (16, 0x4206):
            did(f"trace {pid}", lambda: LIBC.ptrace(request, pid, 0, 0))


def memory():
    for pid in WATCHERS:
        for name in ("mem", "maps", "environ", "stack", "syscall", "auxv", "io", "map_files"):
            def look(path=f"/proc/{pid}/{name}"):
                if os.path.isdir(path): return len(os.listdir(path)) or -1
                with open(path, "rb") as file: return len(file.read(64)) or -1
            did(f"read {name} of {pid}", look)
        vector = struct.pack("QQ", ctypes.addressof(ctypes.create_string_buffer(64)), 64)
        far = struct.pack("QQ", 0x400000, 64)
        for call in (310, 311):
            did(f"copy memory {call} {pid}", lambda: LIBC.syscall(call, pid, vector, 1, far, 1, 0))


def limits():
    """Make the watchers slow, poor or first in line to be killed."""
    for pid in WATCHERS:
        did(f"limit {pid}", lambda: resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, 3)) and 1)
        did(f"limit cpu {pid}", lambda: resource.prlimit(pid, resource.RLIMIT_CPU, (1, 1)) and 1)
        did(f"pin {pid}", lambda: os.sched_setaffinity(pid, {0}) or 1)
        did(f"idle {pid}", lambda: os.sched_setscheduler(pid, os.SCHED_IDLE, os.sched_param(0)) or 1)
        did(f"nice {pid}", lambda: os.setpriority(os.PRIO_PROCESS, pid, 19) or 1)
        did(f"ionice {pid}", lambda: LIBC.syscall(251, 1, pid, 3 << 13))
        def offer(path=f"/proc/{pid}/oom_score_adj"):
            with open(path, "w") as file: return file.write("1000")
        did(f"offer {pid} to the OOM killer", offer)
        def rename(path=f"/proc/{pid}/comm"):
            with open(path, "w") as file: return file.write("x")
        did(f"rename {pid}", rename)


def spare_self():
    """Make everyone else the OOM killer's first choice."""
    def spare():
        with open("/proc/self/oom_score_adj", "w") as file: return file.write("-1000")
    did("spare itself", spare)


def busy():
    """Starve the watchers with everything that this user may use."""
    for _ in range(30):
        try:
            if os.fork() == 0:
                end = time.time() + 20
                while time.time() < end: pass
                os._exit(0)
        except OSError: break


globals()[sys.argv[1]]()
sys.stdout.flush()
os._exit(3)
