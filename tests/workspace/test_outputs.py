from __future__ import annotations

from pathlib import Path

import pytest

from planloop.errors import UserError
from planloop.workspace import collect_outputs

from .trees import Tree, build, read


def collected(tmp_path: Path, tree: Tree, *patterns: str) -> tuple[tuple[str, ...], Tree]:
    run = tmp_path / "run"
    run.mkdir(exist_ok=True)
    found = collect_outputs(patterns, build(tree, tmp_path / "result"), run)
    return found, read(run)


def test_files_that_match_are_copied_with_their_folders(tmp_path: Path) -> None:
    tree: Tree = {"report.md": (b"1", False), "out/a/b.csv": (b"2", True), "other": (b"3", False)}
    found, copied = collected(tmp_path, tree, "report.md", "out/**")
    assert found == ("out/a/b.csv", "report.md")
    assert copied == {"outputs/report.md": (b"1", False), "outputs/out/a/b.csv": (b"2", False)}


def test_links_and_protected_folders_are_not_copied(tmp_path: Path) -> None:
    tree: Tree = {
        "l": "/etc/passwd",
        "d": "/etc",
        ".git/x": (b"1", False),
        ".planloop/x": (b"1", False),
    }
    assert collected(tmp_path, tree, "**") == ((), {})


def test_nothing_asked_for_is_nothing_made(tmp_path: Path) -> None:
    assert collected(tmp_path, {"a": (b"1", False)}) == ((), {})


def test_collecting_again_replaces_what_was_there(tmp_path: Path) -> None:
    collected(tmp_path, {"a": (b"1", False)}, "a")
    assert collected(tmp_path, {"a": (b"2", False)}, "a")[1] == {"outputs/a": (b"2", False)}


def test_outputs_over_the_bound_are_refused_and_none_is_copied(tmp_path: Path) -> None:
    result = build({"a": (b"1", False)}, tmp_path / "result")
    with open(result / "huge", "wb") as file:
        file.truncate(5_000_000_000)
    with pytest.raises(UserError, match=r"5\.0 GB"):
        collected(tmp_path, {}, "**")
    assert read(tmp_path / "run") == {}
