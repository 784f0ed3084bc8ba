# SPDX-License-Identifier: Apache-2.0
"""Fills a folder with everything that a careless copy gets wrong. argv: [FOLDER]."""
import os, socket, sys

os.chdir(sys.argv[1] if len(sys.argv) > 1 else ".")


def attempt(work, *arguments):
    try: work(*arguments)
    except OSError as error: print(work.__name__, arguments[:1], error.strerror)


for target, name in (
    ("/etc/passwd", "abs_link"), ("../../../../../../etc/passwd", "rel_link"), ("/", "link_to_root"), (".", "loop"),
    ("loop/loop/../..", "sly"), ("self", "self"), ("/dev/zero", "endless"), ("/proc/self/environ", "environ"),
    ("/dev/tty", "terminal"), ("real/file", "good_link"), ("/proc/1/root", "first_root"), ("x" * 4000, "long_link"),
): attempt(os.symlink, target, name)
attempt(os.link, "/etc/passwd", "hard")
attempt(os.mkfifo, "fifo")
attempt(os.mknod, "character", 0o20666, os.makedev(1, 5))
attempt(os.mknod, "block", 0o60666, os.makedev(8, 0))
listener = socket.socket(socket.AF_UNIX)
attempt(listener.bind, "sock")
os.mkdir("real")
with open("real/file", "w") as file: file.write("kept")
for name in (
    b"new\nline", b"-rf", b"--checkpoint-action=exec=sh", b"tab\tname", b"\x1b]0;x\x07", b"\xff\xfe bad", b"a" * 255,
    b"CON", b"trailing ", b"..hidden", "\u202egnp.exe".encode(), b"$(id)", b"`id`", b"a;b", b"%2e%2e%2f",
    b"name:stream", b"x\\..\\y", b"\xc2\x9b2J",
):
    with open(name, "wb") as file: file.write(b"x")
with open("setuid", "w") as file: file.write("#!/bin/sh\n")
os.chmod("setuid", 0o6777)
with open("unreadable", "w") as file: file.write("x")
os.chmod("unreadable", 0)
os.mkdir("closed")
with open("closed/inner", "w") as file: file.write("x")
os.chmod("closed", 0)
here = os.open(".", os.O_RDONLY)
for _ in range(1200):
    try: os.mkdir("deep", dir_fd=here)
    except OSError: break
    inner = os.open("deep", os.O_RDONLY, dir_fd=here)
    os.close(here)
    here = inner
with open("sparse", "wb") as file: attempt(file.truncate, 1 << 42)
os.makedirs(".git/hooks")
with open(".git/hooks/post-checkout", "w") as file: file.write("#!/bin/sh\ntouch /tmp/ran-on-the-host\n")
os.chmod(".git/hooks/post-checkout", 0o755)
for name in ("sitecustomize.py", "conftest.py", "json.py", ".envrc", "pytest.ini", "pyproject.toml", "anyio.py"):
    with open(name, "w") as file: file.write("raise SystemExit('workspace code ran on the host')\n")
print("built")
