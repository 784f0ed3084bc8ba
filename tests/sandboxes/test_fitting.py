"""What has no room in a workspace: one error, and no file that is lost for it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from planloop.errors import SandboxLost, UserError
from planloop.sandbox import Command, Sandbox

from .conftest import SMALL, Opened

pytestmark = pytest.mark.anyio


async def test_a_folder_of_too_many_bytes_is_one_error(opened: Opened, tmp_path: Path) -> None:
    sandbox = await opened(dataclasses.replace(SMALL, disk_bytes=2_000_000))
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "large").write_bytes(b"x" * 4_096_000)
    with pytest.raises(UserError, match=r"has 4\.1 MB in 1 files.*room for 2\.0 MB") as caught:
        await sandbox.copy_in(folder)
    assert "raise `disk`" in (caught.value.hint or "")


async def test_a_folder_of_too_many_files_is_one_error(opened: Opened, tmp_path: Path) -> None:
    sandbox = await opened(dataclasses.replace(SMALL, inodes=20))
    folder = tmp_path / "folder"
    folder.mkdir()
    for number in range(30):
        (folder / str(number)).write_text("")
    with pytest.raises(UserError, match=r"in 30 files and folders.* in 20\n") as caught:
        await sandbox.copy_in(folder)
    assert "raise `inodes`" in (caught.value.hint or "")


async def test_a_state_that_fits_no_more_is_one_error(opened: Opened) -> None:
    sandbox = await opened(dataclasses.replace(SMALL, disk_bytes=4_000_000))
    done = await sandbox.run(Command(line="head -c 3M /dev/zero | tr '\\0' x > a; ln a b"))
    assert done.exit_code == 0
    taken = await sandbox.snapshot()
    await sandbox.run(Command(line="rm a b"))
    with pytest.raises(SandboxLost, match="no room is left: the files cannot be restored"):
        await sandbox.restore(taken)


async def test_the_files_have_no_more_room_than_memory(opened: Opened) -> None:
    sandbox = await opened(dataclasses.replace(SMALL, disk_bytes=1 << 30))
    done = await sandbox.run(Command(line="df -B1 --output=size . | tail -1"))
    assert int(done.stdout.text) == 96 << 20


async def test_a_write_without_room_leaves_the_file(opened: Opened) -> None:
    sandbox = await opened(dataclasses.replace(SMALL, disk_bytes=1_000_000))
    await sandbox.run(Command(line="echo old > kept; chmod 640 kept; ln kept twin"))
    for path in ("kept", "new"):
        with pytest.raises(OSError, match="No space"):
            await sandbox.write_file(path, b"x" * 3_000_000)
    assert await sandbox.read_file("kept") == b"old\n"
    assert sorted(await sandbox.scan()) == ["kept", "twin"]


async def test_a_write_keeps_mode_and_names(sandbox: Sandbox) -> None:
    await sandbox.run(Command(line="echo longer than before > f; chmod 640 f; ln f twin"))
    await sandbox.write_file("f", b"short")
    done = await sandbox.run(Command(line="stat -c '%a %h %U' f; id -un; cat twin"))
    mode, user = done.stdout.text.splitlines()[:2]
    assert mode == f"640 2 {user}"
    assert done.stdout.text.endswith("\nshort")
    await sandbox.write_file("f", b"")
    assert await sandbox.read_file("twin") == b""
