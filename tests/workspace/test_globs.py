from __future__ import annotations

import time
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planloop.task import WorkspaceSpec
from planloop.workspace.copying import copy_workspace
from planloop.workspace.globs import compile_glob

from .trees import git, patient

PIECES = [
    "a",
    "b",
    "foo",
    ".",
    "*",
    "**",
    "?",
    "/",
    "!",
    "#",
    "\\",
    " ",
    "[ab]",
    "[!a]",
    "[^b]",
    "[a-f]",
    "[[:alpha:]]",
    "[[:nope:]]",
    "[",
    "]",
    "[]a]",
    "[a/]",
    "-",
    "é",
    "\t",
    "\\*",
    "\\ ",
    "x]",
]
LINES = st.one_of(
    st.lists(st.sampled_from(PIECES), min_size=1, max_size=6).map("".join),
    st.sampled_from(
        [
            "foo",
            "/foo",
            "foo/",
            "a/b",
            "a/**",
            "**/b",
            "a/**/b",
            "*.a",
            "!*.a",
            "!/a",
            "/*",
            "!/foo/",
            "foo**/b",
            "**foo",
            "a/foo*",
            "#x",
            "\\#x",
            "\\!a",
            "a\\ ",
            "a ",
            "",
            "/",
            "//",
            "!",
            "***",
        ]
    ),
)
FILES = st.lists(
    st.lists(
        st.sampled_from(
            ["a", "b", "foo", "foob", ".a", "x.a", "#x", "!a", "a ", "é", "b]", "-", "*"]
        ),
        min_size=1,
        max_size=3,
    ).map("/".join),
    min_size=1,
    max_size=6,
    unique=True,
)
IGNORE_FILES = st.dictionaries(
    st.sampled_from(["", "a/", "foo/", "a/b/"]), st.lists(LINES, max_size=5), max_size=3
)


def make(folder: Path, files: list[str], ignores: dict[str, list[str]]) -> set[str]:
    """Write what fits of the files; say which lie there."""
    for path in files:
        target = folder / path
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text("x")
        except (FileExistsError, NotADirectoryError, IsADirectoryError):
            continue
    for prefix, lines in ignores.items():
        if (folder / prefix).is_dir():
            (folder / prefix / ".gitignore").write_bytes("\n".join(lines).encode())
    return {
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file() and ".git" not in path.parts
    }


def kept_by_git(folder: Path) -> set[str]:
    git(folder, "init", "-q")
    listed = git(folder, "ls-files", "-z", "--others", "--exclude-standard").decode()
    return set(listed.split("\0")) - {""}


@patient
@given(files=FILES, ignores=IGNORE_FILES)
def test_ignore_files_leave_out_what_git_leaves_out(
    files: list[str], ignores: dict[str, list[str]]
) -> None:
    with TemporaryDirectory() as base:
        source = Path(base, "source")
        source.mkdir()
        make(source, files, ignores)
        kept = kept_by_git(source)
        copy_workspace(source, Path(base, "copy"), WorkspaceSpec())
        copied = {
            str(p.relative_to(Path(base, "copy")))
            for p in Path(base, "copy").rglob("*")
            if p.is_file()
        }
    assert copied == kept


@pytest.mark.parametrize(
    ("pattern", "path", "is_folder", "expected"),
    [
        ("foo", "a/foo", False, True),
        ("/foo", "a/foo", False, False),
        ("foo/", "foo", False, False),
        ("foo/", "foo", True, True),
        ("a/b", "x/a/b", False, False),
        ("**/a/b", "x/a/b", False, True),
        ("a/**/b", "a/b", False, True),
        ("a/**/b", "a/x/y/b", False, True),
        ("a/**", "a", True, False),
        ("a/**", "a/x/y", False, True),
        ("*.py", "x.py", False, True),
        ("*", "a/b", False, True),
        ("a*b", "a/b", False, False),
        ("a/*b", "a/xx/b", False, False),
        ("[[:digit:]]?", "7x", False, True),
        ("a\\*", "a*", False, True),
        ("a\\*", "ab", False, False),
        ("[a", "[a", False, False),
    ],
)
def test_patterns_match_as_in_the_manual(
    pattern: str, path: str, is_folder: bool, expected: bool
) -> None:
    assert compile_glob(pattern).matches(path, is_folder) is expected


def test_hostile_patterns_are_matched_in_bounded_time() -> None:
    start = time.monotonic()
    assert not compile_glob("*a" * 60 + "*b").matches("a" * 255, False)
    assert not compile_glob("**/a/" * 40 + "b").matches("/".join("a" * 95), False)
    assert not compile_glob("[" * 2000).matches("a" * 255, False)
    assert not compile_glob("?*" * 100 + "b").matches("a" * 255, False)
    assert time.monotonic() - start < 1
