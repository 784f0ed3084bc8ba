"""Files of a workspace, for every backend: nothing follows, blocks, or leaves."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import anyio
import pytest

from planloop.observation import Status
from planloop.sandbox import Command, Sandbox, Snapshot

from . import hostile
from .conftest import python

pytestmark = pytest.mark.anyio

NONSENSE_PATHS = [
    "../x", "a/../../x", "/etc/passwd", "a\0b", "", "..", "a" * 5000, "a/" * 3000 + "x",
    "/proc/self/environ", "/dev/stdin", "/workspace-evil/x", "/workspace/../etc/passwd",
]  # fmt: skip
ODD_NAMES = [
    "~/.ssh/id_rsa", "~root/x", "a//..//x", "\\\\host\\share", "C:\\x", "file:///etc/passwd",
    "\u202etxt.py", "..\u2215x", "%2e%2e/x", "$HOME/x", "`id`", "x\n", "CON", ".git/hooks/x",
]  # fmt: skip


async def test_bytes_come_back_as_written_and_commands_see_them(sandbox: Sandbox) -> None:
    data = bytes(range(256)) * 5000
    await sandbox.write_file("new/deep/file.bin", data)
    assert await sandbox.read_file("/workspace/new/deep/file.bin") == data
    done = await sandbox.run(
        Command(line="wc -c <new/deep/file.bin; stat -c %U:%a new/deep/file.bin")
    )
    user = (await sandbox.run(Command(line="id -un"))).stdout.text.strip()
    assert done.stdout.text == f"{len(data)}\n{user}:644\n"
    await sandbox.run(Command(line="printf inside >by-command"))
    assert await sandbox.read_file("by-command") == b"inside"


async def test_writing_replaces_the_content_and_keeps_the_mode(sandbox: Sandbox) -> None:
    await sandbox.write_file("script", b"#!/bin/sh\necho a long line\n")
    await sandbox.run(Command(line="chmod 755 script"))
    await sandbox.write_file("script", b"#!/bin/sh\necho x\n")
    done = await sandbox.run(Command(argv=("./script",)))
    assert (done.status, done.stdout.text) == (Status.OK, "x\n")


async def test_missing_forbidden_and_folders_raise_as_open_would(sandbox: Sandbox) -> None:
    await sandbox.run(Command(line="mkdir d; echo x >secret; chmod 0 secret; mkdir -m 0 shut"))
    for path, error in (
        ("missing", FileNotFoundError),
        ("missing/x", FileNotFoundError),
        ("d", IsADirectoryError),
        (".", IsADirectoryError),
        ("/workspace", IsADirectoryError),
        ("secret", PermissionError),
        ("shut/x", PermissionError),
        ("secret/x", NotADirectoryError),
    ):
        with pytest.raises(error):
            await sandbox.read_file(path)
    for path, error in (
        ("d", IsADirectoryError),
        ("secret", PermissionError),
        ("shut/x", PermissionError),
        ("secret/x", NotADirectoryError),
    ):
        with pytest.raises(error):
            await sandbox.write_file(path, b"new")
    await sandbox.run(Command(line="chmod 700 shut"))


async def test_nonsense_paths_are_value_errors(sandbox: Sandbox) -> None:
    for path in NONSENSE_PATHS:
        with pytest.raises(ValueError) as reading:
            await sandbox.read_file(path)
        with pytest.raises(ValueError):
            await sandbox.write_file(path, b"x")
        assert "\n" not in str(reading.value)
        assert len(str(reading.value)) < 200


async def test_odd_names_are_plain_names(sandbox: Sandbox) -> None:
    for path in ODD_NAMES:
        with pytest.raises(FileNotFoundError):
            await sandbox.read_file(path)
        await sandbox.write_file(path, path.encode())
        assert await sandbox.read_file(path) == path.encode()


async def test_links_are_followed_inside_and_never_out(sandbox: Sandbox) -> None:
    await sandbox.run(
        Command(
            line="mkdir d; echo x >d/f; ln -s d/f in; ln -s /workspace/d abs; ln -s ../d/f d/up;"
            "ln -s /etc/passwd out; ln -s ../../etc/passwd rel; ln -s / root; ln -s self self;"
            "ln -s d/../../etc/passwd sly; ln -s /workspace/../etc/passwd odd; ln -s . dot"
        )
    )
    for path in ("in", "abs/f", "d/up", "dot/dot/abs/f"):
        assert await sandbox.read_file(path) == b"x\n"
    for path in ("out", "rel", "root/etc/passwd", "self", "sly", "odd"):
        with pytest.raises(ValueError, match="link"):
            await sandbox.read_file(path)
        with pytest.raises(ValueError, match="link"):
            await sandbox.write_file(path, b"x")


async def test_pipes_sockets_and_devices_are_refused_at_once(sandbox: Sandbox) -> None:
    await sandbox.run(
        python("import os, socket; os.mkfifo('fifo'); s = socket.socket(1); s.bind('s')")
    )
    with anyio.fail_after(5):
        for path in ("fifo", "s"):
            with pytest.raises(ValueError, match="not a regular file"):
                await sandbox.read_file(path)
            with pytest.raises(ValueError, match="not a regular file"):
                await sandbox.write_file(path, b"x")


async def test_large_and_sparse_files_are_refused_by_size(sandbox: Sandbox) -> None:
    await sandbox.run(Command(line="truncate -s 4T sparse; printf 123456 >six"))
    with pytest.raises(ValueError, match="larger than"):
        await sandbox.read_file("sparse")
    with pytest.raises(ValueError, match="6 bytes is larger than 5"):
        await sandbox.read_file("six", max_bytes=5)
    assert await sandbox.read_file("six", max_bytes=6) == b"123456"


async def test_scan_lists_files_and_links_and_sees_changes(sandbox: Sandbox) -> None:
    await sandbox.run(Command(line="mkdir -p a/b; echo 1 >a/b/f; ln -s / out; mkfifo p; echo 2 >g"))
    before = await sandbox.scan()
    assert sorted(before) == ["a/b/f", "g", "out"]
    assert before["g"].size == 2
    assert stat.S_ISLNK(before["out"].mode)
    await sandbox.run(
        Command(line="touch -r g ref; printf 3 | dd of=g conv=notrunc; touch -r ref g")
    )
    after = await sandbox.scan()
    assert after["g"] != before["g"]
    assert after["a/b/f"] == before["a/b/f"]


async def test_copy_in_keeps_modes_times_and_links(sandbox: Sandbox, tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "bin").mkdir(parents=True)
    (source / "bin" / "tool").write_text("#!/bin/sh\necho tool\n")
    (source / "bin" / "tool").chmod(0o755)
    (source / "plain").write_text("x")
    (source / "plain").chmod(0o644)
    os.utime(source / "plain", (1_000_000_000, 1_000_000_000))
    (source / "link").symlink_to("bin/tool")
    (source / "empty").mkdir(mode=0o750)
    await sandbox.copy_in(source)
    done = await sandbox.run(
        Command(
            line="./link; stat -c '%a %Y %F' plain bin/tool link empty; touch bin/new empty/new"
        )
    )
    assert done.status is Status.OK, done.stderr.text
    lines = done.stdout.text.splitlines()
    assert lines[:2] == ["tool", "644 1000000000 regular file"]
    assert lines[2].startswith("755")
    assert lines[3].endswith("symbolic link")
    assert lines[4].startswith("750")


async def test_copy_out_takes_files_and_harmless_links_and_names_the_rest(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    done = await sandbox.run(python(hostile.HOSTILE_TREE))
    assert done.status is Status.OK, done.stderr.text
    target = tmp_path / "target"
    target.mkdir()
    with anyio.fail_after(10):
        refused = await sandbox.copy_out(target, max_bytes=10_000_000, max_files=1000)
    assert (target / "real" / "file").read_text() == "kept"
    assert (target / "good_link").read_text() == "kept"
    assert stat.S_IMODE((target / "setuid").stat().st_mode) == 0o755
    assert (target / "$(id)").read_text() == "x"
    for name in ("abs_link", "rel_link", "rootdir", "sly", "endless", "fifo", "sock", "sparse"):
        assert not os.path.lexists(target / name)
        assert any(sentence.startswith(f"`{name}`: not copied") for sentence in refused), name
    assert any("folders deep" in sentence for sentence in refused)
    assert all("\x1b" not in s and "\n" not in s for s in refused)
    for link in (path for path in target.rglob("*") if path.is_symlink()):
        assert os.path.realpath(link).startswith(f"{target}")


async def test_copy_out_holds_its_bounds(sandbox: Sandbox, tmp_path: Path) -> None:
    await sandbox.run(Command(line="for i in 1 2 3 4 5 6; do head -c 1000 /dev/zero >$i; done"))
    for number, (max_bytes, max_files, kept) in enumerate(((3500, 100, 3), (100_000, 2, 2))):
        target = tmp_path / str(number)
        target.mkdir()
        refused = await sandbox.copy_out(target, max_bytes, max_files)
        assert len(list(target.iterdir())) == kept
        assert len(refused) == 6 - kept


async def test_several_snapshots_bring_the_workspace_back(sandbox: Sandbox) -> None:
    make = "mkdir d; echo 1 >d/f; chmod 700 d/f; ln -s d/f l"
    shut = "mkdir shut; echo 9 >shut/f; chmod 0 shut/f shut"
    await sandbox.run(Command(line=f"{make}; {shut}"))
    first = await sandbox.snapshot()
    await sandbox.run(Command(line="rm -r d l; echo 2 >other"))
    second = await sandbox.snapshot()
    await sandbox.restore(first)
    look = "cat l; stat -c %a d/f shut; ls; chmod 700 shut; stat -c %a shut/f; chmod 400 shut/f"
    done = await sandbox.run(Command(line=f"{look}; cat shut/f; rm -r shut; echo more >>d/f"))
    assert done.stdout.text == "1\n700\n0\nd\nl\nshut\n0\n9\n"
    await sandbox.restore(second)
    assert (await sandbox.run(Command(line="cat other; ls"))).stdout.text == "2\nother\nshut\n"
    await sandbox.restore(first)
    assert (await sandbox.run(Command(line="cat d/f"))).stdout.text == "1\n"
    with pytest.raises(ValueError, match="no snapshot"):
        await sandbox.restore(Snapshot("../etc"))


async def test_restore_ends_what_runs_and_copes_with_a_hostile_tree(sandbox: Sandbox) -> None:
    await sandbox.write_file("kept", b"x")
    snapshot = await sandbox.snapshot()
    async with anyio.create_task_group() as group:
        started = anyio.Event()
        statuses: list[Status] = []

        async def long() -> None:
            done = await sandbox.run(Command(line="echo; sleep 60"), lambda *_: started.set())
            statuses.append(done.status)

        group.start_soon(long)
        await started.wait()
        await sandbox.run(python(hostile.HOSTILE_TREE))
        await sandbox.restore(snapshot)
    assert statuses == [Status.KILLED]
    assert sorted(await sandbox.scan()) == ["kept"]


async def test_a_file_swapped_for_a_link_meanwhile_never_leads_out(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("host secret")
    swap = f"""
import os
while True:
    for make in (lambda: open("t", "w").close(), lambda: os.symlink({str(secret)!r}, "t")):
        try: os.unlink("t")
        except OSError: pass
        try: make()
        except OSError: pass
"""
    async with anyio.create_task_group() as group:
        group.start_soon(sandbox.run, python(swap, timeout_s=2))
        for number in range(300):
            try:
                assert await sandbox.read_file("t") == b""
            except (OSError, ValueError):
                continue
            if number % 100 == 0:
                target = tmp_path / f"out{number}"
                target.mkdir()
                await sandbox.copy_out(target, 1000, 100)
                assert not (target / "t").is_symlink()
    assert secret.read_text() == "host secret"
