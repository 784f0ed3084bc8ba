"""Kills apply or undo before its n-th step on the file system, for every n, and undoes the rest.

The steps are seen by an audit hook, so that the code under test has no switch for tests.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from planloop.workspace import apply_changes, undo_changes
from workspace.trees import Tree, build, read  # type: ignore[import-not-found,unused-ignore]

STEPS = {
    "open",
    "os.rename",
    "os.remove",
    "os.mkdir",
    "os.rmdir",
    "os.link",
    "os.symlink",
    "os.chmod",
}
STEPS |= {"os.utime", "os.chown"}


def in_child(action: Callable[[], object], die_at: int) -> bool:
    """Run in a child that dies at its n-th step; whether it came to its end."""
    child = os.fork()
    if not child:
        left = die_at

        def count(event: str, arguments: object) -> None:
            nonlocal left
            if event in STEPS:
                left -= 1
                if left < 0:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(count)
        action()
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    if not os.WIFSIGNALED(status):
        assert os.WEXITSTATUS(status) == 0
        return True
    return False


def main(verb: str, run: Path, base: Path, before: Tree) -> None:
    killed, undone, facts_kept = [], [], True
    at, ended = 0, False
    while not ended:
        mine, copy = base / "mine", base / "copy-of-run"
        for folder in (mine, copy):
            shutil.rmtree(folder, ignore_errors=True)
        build(before, mine)
        was = {
            p: (p.lstat().st_mode, p.lstat().st_mtime_ns) for p in mine.rglob("*") if p.is_file()
        }
        shutil.copytree(run, copy)
        if verb == "undo":
            apply_changes(copy, mine)
            ended = in_child(partial(undo_changes, copy, mine), at)
        else:
            ended = in_child(partial(apply_changes, copy, mine), at)
        killed.append(repr(without_temporary(read(mine))))
        if (copy / "apply.json").exists():
            undo_changes(copy, mine)
        undone.append(repr(read(mine)))
        now = {
            p: (p.lstat().st_mode, p.lstat().st_mtime_ns) for p in mine.rglob("*") if p.is_file()
        }
        facts_kept = facts_kept and {p: f for p, f in now.items() if not p.is_symlink()} == {
            p: f for p, f in was.items() if not p.is_symlink()
        }
        at += 1
    sys.stdout.write(json.dumps({"killed": killed, "undone": undone, "facts_kept": facts_kept}))


def without_temporary(tree: dict[str, object]) -> dict[str, object]:
    return {p: f for p, f in tree.items() if not p.rpartition("/")[2].startswith(".planloop-")}


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), eval(sys.stdin.read()))
