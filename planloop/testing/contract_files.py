"""The contract of a sandbox's files and snapshots: nothing follows, blocks, leaves or lingers."""

from __future__ import annotations

import os
from pathlib import Path

import anyio
import pytest

from planloop.observation import Status
from planloop.sandbox import Command, Sandbox, Snapshot
from planloop.testing.contract_base import HANGS_S, Cases, output

NONSENSE_PATHS = (
    "../x", "a/../../x", "/etc/passwd", "a\0b", "", "..", "a" * 5000, "a/" * 3000 + "x",
    "/proc/self/environ", "/dev/stdin", "/workspace-evil/x", "/workspace/../etc/passwd",
)  # fmt: skip
ODD_NAMES = (
    "~/.ssh/id_rsa", "~root/x", "a//..//x", "\\\\host\\share", "C:\\x", "file:///etc/passwd",
    "\u202etxt.py", "..\u2215x", "%2e%2e/x", "$HOME/x", "`id`", "x\n", "CON", ".git/hooks/x",
)  # fmt: skip
HOSTILE_TREE = (
    "ln -s /etc/passwd absolute; ln -s ../../../etc/passwd relative; ln -s / root; ln -s . loop; "
    "ln -s self self; ln -s loop/.. sly; ln -s real/file good; mkdir real; echo kept >real/file; "
    "mkfifo fifo; echo x >'$(id)'; echo x >secret; chmod 0 secret"
)

MAP = """
import mmap
with open("f", "r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
    mapped[0:1] = b"b" if mapped[0:1] == b"a" else b"?"
"""
TICK_S = 0.05
"""After which two changes surely have different times."""


