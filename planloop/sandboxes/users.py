"""Which user of this machine a bubblewrap sandbox runs as."""

from __future__ import annotations

import os
import re
import secrets
from pathlib import Path

from planloop.errors import UserError

_HIGH_USERS = (1_879_048_192, 2_147_352_576)
"""User ids that no convention gives to anyone."""


def fresh_user() -> int:
    """A user id that nobody else has, so that limits and signals concern this sandbox alone.

    Raises:
        UserError: root has nobody to become here, and stays dangerous inside.
    """
    extents = [line.split() for line in Path("/proc/self/uid_map").read_text().splitlines()]
    highest = max(int(first) + int(count) for first, _, count in extents)
    low, high = _HIGH_USERS
    if highest < high:
        low, high = max(1, highest - 5000), highest - 1
    if low >= high:
        raise UserError(
            "sandbox `bubblewrap` cannot run as root of a user namespace without other users",
            hint="start planloop as a plain user",
        )
    return low + secrets.randbelow(high - low)


def counted_elsewhere(user: int | None) -> int:
    """Processes that the kernel counts towards the sandbox's limit although they run outside.

    None since Linux 5.14, which counts each user namespace by itself, and none for a fresh user.
    """
    release = tuple(int(part) for part in re.findall(r"\d+", os.uname().release)[:2])
    if user is not None or release >= (5, 14):
        return 0
    return sum(folder.stat().st_uid == os.geteuid() for folder in Path("/proc").glob("[0-9]*"))
