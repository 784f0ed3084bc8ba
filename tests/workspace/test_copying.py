from __future__ import annotations

import os
import socket
import stat
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given

from planloop.errors import UserError
from planloop.task import WorkspaceSpec
from planloop.workspace import Copied, LeftOut, copy_workspace, manifest
from planloop.workspace.folders import open_regular

from .trees import Tree, build, git, patient, read, trees


def copied(
    tmp_path: Path, tree: Tree, spec: WorkspaceSpec | None = None
) -> tuple[set[str], dict[str, str]]:
    source = build(tree, tmp_path / "source")
    found = copy_workspace(source, tmp_path / "copy", spec or WorkspaceSpec())
    return set(read(tmp_path / "copy")), dict(found.left_out)


def some(*paths: str) -> Tree:
    return dict.fromkeys(paths, (b"x\n", False))


@patient
@given(tree=trees())
def test_a_copy_holds_what_the_folder_holds(tree: Tree) -> None:
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as base:
        source = build(tree, Path(base, "source"))
        found = copy_workspace(source, Path(base, "copy"), WorkspaceSpec())
        assert read(Path(base, "copy")) == tree
        assert found.left_out == ()
        assert found.files == len(tree)
        assert manifest(source) == manifest(Path(base, "copy"))


def test_secrets_are_left_out_with_a_reason(tmp_path: Path) -> None:
    secret = [".env", ".env.local", "a/.ENV", "server.key", "ca.pem", "id_rsa", "id_ed25519.pub"]
    secret += [".netrc", ".npmrc", ".pypirc", "credentials.json", ".aws/credentials", "x.tfstate"]
    public = [
        ".env.example",
        "credentials.py",
        "keys.txt",
        "monkey",
        "envrc",
        "environment.pem.txt",
    ]
    kept, left_out = copied(tmp_path, some(*secret, *public))
    assert kept == set(public)
    assert left_out[".env"] == "may hold secrets (an environment file)"
    assert left_out["server.key"] == "may be a private key"
    assert left_out[".aws/"] == "holds logins of a tool"


def test_caches_and_installed_things_are_left_out_as_folders(tmp_path: Path) -> None:
    tree = some(
        "node_modules/a/b.js", "v/pyvenv.cfg", "v/bin/python", "p/__pycache__/x.pyc", "a.py"
    )
    kept, left_out = copied(tmp_path, tree)
    assert kept == {"a.py"}
    assert left_out == {
        "node_modules/": "holds installed packages",
        "p/__pycache__/": "is made by running Python",
        "v/": "is a virtual environment",
    }


def test_include_brings_back_and_exclude_leaves_out(tmp_path: Path) -> None:
    tree = some(
        ".env", "node_modules/a/x.js", "node_modules/b/x.js", "build/out", "docs/a", "docs/b"
    )
    tree[".gitignore"] = (b"build/\n", False)
    spec = WorkspaceSpec(include=(".env", "node_modules/a", "build"), exclude=("docs/b",))
    kept, left_out = copied(tmp_path, tree, spec)
    assert kept == {".env", ".gitignore", "node_modules/a/x.js", "build/out", "docs/a"}
    assert left_out == {
        "docs/b": "excluded by `docs/b`",
        "node_modules/": "holds installed packages",
    }


def test_include_of_everything_brings_no_secret_and_nothing_of_planloop(tmp_path: Path) -> None:
    tree = some(".env", ".planloop/runs/x", "a.pyc", "b")
    kept, _ = copied(tmp_path, tree, WorkspaceSpec(include=("**", ".planloop/**", ".planloop")))
    assert kept == {"a.pyc", "b"}


def test_git_comes_on_demand_without_what_executes(tmp_path: Path) -> None:
    source = build(some("a", "sub/.git/config"), tmp_path / "source")
    git(source, "init", "-q", "-b", "main")
    git(source, "-c", "user.name=x", "-c", "user.email=x@y", "commit", "-qm", "1", "--allow-empty")
    build({".git/hooks/post-checkout": (b"#!/bin/sh\n", True)}, source)
    git(source, "branch", "config")
    plain = copy_workspace(source, tmp_path / "plain", WorkspaceSpec())
    assert set(read(tmp_path / "plain")) == {"a"}
    assert dict(plain.left_out)[".git/"].startswith("is version control data")
    with_git = copy_workspace(source, tmp_path / "git", WorkspaceSpec(git=True))
    paths = set(read(tmp_path / "git"))
    assert ".git/HEAD" in paths
    assert ".git/refs/heads/config" in paths
    assert not {path for path in paths if path.startswith(("sub", ".git/hooks"))}
    assert ".git/config" not in paths
    assert {".git/config", ".git/hooks/", "sub/.git/"} <= set(dict(with_git.left_out))
    assert git(tmp_path / "git", "log", "--format=%s").strip() == b"1"
    assert git(tmp_path / "git", "status", "--porcelain").strip() == b"?? a"


