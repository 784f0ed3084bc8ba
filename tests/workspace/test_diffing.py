from __future__ import annotations

import time
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from planloop.task import WorkspaceSpec
from planloop.workspace import Change, LeftOut, diff
from planloop.workspace.diffing import quoted

from .trees import TEXTS, Tree, build, edited, git, patient, read, trees

TEXT_TREES = trees(TEXTS)


def changes_between(tmp_path: Path, before: Tree, after: Tree) -> dict[str, str]:
    found = diff(build(before, tmp_path / "before"), build(after, tmp_path / "after"))
    return {change.path: change.kind for change in found.changes}


def test_each_kind_of_change_is_named(tmp_path: Path) -> None:
    before: Tree = {
        "same": (b"1\n", False),
        "edited": (b"1\n", False),
        "gone/x": (b"1\n", False),
        "run": (b"#!\n", False),
        "link": "same",
    }
    after: Tree = {
        "same": (b"1\n", False),
        "edited": (b"2\n", False),
        "new": (b"", False),
        "run": (b"#!\n", True),
        "link": "edited",
    }
    assert changes_between(tmp_path, before, after) == {
        "edited": "changed",
        "gone/x": "deleted",
        "link": "changed",
        "new": "added",
        "run": "mode",
    }


def test_equal_folders_have_no_diff(tmp_path: Path) -> None:
    tree: Tree = {"a": (b"\0\1", True), "b/c": (b"x", False), "l": "a"}
    found = diff(build(tree, tmp_path / "a"), build(tree, tmp_path / "b"))
    assert not found
    assert found.text == ""


def links_become_folders(before: Tree, after: Tree) -> bool:
    """Git itself cannot apply such a patch, nor its own."""
    links = [path for path, file in before.items() if isinstance(file, str)]
    return any(path.startswith(link + "/") for link in links for path in after)


@patient
@given(data=st.data(), before=TEXT_TREES)
def test_git_apply_of_the_text_on_the_original_gives_the_result(
    data: st.DataObject, before: Tree
) -> None:
    after = data.draw(edited(before, TEXTS))
    assume(
        not any(
            links_become_folders(one, other) for one, other in [(before, after), (after, before)]
        )
    )
    with TemporaryDirectory() as folder:
        old, new = build(before, Path(folder, "old")), build(after, Path(folder, "new"))
        text = diff(old, new).text
        if text:
            git(old, "apply", "--whitespace=nowarn", "-p1", "-", stdin=text.encode())
        assert read(old) == read(new)


@patient
@given(before=trees(), data=st.data())
def test_applied_changes_describe_every_difference(before: Tree, data: st.DataObject) -> None:
    after = data.draw(edited(before))
    with TemporaryDirectory() as folder:
        found = diff(build(before, Path(folder, "old")), build(after, Path(folder, "new")))
    differing = {
        path for path in before.keys() | after.keys() if before.get(path) != after.get(path)
    }
    assert {change.path for change in found.changes} == differing


def test_binary_files_are_named_and_not_shown(tmp_path: Path) -> None:
    old = build({"a.bin": (b"\0old", False), "latin": (b"a\n", False)}, tmp_path / "old")
    new = build({"a.bin": (b"\0new", False), "latin": (b"\xe9\n", False)}, tmp_path / "new")
    text = diff(old, new).text
    assert "Binary files a/a.bin and b/a.bin differ" in text
    assert "Binary files a/latin and b/latin differ" in text


def test_odd_names_are_quoted_as_git_quotes_them() -> None:
    assert quoted("a/plain name") == "a/plain name"
    assert quoted('a/"x"') == '"a/\\"x\\""'
    assert quoted("a/new\nline\\") == '"a/new\\nline\\\\"'
    assert quoted("a/\x1b]0;x\x07") == '"a/\\033]0;x\\a"'
    assert quoted("a/\u202egnp.exe") == '"a/\\342\\200\\256gnp.exe"'


def test_what_running_code_leaves_behind_is_no_change(tmp_path: Path) -> None:
    after: Tree = {
        "pkg/__pycache__/a.cpython-311.pyc": (b"1", False),
        "pkg/b.pyc": (b"1", False),
        ".pytest_cache/v/x": (b"1", False),
        ".planloop/runs/x": (b"1", False),
        ".git/hooks/post-checkout": (b"#!/bin/sh\n", True),
    }
    assert changes_between(tmp_path, {}, after) == {}


