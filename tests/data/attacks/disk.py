# SPDX-License-Identifier: Apache-2.0
"""Too much of a file system. argv: CASE FOLDER. Says what it met, and where."""
import os, sys

FOLDER = sys.argv[2] if len(sys.argv) > 2 else "."
PIECE = os.urandom(1 << 20)


def bounded(work, most):
    done = 0
    try:
        for done in range(most): work(done)
        print("unbounded", done + 1)
    except OSError as error:
        print("bounded", error.strerror, done)


def fill():
    with open(os.path.join(FOLDER, "big"), "wb", buffering=0) as file:
        bounded(lambda _: os.write(file.fileno(), PIECE) == len(PIECE) or os.write(file.fileno(), b"x"), 400)


def inodes():
    os.makedirs(os.path.join(FOLDER, "ino"), exist_ok=True)
    bounded(lambda n: os.close(os.open(os.path.join(FOLDER, "ino", str(n)), os.O_CREAT)), 200_000)


def folders():
    bounded(lambda n: os.mkdir(os.path.join(FOLDER, f"d{n}")), 200_000)


def links():
    bounded(lambda n: os.symlink("x" * 3000, os.path.join(FOLDER, f"l{n}")), 200_000)


def long_names():
    """Hard links of one file: no inode each, but a long entry in the folder."""
    name = os.path.join(FOLDER, "one")
    os.close(os.open(name, os.O_CREAT))
    bounded(lambda n: os.link(name, os.path.join(FOLDER, f"{n:0>250}")), 200_000)


def deleted():
    """Deleted, but held open."""
    held = []
    def one(number):
        held.append(os.open(os.path.join(FOLDER, "gone"), os.O_CREAT | os.O_RDWR))
        os.unlink(os.path.join(FOLDER, "gone"))
        if os.write(held[-1], PIECE) < len(PIECE): os.write(held[-1], PIECE)
    bounded(one, 400)


def attributes():
    name = os.path.join(FOLDER, "attributed")
    os.close(os.open(name, os.O_CREAT))
    bounded(lambda n: os.setxattr(name, f"user.{n}", b"v" * 60_000), 20_000)


def sparse():
    with open(os.path.join(FOLDER, "sparse.bin"), "wb") as file: file.truncate(8 << 40)
    found = os.stat(os.path.join(FOLDER, "sparse.bin"))
    print("sparse", found.st_size, found.st_blocks)


def deep():
    """Deeper than a path can be long."""
    here = os.open(FOLDER, os.O_RDONLY)
    def one(number):
        nonlocal here
        os.mkdir("deep", dir_fd=here)
        inner = os.open("deep", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = inner
    bounded(one, 3000)


globals()[sys.argv[1]]()
