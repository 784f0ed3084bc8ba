"""Random trees and edits for the property tests, and real git to compare with."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias

from hypothesis import settings
from hypothesis import strategies as st

patient = settings(deadline=None)
"""Real files and real processes: a slow machine is no failure."""

File: TypeAlias = "tuple[bytes, bool] | str"
"""Content and executable bit, or where a link leads."""
Tree: TypeAlias = "dict[str, File]"

NAMES = st.sampled_from(
    [
        "a",
        "b",
        "c.txt",
        "d e",
        "tab\there",
        'quo"te',
        "back\\slash",
        "ü",
        "new\nline",
        "-rf",
        "$(id)",
        "..hidden",
        "trailing ",
        "\u202egnp.exe",
        "%2e%2e",
    ]
)
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)
LINES = st.lists(st.sampled_from(["x", "y", "", "zz", "é", "w\r", "-- a", "+++ b"]), max_size=12)
TEXTS = st.tuples(LINES, st.booleans()).map(
    lambda parts: ("\n".join(parts[0]) + ("\n" if parts[1] and parts[0] else "")).encode()
)
CONTENTS = st.one_of(TEXTS, st.binary(max_size=40))


def _files(contents: st.SearchStrategy[bytes]) -> st.SearchStrategy[File]:
    return st.one_of(st.tuples(contents, st.booleans()), st.sampled_from(["a", "b/c.txt", "gone"]))


def trees(contents: st.SearchStrategy[bytes] = CONTENTS) -> st.SearchStrategy[Tree]:
    """Small trees in which no path is both a file and a folder."""
    return st.dictionaries(PATHS, _files(contents), max_size=7).map(consistent)


def edited(tree: Tree, contents: st.SearchStrategy[bytes] = CONTENTS) -> st.SearchStrategy[Tree]:
    """What could come of a tree: files gone, changed and added, files where folders were."""
    kept = st.lists(st.sampled_from(sorted(tree)), unique=True) if tree else st.just([])
    added = st.dictionaries(
        st.one_of(PATHS, st.sampled_from(sorted(tree))) if tree else PATHS,
        _files(contents),
        max_size=5,
    )
    return st.tuples(kept, added).map(
        lambda parts: consistent({**parts[1], **{path: tree[path] for path in parts[0]}})
    )


def consistent(tree: Mapping[str, File]) -> Tree:
    """Without the paths that lie below another file of the tree, and links that leave it."""
    kept: Tree = {}
    for path in sorted(tree, key=lambda path: path.count("/")):
        steps = path.split("/")
        if not any("/".join(steps[:i]) in kept for i in range(1, len(steps))):
            kept[path] = tree[path]
    return kept


def build(tree: Mapping[str, File], folder: Path) -> Path:
    """Write a tree into a folder, which is made."""
    folder.mkdir(parents=True, exist_ok=True)
    for path, file in tree.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(file, str):
            target.symlink_to(file)
        else:
            target.write_bytes(file[0])
            target.chmod(0o755 if file[1] else 0o644)
    return folder


def read(folder: Path) -> Tree:
    """The tree that a folder holds: every file and link, nothing left out."""
    tree: Tree = {}
    for base, folders, files in os.walk(folder):
        for name in [*folders, *files]:
            path = Path(base) / name
            relative = str(path.relative_to(folder))
            if path.is_symlink():
                tree[relative] = os.readlink(path)
            elif path.is_file():
                tree[relative] = (path.read_bytes(), bool(path.stat().st_mode & 0o111))
    return tree


def git(folder: Path, *arguments: str, stdin: bytes = b"", ok: bool = True) -> bytes:
    """Run real git, without the configuration of whoever runs the tests."""
    done = subprocess.run(
        ["git", *arguments],
        cwd=folder,
        input=stdin,
        capture_output=True,
        env={
            "PATH": os.environ["PATH"],
            "HOME": "/nonexistent",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CEILING_DIRECTORIES": str(folder.parent),
        },
        check=False,
    )
    if ok and done.returncode:
        raise AssertionError(f"git {arguments}: {done.stderr.decode()}")
    return done.stdout