class Files(Cases):
    """Reading, writing, copying."""

    async def test_bytes_come_back_as_written_and_commands_see_them(self, sandbox: Sandbox) -> None:
        for data in (b"", b"text\n", bytes(range(256)) * 5000, os.urandom(8_000_000)):
            await sandbox.write_file("new/deep/file.bin", data)
            assert await sandbox.read_file("/workspace/new/deep/file.bin") == data
            assert await output(sandbox, "wc -c <new/deep/file.bin") == f"{len(data)}\n"
        await sandbox.run(Command(line="printf inside >by-command"))
        assert await sandbox.read_file("by-command") == b"inside"

    async def test_writing_replaces_the_content_and_keeps_the_mode(self, sandbox: Sandbox) -> None:
        await sandbox.write_file("script", b"#!/bin/sh\necho a long line\n")
        await sandbox.run(Command(line="chmod 755 script"))
        await sandbox.write_file("script", b"#!/bin/sh\necho x\n")
        assert (await sandbox.run(Command(argv=("./script",)))).stdout.text == "x\n"

    async def test_a_file_larger_than_asked_for_is_refused(self, sandbox: Sandbox) -> None:
        await sandbox.write_file("file", b"x" * 1001)
        assert len(await sandbox.read_file("file", max_bytes=1001)) == 1001
        with pytest.raises(ValueError, match="1001"):
            await sandbox.read_file("file", max_bytes=1000)

    async def test_missing_forbidden_and_folders_raise_as_open_would(
        self, sandbox: Sandbox
    ) -> None:
        await sandbox.run(Command(line="mkdir d; echo x >file"))
        for path, error in (
            ("missing", FileNotFoundError),
            ("missing/x", FileNotFoundError),
            ("d", IsADirectoryError),
            (".", IsADirectoryError),
            ("/workspace", IsADirectoryError),
            ("file/x", NotADirectoryError),
        ):
            with pytest.raises(error):
                await sandbox.read_file(path)
        for path, error in (("d", IsADirectoryError), ("file/x", NotADirectoryError)):
            with pytest.raises(error):
                await sandbox.write_file(path, b"new")

    async def test_nonsense_paths_are_value_errors(self, sandbox: Sandbox) -> None:
        for path in NONSENSE_PATHS:
            with pytest.raises(ValueError) as reading:
                await sandbox.read_file(path)
            with pytest.raises(ValueError):
                await sandbox.write_file(path, b"x")
            assert "\n" not in str(reading.value)
            assert len(str(reading.value)) < 200

    async def test_odd_names_are_plain_names(self, sandbox: Sandbox) -> None:
        for path in ODD_NAMES:
            with pytest.raises(FileNotFoundError):
                await sandbox.read_file(path)
            await sandbox.write_file(path, path.encode())
            assert await sandbox.read_file(path) == path.encode()

    async def test_links_are_followed_inside_and_never_out(self, sandbox: Sandbox) -> None:
        await sandbox.run(
            Command(
                line="mkdir d; echo x >d/f; ln -s d/f in; ln -s ../d/f d/up; ln -s . dot;"
                "ln -s /etc/passwd out; ln -s ../../etc/passwd rel; ln -s / root; ln -s self self;"
                "ln -s d/../../etc/passwd sly; ln -s /workspace/../etc/passwd odd"
            )
        )
        for path in ("in", "d/up", "dot/dot/d/f"):
            assert await sandbox.read_file(path) == b"x\n"
        for path in ("out", "rel", "root/etc/passwd", "self", "sly", "odd"):
            with pytest.raises((ValueError, OSError)):
                await sandbox.read_file(path)
            with pytest.raises((ValueError, OSError)):
                await sandbox.write_file(path, b"x")

    async def test_pipes_are_refused_at_once(self, sandbox: Sandbox) -> None:
        await sandbox.run(Command(line="mkfifo fifo"))
        with anyio.fail_after(HANGS_S):
            with pytest.raises((ValueError, OSError)):
                await sandbox.read_file("fifo")
            with pytest.raises((ValueError, OSError)):
                await sandbox.write_file("fifo", b"x")

    async def test_a_scan_lists_files_and_links_and_shows_each_change(
        self, sandbox: Sandbox
    ) -> None:
        await sandbox.run(Command(line="mkdir d; echo 1 >d/f; echo 1 >same; ln -s / l; mkfifo p"))
        before = await sandbox.scan()
        assert sorted(before) == ["d/f", "l", "same"]
        await sandbox.run(Command(line="printf 2 >d/f; touch new"))
        after = await sandbox.scan()
        assert after["same"] == before["same"]
        assert after["d/f"] != before["d/f"]
        assert "new" in after

    async def test_copying_in_keeps_modes_links_and_empty_folders(
        self, sandbox: Sandbox, tmp_path: Path
    ) -> None:
        source = tmp_path / "source"
        (source / "bin").mkdir(parents=True)
        (source / "bin" / "tool").write_text("#!/bin/sh\necho tool\n")
        (source / "bin" / "tool").chmod(0o755)
        (source / "plain").write_text("x")
        os.utime(source / "plain", (1_000_000_000, 1_000_000_000))
        (source / "link").symlink_to("bin/tool")
        (source / "empty").mkdir()
        await sandbox.copy_in(source)
        look = "./link; stat -c '%Y %F' plain empty; readlink link; touch bin/new empty/new plain"
        done = await sandbox.run(Command(line=look))
        lines = ["tool", "1000000000 regular file", "bin/tool"]
        assert [line for line in done.stdout.text.splitlines() if "directory" not in line] == lines
        assert done.status is Status.OK

    async def test_copying_out_takes_files_and_harmless_links_and_names_the_rest(
        self, sandbox: Sandbox, tmp_path: Path
    ) -> None:
        await sandbox.run(Command(line=HOSTILE_TREE))
        target = tmp_path / "target"
        target.mkdir()
        with anyio.fail_after(HANGS_S):
            refused = await sandbox.copy_out(target, max_bytes=10_000_000, max_files=1000)
        assert (target / "real" / "file").read_text() == "kept\n"
        assert (target / "good").read_text() == "kept\n"
        assert (target / "$(id)").read_text() == "x\n"
        for name in ("absolute", "relative", "root", "sly", "fifo"):
            assert not os.path.lexists(target / name)
            assert any(name in sentence for sentence in refused), name
        for link in (path for path in target.rglob("*") if path.is_symlink()):
            assert os.path.realpath(link).startswith(f"{target}")

    async def test_copying_out_holds_its_bounds(self, sandbox: Sandbox, tmp_path: Path) -> None:
        await sandbox.run(Command(line="for i in 1 2 3 4 5 6; do head -c 1000 /dev/zero >$i; done"))
        for number, (max_bytes, max_files, kept) in enumerate(((3500, 100, 3), (100_000, 2, 2))):
            target = tmp_path / str(number)
            target.mkdir()
            refused = await sandbox.copy_out(target, max_bytes, max_files)
            assert len(list(target.iterdir())) == kept
            assert len(refused) == 6 - kept


