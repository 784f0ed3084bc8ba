"""Things of runs that are over, made to look exactly as a killed planloop leaves them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from planloop.marks import Mark, parse_mark

ROOT = Path(__file__).parents[2]
_NAME = "import sys; from planloop.marks import mark; print(mark(sys.argv[1]), flush=True)"
_AND_STAY = f"{_NAME}; sys.stdin.read()"


def dead_mark(run: str = "ghost") -> Mark:
    """A name that a process made which has ended."""
    ran = subprocess.run(
        [sys.executable, "-c", _NAME, run], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return _parsed(ran.stdout)


@contextmanager
def living_mark(run: str = "living") -> Iterator[Mark]:
    """A name of another process that lives for the length of the block."""
    with subprocess.Popen(
        [sys.executable, "-c", _AND_STAY, run],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        yield _parsed(process.stdout.readline())
        process.communicate()


def _parsed(text: str) -> Mark:
    found = parse_mark(text.strip())
    assert found is not None, text
    return found