def test_special_files_odd_names_and_leaving_links_are_left_out(tmp_path: Path) -> None:
    source = build(some("a", "sub/b"), tmp_path / "source")
    os.mkfifo(source / "fifo")
    with socket.socket(socket.AF_UNIX) as listener:
        here = os.getcwd()
        os.chdir(source)
        listener.bind("sock")
        os.chdir(here)
    (source / "absolute").symlink_to(source / "a")
    (source / "up").symlink_to("../x")
    (source / "sub/inside").symlink_to("../a")
    (source / "dangling").symlink_to("nothing")
    (source / "loop").symlink_to(".")
    (source / "sub/sly").symlink_to("inside/../../../x")
    with open(os.fsencode(source) + b"/\xff\xfe", "wb"):
        pass
    found = copy_workspace(source, tmp_path / "copy", WorkspaceSpec())
    assert set(read(tmp_path / "copy")) == {"a", "sub/b", "sub/inside", "dangling", "loop"}
    why = dict(found.left_out)
    assert why["fifo"] == "is a named pipe"
    assert why["sock"] == "is a socket"
    assert why["absolute"] == why["up"] == why["sub/sly"] != ""
    assert why["\ufffd\ufffd"] == "its name is not UTF-8"


def test_only_the_executable_bit_is_kept(tmp_path: Path) -> None:
    source = build(some("a", "b", "c"), tmp_path / "source")
    (source / "a").chmod(0o6711)
    (source / "b").chmod(0o600)
    (source / "c").chmod(0o444)
    copy_workspace(source, tmp_path / "copy", WorkspaceSpec())
    modes = {n: stat.S_IMODE((tmp_path / "copy" / n).stat().st_mode) for n in "abc"}
    assert modes == {"a": 0o755, "b": 0o644, "c": 0o644}


def refused(source: Path, target: Path, spec: WorkspaceSpec | None = None) -> str:
    start = time.monotonic()
    with pytest.raises(UserError) as caught:
        copy_workspace(source, target, spec or WorkspaceSpec())
    assert time.monotonic() - start < 5
    assert not target.exists() or not list(target.iterdir())
    return str(caught.value)


def test_a_folder_of_ten_gigabytes_is_refused_at_once(tmp_path: Path) -> None:
    source = build(some("a", "data/small"), tmp_path / "source")
    with open(source / "data/huge", "wb") as file:
        file.truncate(10_000_000_000)
    text = refused(source, tmp_path / "copy")
    assert "10.0 GB" in text
    assert "at most 50,000 files, 1.0 GB" in text
    assert "largest: `data`" in text
    assert "workspace: {exclude:" in text


def test_too_many_files_are_refused(tmp_path: Path) -> None:
    source = build(some(*(f"d{i % 7}/f{i}" for i in range(600))), tmp_path / "source")
    text = refused(source, tmp_path / "copy", WorkspaceSpec(max_files=100))
    assert "600 files" in text


@pytest.mark.slow
def test_hundreds_of_thousands_of_files_are_refused_fast(tmp_path: Path) -> None:
    source = build(some("d0/f"), tmp_path / "source")
    for part in range(5):
        original = source / f"d{part}" / "f"
        original.parent.mkdir(exist_ok=True)
        original.touch()
        for i in range(50_000):
            os.link(original, f"{original}{i}")
    assert "too large to copy" in refused(source, tmp_path / "copy")


def test_ignored_entries_are_bounded_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("planloop.workspace.copying._MIN_ENTRIES", 50)
    source = build(some(*(f"{i}.log" for i in range(300))), tmp_path / "source")
    (source / ".gitignore").write_text("*.log\n")
    text = refused(source, tmp_path / "copy", WorkspaceSpec(max_files=10))
    assert "more than 50 entries" in text