def test_new_files_that_the_original_ignores_are_named_and_are_no_change(tmp_path: Path) -> None:
    before: Tree = {".gitignore": (b"build/\n*.log\n", False), "kept.log": (b"1\n", False)}
    after: Tree = {
        ".gitignore": (b"*\n", False),
        "build/x": (b"1", False),
        "a.log": (b"1", False),
        "kept.log": (b"2\n", False),
        "new": (b"1", False),
    }
    found = diff(build(before, tmp_path / "old"), build(after, tmp_path / "new"))
    assert [change.path for change in found.changes] == [".gitignore", "kept.log", "new"]
    assert dict(found.left_out) == {
        "a.log": "ignored by `.gitignore:2`",
        "build/": "ignored by `.gitignore:1`",
    }


def test_an_included_folder_is_compared_though_it_is_ignored(tmp_path: Path) -> None:
    before: Tree = {".gitignore": (b"build/\n", False), "build/x": (b"1\n", False)}
    after: Tree = {".gitignore": (b"build/\n", False), "build/y": (b"1\n", False)}
    old, new = build(before, tmp_path / "old"), build(after, tmp_path / "new")
    found = diff(old, new, WorkspaceSpec(include=("build/",)))
    assert [(c.path, c.kind) for c in found.changes] == [
        ("build/x", "deleted"),
        ("build/y", "added"),
    ]


def test_links_that_leave_the_folder_are_named_and_are_no_change(tmp_path: Path) -> None:
    before: Tree = {"was": "here", "here": (b"", False)}
    after: Tree = {
        "was": "/etc/passwd",
        "here": (b"", False),
        "up": "../../x",
        "sly": "sub/../../x",
        "sub/ok": "../here",
    }
    found = diff(build(before, tmp_path / "old"), build(after, tmp_path / "new"))
    assert [change.path for change in found.changes] == ["sub/ok"]
    assert {path for path, _ in found.left_out} == {"was", "up", "sly"}


def test_a_file_that_became_a_special_file_is_no_deletion(tmp_path: Path) -> None:
    import os

    old, new = build({"a": (b"1", False)}, tmp_path / "old"), build({}, tmp_path / "new")
    os.mkfifo(new / "a")
    found = diff(old, new)
    assert found.changes == ()
    assert found.left_out == (("a", "is a named pipe"),)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"a\n" * 60_000, b"b\n" * 60_000),
        (b"a\nb\n" * 60_000, b"b\nb\na\n" * 40_000),
        (
            b"".join(b"%d\n" % i for i in range(80_000)),
            b"".join(b"%d\n" % -i for i in range(80_000)),
        ),
        (b"x" * 900_000, b"y" * 900_000),
        (b"\n" * 400_000 + b"a", b"a" + b"\n" * 400_000),
    ],
)
def test_pathological_texts_take_bounded_time_and_still_apply(
    tmp_path: Path, old: bytes, new: bytes
) -> None:
    first, second = (
        build({"f": (old, False)}, tmp_path / "a"),
        build({"f": (new, False)}, tmp_path / "b"),
    )
    start = time.monotonic()
    text = diff(first, second).text
    assert time.monotonic() - start < 10
    if "too long to show" not in text:
        git(first, "apply", "--whitespace=nowarn", "-", stdin=text.encode())
        assert read(first) == read(second)


def test_a_text_over_the_bound_says_what_it_leaves_out(tmp_path: Path) -> None:
    old = build({}, tmp_path / "old")
    new = build({f"f{i}": (b"line\n" * 150_000, False) for i in range(7)}, tmp_path / "new")
    found = diff(old, new)
    assert len(found.changes) == 7
    assert len(found.text) < 4_100_000
    assert found.text.endswith("… the diffs of 4 more files are not shown …\n") or (
        "more files are not shown" in found.text
    )


def test_a_large_file_is_named_with_its_size(tmp_path: Path) -> None:
    old = build({"f": (b"1", False)}, tmp_path / "old")
    new = build({"f": (b"line\n" * 300_000, False)}, tmp_path / "new")
    assert "too large to show: 1,500,000 bytes" in diff(old, new).text


def test_a_change_keeps_both_entries(tmp_path: Path) -> None:
    found = diff(
        build({"f": (b"1", False)}, tmp_path / "a"), build({"f": (b"12", True)}, tmp_path / "b")
    )
    (change,) = found.changes
    assert isinstance(change, Change)
    assert change.before is not None
    assert change.after is not None
    assert (change.before.size, change.after.size) == (1, 2)
    assert (change.before.mode, change.after.mode) == (0o644, 0o755)


def test_what_could_not_be_copied_out_is_no_deletion(tmp_path: Path) -> None:
    before: Tree = {"big": (b"1", False), "gone": (b"1", False)}
    old, new = build(before, tmp_path / "old"), build({}, tmp_path / "new")
    found = diff(old, new, present={"big", "other"})
    assert [(c.path, c.kind) for c in found.changes] == [("gone", "deleted")]
    assert found.left_out == (LeftOut("big", "could not be copied out of the sandbox"),)
