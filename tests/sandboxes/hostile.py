"""Programs that a sandbox must hold. Each is bounded by itself as well."""

from __future__ import annotations

import os
import time
from pathlib import Path

DAEMON = """
import os, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        for descriptor in range(64):
            try: os.close(descriptor)
            except OSError: pass
        time.sleep(60)
    os._exit(0)
os.wait()
print("parent done")
"""

STUBBORN_TREE = """
import os, signal, sys, time
for number in range(1, 32):
    if number not in (9, 19, 17): signal.signal(number, signal.SIG_IGN)
for _ in range(4):
    if os.fork() == 0:
        os.setsid()
        os.fork()
        time.sleep(60)
        os._exit(0)
print("started", flush=True)
time.sleep(60)
"""

FORK_BOMB = """
import os, signal, time
for number in range(1, 32):
    if number not in (9, 19):
        try: signal.signal(number, signal.SIG_IGN)
        except (OSError, ValueError): pass
end = time.time() + 20
while time.time() < end:
    try:
        if os.fork() == 0:
            try: os.setsid()
            except OSError: pass
    except OSError:
        time.sleep(0.01)
"""

HOW_MANY_PROCESSES = """
import os, signal, time
children, refused = [], False
for _ in range(100):
    try: pid = os.fork()
    except OSError:
        refused = True
        break
    if pid == 0:
        time.sleep(20)
        os._exit(0)
    children.append(pid)
for pid in children: os.kill(pid, signal.SIGKILL)
print(len(children), refused)
"""

MEMORY_BOMB = """
held = []
while len(held) < 100: held.append(bytearray(8 << 20))
"""

MEMORY_BOMB_CHILD = """
import os
if os.fork() == 0:
    held = []
    while len(held) < 100: held.append(bytearray(8 << 20))
    os._exit(0)
print("child", os.wait()[1] != 0)
"""

HOSTILE_TREE = r"""
import os, socket
os.symlink("/etc/passwd", "abs_link")
os.symlink("../../../../etc/passwd", "rel_link")
os.symlink("/", "rootdir")
os.symlink(".", "loop")
os.symlink("loop/..", "sly")
os.symlink("self", "self")
os.symlink("/dev/zero", "endless")
os.symlink("real/file", "good_link")
os.mkfifo("fifo")
s = socket.socket(socket.AF_UNIX); s.bind("sock")
os.mkdir("real"); open("real/file", "w").write("kept")
for name in (b"new\nline", b"-rf", b"\x1b]0;x\x07", b"\xff\xfe bad", b"a" * 255, b"$(id)"):
    open(name, "wb").write(b"x")
open("setuid", "w").write("#!/bin/sh\n"); os.chmod("setuid", 0o6777)
open("unreadable", "w").write("x"); os.chmod("unreadable", 0)
with open("sparse", "wb") as f: f.truncate(1 << 42)
here = os.open(".", os.O_RDONLY)
for _ in range(1500):
    os.mkdir("deep", dir_fd=here)
    inner = os.open("deep", os.O_RDONLY, dir_fd=here); os.close(here); here = inner
"""

FORGERIES = """
import ctypes, os, signal, sys
keeper = os.getppid()
libc = ctypes.CDLL(None, use_errno=True)
for pid in (1, keeper):
    for number in range(3, 40):
        try:
            with open(f"/proc/{pid}/fd/{number}", "wb", buffering=0) as file:
                file.write(b"exited 0 0")
            print("OPENED", pid, number)
        except OSError: pass
    try:
        open(f"/proc/{pid}/mem", "r+b"); print("MEM", pid)
    except OSError: pass
    try:
        print("ENVIRON", open(f"/proc/{pid}/environ").read())
    except OSError: pass
    if libc.ptrace(16, pid, 0, 0) == 0: print("PTRACED", pid)
    pidfd = libc.syscall(434, pid, 0)
    for number in range(3, 20):
        if libc.syscall(438, pidfd, number, 0) >= 0: print("STOLEN", pid, number)
try: os.kill(keeper, signal.SIGKILL)
except OSError: pass
sys.exit(3)
"""


def host_processes(marker: str, within_s: float = 0.0) -> list[str]:
    """Command lines on this machine that contain a marker, once they are gone or time is up."""
    end = time.monotonic() + within_s
    while True:
        found = [line for line in _command_lines().values() if marker in line]
        if not found or time.monotonic() > end:
            return found
        time.sleep(0.005)


def first_process_above(marker: str) -> int:
    """The first process of the sandbox in which a process with a marker runs."""
    lines = _command_lines()
    pid = next(pid for pid, line in lines.items() if marker in line)
    above = 0
    while pid > 1:
        if "guest.py" in lines.get(pid, "") and "bwrap" not in lines[pid]:
            above = pid
        pid = int(Path("/proc", str(pid), "stat").read_text().rpartition(")")[2].split()[1])
    return above


def _command_lines() -> dict[int, str]:
    lines = {}
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) != os.getpid():
            try:
                line = Path("/proc", name, "cmdline").read_bytes()
            except OSError:
                continue
            lines[int(name)] = line.decode("utf-8", "replace")
    return lines