def test_a_file_that_grows_between_look_and_copy_is_stopped_at_the_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = build(some("a"), tmp_path / "source")

    def grown(name: str, folder: int) -> int:
        with open(source / "a", "ab") as file:
            file.truncate(10_000_000_000)
        return open_regular(name, folder)

    monkeypatch.setattr("planloop.workspace.copying.open_regular", grown)
    text = refused(source, tmp_path / "copy", WorkspaceSpec(max_bytes=3_000_000))
    assert "too large to copy: more than" in text


def test_missing_and_unreadable_sources_are_clear_errors(tmp_path: Path) -> None:
    assert "nothing" in refused(tmp_path / "nothing", tmp_path / "copy")
    (tmp_path / "file").write_text("")
    assert "file" in refused(tmp_path / "file", tmp_path / "copy")


def test_a_target_that_is_not_empty_is_refused_and_left_alone(tmp_path: Path) -> None:
    source, target = build(some("a"), tmp_path / "source"), build(some("mine"), tmp_path / "copy")
    with pytest.raises(UserError, match="not empty"):
        copy_workspace(source, target, WorkspaceSpec())
    assert set(read(target)) == {"mine"}


def test_folders_nested_too_deep_are_left_out(tmp_path: Path) -> None:
    source = build(some("a"), tmp_path / "source")
    folder = os.open(source, os.O_RDONLY)
    for _ in range(300):
        os.mkdir("d", dir_fd=folder)
        below = os.open("d", os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = below
    os.close(folder)
    found = copy_workspace(source, tmp_path / "copy", WorkspaceSpec())
    assert found == Copied(1, 2, (LeftOut("d/" * 100, "is nested too deep"),))
    assert list(manifest(source)) == ["a"]


def test_a_folder_that_is_swapped_for_a_link_leads_nowhere(tmp_path: Path) -> None:
    """A file system that changes all the time: nothing from outside is ever in a copy."""
    outside = build({"f": (b"secret\n", False)}, tmp_path / "outside")
    source = build(some("d/f"), tmp_path / "source")
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            os.rename(source / "d", source / "real")
            os.symlink(outside, source / "d")
            os.unlink(source / "d")
            os.rename(source / "real", source / "d")

    swapper = threading.Thread(target=swap)
    swapper.start()
    try:
        for i in range(150):
            target = tmp_path / f"copy{i}"
            copy_workspace(source, target, WorkspaceSpec())
            assert b"secret\n" not in {
                f[0] for f in read(target).values() if not isinstance(f, str)
            }
    finally:
        stop.set()
        swapper.join()


def test_ignore_files_of_search_tools_count_too_and_decide(tmp_path: Path) -> None:
    tree = some("a.log", "b.log", "sub/c.tmp", "sub/d.tmp")
    tree[".gitignore"] = (b"*.log\r\n*.tmp\n", False)
    tree[".ignore"] = (b"!b.log\n", False)
    tree["sub/.gitignore"] = (b"!d.tmp\n", False)
    kept, left_out = copied(tmp_path, tree)
    assert kept == {".gitignore", ".ignore", "sub/.gitignore", "b.log", "sub/d.tmp"}
    assert left_out == {
        "a.log": "ignored by `.gitignore:1`",
        "sub/c.tmp": "ignored by `.gitignore:2`",
    }


def test_an_ignore_file_that_is_a_link_or_no_text_is_not_read(tmp_path: Path) -> None:
    outside = build({"rules": (b"*\n", False)}, tmp_path / "outside")
    source = build(some("a", "sub/b"), tmp_path / "source")
    (source / ".gitignore").symlink_to(outside / "rules")
    (source / "sub/.gitignore").write_bytes(b"\xff\xfe\0\n[\n\\\n")
    copy_workspace(source, tmp_path / "copy", WorkspaceSpec())
    assert set(read(tmp_path / "copy")) == {"a", "sub/b", "sub/.gitignore"}


def test_a_git_file_of_a_worktree_is_left_out_even_if_git_is_wanted(tmp_path: Path) -> None:
    kept, left_out = copied(tmp_path, some(".git", "a", "x/.GIT"), WorkspaceSpec(git=True))
    assert kept == {"a"}
    assert set(left_out) == {".git", "x/.GIT"}
