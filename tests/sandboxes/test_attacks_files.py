"""Hostile output and hostile files, in every kind and mode: what the host reads of them."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import stat
import tempfile
from pathlib import Path
from typing import Any

from planloop.observation import Status
from planloop.sandbox import Command, Completed, Sandbox

from .attacks import PROGRAMS, assert_well
from .houses import Houses
from .modes import TIGHT
from .test_attacks_posture import by_mode

OUTPUT = dataclasses.replace(TIGHT, kept_bytes=4 << 20, shown_bytes=8192)
FLOODS = ("gigabytes", "one_line", "flood_of_errors", "both_streams", "empty_lines", "bells")
PLAIN = {
    "invalid": "ok",
    "split": "€😀",
    "nul": "a\0b\0",
    "all_bytes": "0123",
    "clipboard": "52;c",
    "title": "owned",
    "link": "click",
    "c1": "C1",
    "strings": "P$qm",
    "questions": "[6n",
    "cursor": "SUCCEEDED",
    "screen": "[?25l",
    "backspace": "rm -rf",
    "bidi": "user",
    "unterminated": "AAAA",
    "split_escape": "52;c",
    "markup": ":smile:",
    "html": "{{7*7}}",
    "markdown": "SYSTEM",
    "json": '"status":"success"',
    "table": "@SUM(1)",
    "markers": "exited 0 0",
    "prompt": "approve all",
    "log": "status=success",
    "zeros": "\0\0\0",
    "single_bytes": "....",
}
PATHS = [
    *("../x", "a/../../x", "/etc/passwd", "~/.ssh/id_rsa", "~root/x", "a\0b", "", ".", "..", "//"),
    *("a//..//..//x", "\\\\host\\share", "C:\\x", "file:///etc/passwd", "/proc/self/environ"),
    *("/dev/stdin", "link_to_root/etc/passwd", "a" * 5000, "a/" * 3000 + "x", "\u202etxt.py"),
    *(
        "..\u2215x",
        "%2e%2e/x",
        "$HOME/x",
        "`id`",
        "x\n",
        "CON",
        "/workspace-evil/x",
        "fifo",
        "sock",
    ),
    *("abs_link", "rel_link", "loop/loop/../../x", "sly/etc/passwd", "self", "endless", "environ"),
    *(
        "terminal",
        "first_root/etc/passwd",
        "closed/inner",
        "unreadable",
        "sparse",
        "\ud800",
        "real/file/x",
    ),
]
"""Each is read, written and used as a folder: it is refused, or stays in the workspace."""


@dataclasses.dataclass(frozen=True)
class Heard:
    """The outcomes of some calls, and how much more memory the host held at its peak."""

    done: dict[str, Completed]
    growth_bytes: int


async def heard(sandbox: Sandbox, cases: tuple[str, ...]) -> Heard:
    source = (PROGRAMS / "output.py").read_text("utf-8")
    before = _peak(reset=True)
    done = {
        case: await sandbox.run(Command(argv=("python3", "-c", source, case), timeout_s=20))
        for case in cases
    }
    return Heard(done, _peak() - before)


def _peak(*, reset: bool = False) -> int:
    """The most memory that this process held, in bytes; since now, with `reset`."""
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    (line,) = (one for one in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in one)
    return int(line.split()[1]) * 1024


@by_mode
def test_floods_are_cut_and_take_no_memory(houses: Houses, mode: Any) -> None:
    after = houses[mode.name].run(heard, FLOODS, limits=OUTPUT)
    assert_well(after)
    for case, done in after.result.done.items():
        assert done.status is Status.OUTPUT_LIMIT, (case, done)
        stream = max((done.stdout, done.stderr), key=lambda one: one.total_bytes)
        assert stream.total_bytes >= OUTPUT.kept_bytes
        assert stream.head
        assert stream.tail
        assert len(stream.text) <= OUTPUT.shown_bytes + 100
        assert done.duration_s < 10
    assert after.result.growth_bytes < 64 << 20


@by_mode
def test_every_text_is_data(houses: Houses, mode: Any) -> None:
    after = houses[mode.name].run(heard, tuple(PLAIN), limits=OUTPUT)
    assert_well(after)
    for case, done in after.result.done.items():
        assert (done.status, done.exit_code, done.notes) == (Status.OK, 0, ()), (case, done)
        assert PLAIN[case] in done.stdout.text, (case, done.stdout)
        assert json.loads(json.dumps(done.stdout.text)) == done.stdout.text
        done.stdout.text.encode("utf-8")


@dataclasses.dataclass(frozen=True)
class Copied:
    """What came out of a hostile tree."""

    refused: tuple[str, ...]
    scanned: int
    surprises: list[str]
    """Paths that led elsewhere than into the workspace."""


async def copied(sandbox: Sandbox, target: str) -> Copied:
    source = (PROGRAMS / "tree.py").read_text("utf-8")
    built = await sandbox.run(Command(argv=("python3", "-c", source)))
    assert built.stdout.text.endswith("built\n"), built
    scanned = await sandbox.scan()
    refused = await sandbox.copy_out(Path(target), max_bytes=8 << 20, max_files=500)
    surprises = [what for path in PATHS for what in await _surprises(sandbox, path)]
    return Copied(refused, len(scanned), surprises)


async def _surprises(sandbox: Sandbox, path: str) -> list[str]:
    found = []
    with contextlib.suppress(OSError, ValueError):
        data = await sandbox.read_file(path, 1 << 20)
        if b"root:" in data or b"PATH=" in data:
            found.append(f"read {path!r}: {data[:60]!r}")
    with contextlib.suppress(OSError, ValueError):
        await sandbox.write_file(path, b"planloop-written")
    return found


@by_mode
def test_hostile_files_stay_where_they_are(houses: Houses, mode: Any) -> None:
    base = Path(tempfile.mkdtemp(prefix="copied-"))
    base.chmod(0o777)
    target = base / "target"
    target.mkdir()
    target.chmod(0o777)
    before = _outside()
    try:
        after = houses[mode.name].run(copied, str(target), limits=_ROOMY)
        assert_well(after)
        assert _outside() == before
        assert [path.name for path in base.iterdir()] == ["target"]
        _check_tree(target, after.result)
    finally:
        shutil.rmtree(base)


_ROOMY = dataclasses.replace(TIGHT, inodes=4000)


def _check_tree(target: Path, result: Copied) -> None:
    assert result.surprises == []
    assert (target / "real" / "file").read_bytes() == b"kept"
    assert os.readlink(target / "good_link") == "real/file"
    modes = {path: path.lstat().st_mode for path in target.rglob("*")}
    assert {stat.S_IFMT(mode) for mode in modes.values()} == {
        stat.S_IFREG,
        stat.S_IFDIR,
        stat.S_IFLNK,
    }
    links = [path for path, mode in modes.items() if stat.S_ISLNK(mode)]
    assert all(f"{os.path.realpath(path)}/".startswith(f"{target}/") for path in links), links
    assert not any(os.path.lexists(target / name) for name in ("sparse", "fifo", "sock", "hard"))
    assert not any(mode & 0o7000 for mode in modes.values())
    for name in ("abs_link", "rel_link", "fifo", "sock", "sparse", "endless", "link_to_root"):
        assert any(name in sentence for sentence in result.refused), (name, result.refused)
    assert all(sentence.isprintable() for sentence in result.refused)


def _outside() -> list[tuple[str, int]]:
    """Places of the host that a careless write would reach."""
    places = ("/etc", "/etc/passwd", "/tmp/x", "/x", "/workspace-evil", "/root/.ssh")
    found = []
    for place in places:
        path = Path(place)
        found.append((place, path.stat().st_mtime_ns if path.exists() else 0))
    return found


def test_the_cases_are_all_there() -> None:
    source = (PROGRAMS / "output.py").read_text("utf-8")
    assert all(f'"{case}": ' in source for case in (*FLOODS, *PLAIN))
    assert source.count('": lambda: ') == len(FLOODS) + len(PLAIN)