class Snapshots(Cases):
    """States of the workspace."""

    async def test_each_of_several_snapshots_comes_back(self, sandbox: Sandbox) -> None:
        make = "mkdir d e; echo 1 >d/f; chmod 700 d/f; ln -s d/f l; touch -d @1000 d/f"
        await sandbox.run(Command(line=make))
        first = await sandbox.snapshot()
        await sandbox.run(Command(line="rm -r d e l; echo 2 >other"))
        second = await sandbox.snapshot()
        for _ in range(2):
            await sandbox.restore(first)
            look = "cat l; stat -c '%a %Y' d/f; ls; stat -c %F e; echo more >>d/f"
            assert await output(sandbox, look) == "1\n700 1000\nd\ne\nl\ndirectory\n"
            await sandbox.restore(second)
            assert await output(sandbox, "cat other; ls") == "2\nother\n"

    async def test_a_change_that_keeps_size_and_times_is_seen(self, sandbox: Sandbox) -> None:
        await sandbox.run(Command(line="printf a >f; touch -d @1000 f"))
        first = await sandbox.snapshot()
        await sandbox.run(Command(line="printf b >f; touch -d @1000 f"))
        second = await sandbox.snapshot()
        for snapshot, content in ((first, b"a"), (second, b"b")):
            await sandbox.restore(snapshot)
            assert await sandbox.read_file("f") == content

    async def test_a_change_through_a_mapping_is_seen(self, sandbox: Sandbox) -> None:
        """Of a file in memory such a write changes neither size nor time of change."""
        await sandbox.write_file("f", b"a" * 5000)
        await anyio.sleep(TICK_S)
        await sandbox.run(Command(line="cat f"))  # later than the last change, as most files
        await anyio.sleep(TICK_S)
        first = await sandbox.snapshot()
        await anyio.sleep(TICK_S)
        assert (await sandbox.run(Command(argv=("python3", "-c", MAP)))).status is Status.OK
        second = await sandbox.snapshot()
        for snapshot, content in ((first, b"a"), (second, b"b")):
            await sandbox.restore(snapshot)
            assert (await sandbox.read_file("f"))[:1] == content

    async def test_another_kind_in_a_places_stead_is_replaced_and_never_followed(
        self, sandbox: Sandbox
    ) -> None:
        await sandbox.run(Command(line="mkdir d; echo 1 >d/f; echo 2 >g; ln -s g l"))
        snapshot = await sandbox.snapshot()
        await sandbox.run(
            Command(line="rm -r d g l; ln -s /tmp d; mkdir g; touch g/x; echo 3 >l; mkdir -m 0 no")
        )
        await sandbox.restore(snapshot)
        assert await output(sandbox, "cat d/f g; readlink l; ls; ls /tmp/f") == (
            "1\n2\ng\nd\ng\nl\n"
        )

    async def test_a_hostile_tree_is_remembered_and_cleared(self, sandbox: Sandbox) -> None:
        await sandbox.write_file("kept", b"x")
        plain = await sandbox.snapshot()
        await sandbox.run(Command(line=HOSTILE_TREE))
        with anyio.fail_after(HANGS_S):
            await sandbox.snapshot()
            await sandbox.restore(plain)
        assert await output(sandbox, "ls -A") == "kept\n"

    async def test_an_unknown_or_forgotten_snapshot_is_refused_and_others_stay(
        self, sandbox: Sandbox
    ) -> None:
        await sandbox.write_file("f", b"1")
        first = await sandbox.snapshot()
        await sandbox.write_file("f", b"2")
        second = await sandbox.snapshot()
        await sandbox.forget(first)
        await sandbox.forget(first)
        for gone in (first, Snapshot("../etc")):
            with pytest.raises(ValueError, match="no snapshot"):
                await sandbox.restore(gone)
        await sandbox.write_file("f", b"3")
        await sandbox.restore(second)
        assert await sandbox.read_file("f") == b"2"

    async def test_a_running_call_survives_a_snapshot_and_ends_with_a_restore(
        self, sandbox: Sandbox
    ) -> None:
        statuses: list[Status] = []
        started = anyio.Event()

        async def long() -> None:
            done = await sandbox.run(Command(line="echo; sleep 60"), lambda *_: started.set())
            statuses.append(done.status)

        with anyio.fail_after(HANGS_S):
            async with anyio.create_task_group() as group:
                group.start_soon(long)
                await started.wait()
                snapshot = await sandbox.snapshot()
                assert (await sandbox.run(Command(line="true"))).status is Status.OK
                assert statuses == []
                await sandbox.restore(snapshot)
        assert statuses == [Status.KILLED]
