"""What dead runs have left is found and goes; what lives, or is somebody else's, stays."""

from __future__ import annotations

import dataclasses
import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from planloop.marks import Owner, make_home, mark, marks_in, parse_mark, state, this_process
from planloop.sandboxes import tree
from planloop.sandboxes.leavings import Leaving, left_here, left_in
from planloop.sandboxes.removing import remove

from .ghosts import ROOT, dead_mark, living_mark

ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make it")
NAMES = [
    "planloop-",
    "planloop-run-1-abc",
    "planloop-run-1.2.3.4.5-abc",
    "planloop-run-1.2.0.ffff.0.0-",
    "planloop--1.2.0.f.0.0-x",
    "planloop-engine.lock",
    "xplanloop-run-1.2.0.f.0.0-abc",
    "planloop-run-1.2.0.f.0.0-abc\n",
    "planloop-run-" + "9" * 300 + ".2.0.f.0.0-abc",
    "planloop-run-٣.2.0.f.0.0-abc",
]


def test_a_mark_names_its_run_and_its_process() -> None:
    found = parse_mark(mark("ab-c 3/../x"))
    assert found is not None
    assert found.run == "ab-c_3_.._x"
    assert found.owner == this_process()
    assert state(found.owner) == "alive"
    assert [one.name for one in marks_in(f"--bind /tmp/{found.name}/w /w")] == [found.name]


@pytest.mark.parametrize("name", NAMES)
def test_other_names_are_no_marks(name: str) -> None:
    assert parse_mark(name) is None


CHANGED: list[tuple[Callable[[Owner], Owner], str]] = [
    (lambda one: dataclasses.replace(one, tick=one.tick + 1), "dead"),
    (lambda one: dataclasses.replace(one, boot="00000001"), "dead"),
    (lambda one: dataclasses.replace(one, boot="00000001", machine="00000001"), "elsewhere"),
    (lambda one: dataclasses.replace(one, namespace="1"), "elsewhere"),
    (lambda one: dataclasses.replace(one, user=one.user + 1), "elsewhere"),
    (lambda one: dataclasses.replace(one, pid=1 << 22 | 1), "dead"),
]


@pytest.mark.parametrize(("change", "expected"), CHANGED)
def test_who_is_dead_is_decided_by_process_start_boot_and_place(
    change: Callable[[Owner], Owner], expected: str
) -> None:
    assert state(change(this_process())) == expected


def test_a_killed_process_that_nobody_has_waited_for_is_dead() -> None:
    code = "from planloop.marks import owner; print(owner(), flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        found = parse_mark(f"planloop-x-{process.stdout.readline().decode().strip()}-x")
        assert found is not None
        assert state(found.owner) == "alive"
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert state(found.owner) == "dead"


def test_folders_and_files_of_the_dead_are_found_and_those_of_the_living_are_not(
    tmp_path: Path,
) -> None:
    dead = dead_mark()
    (tmp_path / dead.name).mkdir()
    (tmp_path / f"{dead.name}x").write_text("spool")
    (tmp_path / "planloop-something").mkdir()
    mine = make_home(tmp_path, "mine")
    found = {Path(one.id).name: (one.kind, one.state) for one in left_in([tmp_path])}
    assert found == {
        dead.name: ("folder", "dead"),
        f"{dead.name}x": ("file", "dead"),
        mine.name: ("folder", "alive"),
    }


@ROOT_ONLY
def test_a_folder_of_another_user_is_left_whatever_it_is_called(tmp_path: Path) -> None:
    forged = tmp_path / dead_mark().name
    forged.mkdir()
    os.chown(forged, 12345, 12345)
    assert left_in([tmp_path]) == []
    with pytest.raises(PermissionError):
        remove(folder(forged))
    assert forged.is_dir()


def test_removing_follows_no_link_and_bears_a_hostile_tree(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "file").write_text("kept")
    home = tmp_path / dead_mark().name
    deep = home / "workspace"
    deep.mkdir(parents=True)
    (home / "link").symlink_to(precious)
    (deep / "loop").symlink_to(home)
    os.mkfifo(deep / "pipe")
    (deep / "closed" / "inner").mkdir(parents=True)
    (deep / "closed").chmod(0)
    at = os.open(deep, os.O_RDONLY)
    for _ in range(1200):
        os.mkdir("d", dir_fd=at)
        inner = os.open("d", os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = inner
    os.close(at)
    remove(folder(home))
    assert not home.exists()
    assert (precious / "file").read_text() == "kept"


@ROOT_ONLY
def test_removing_ends_with_an_error_where_something_is_mounted(tmp_path: Path) -> None:
    home = tmp_path / "home"
    point = home / "deep" / "point"
    point.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", point], check=True)
    try:
        (point / "file").write_text("kept")
        with ThreadPoolExecutor(1) as thread, pytest.raises(OSError) as raised:
            thread.submit(tree.remove, home).result(timeout=10)
        assert raised.value.errno == errno.EBUSY
        assert (point / "file").read_text() == "kept"
    finally:
        subprocess.run(["umount", point], check=True)
    tree.remove(home)
    assert not home.exists()


def test_two_may_remove_the_same_folder_at_once(tmp_path: Path) -> None:
    home = tmp_path / dead_mark().name
    for number in range(300):
        (home / str(number)).mkdir(parents=True)
        (home / str(number) / "file").touch()
    with ThreadPoolExecutor(4) as threads:
        for done in [threads.submit(remove, folder(home)) for _ in range(4)]:
            done.result(timeout=20)
    assert not home.exists()


def test_a_link_with_a_dead_owner_s_name_goes_and_its_target_stays(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (tmp_path / dead_mark().name).symlink_to(precious)
    (found,) = left_in([tmp_path])
    remove(found)
    assert [one.name for one in tmp_path.iterdir()] == ["precious"]


@ROOT_ONLY
def test_a_mount_in_a_folder_is_taken_off_and_what_it_showed_stays(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "file").write_text("kept")
    home = tmp_path / dead_mark().name
    point = home / "a mount"
    point.mkdir(parents=True)
    subprocess.run(["mount", "--bind", precious, point], check=True)
    try:
        found = [one for one in left_here([tmp_path]) if one.id.startswith(str(home))]
        assert [one.kind for one in found] == ["mount", "folder"]
        with pytest.raises(OSError, match="mounted"):
            remove(found[1])
        for one in found:
            remove(one)
    finally:
        subprocess.run(["umount", "-l", point], check=False, capture_output=True)
    assert not home.exists()
    assert (precious / "file").read_text() == "kept"


@pytest.fixture
def started() -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Starts processes that sleep, and ends what is left of them."""
    made: list[subprocess.Popen[bytes]] = []

    def start(*arguments: str, **environment: str) -> subprocess.Popen[bytes]:
        code = "import os; os.write(1, b'up'); os.read(0, 1)"
        made.append(
            subprocess.Popen(
                [sys.executable, "-c", code, *arguments],
                env={"PATH": os.defpath, **environment},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
        )
        assert made[-1].stdout is not None
        assert made[-1].stdout.read(2) == b"up"
        return made[-1]

    yield start
    for process in made:
        process.kill()
        process.communicate()


def test_processes_of_the_dead_are_ended_and_those_of_the_living_go_on(
    started: Callable[..., subprocess.Popen[bytes]],
) -> None:
    dead = dead_mark()
    with living_mark() as living:
        call = started(PLANLOOP_CALL=dead.name)
        guest = started(f"--bind=/tmp/{dead.name}/w", "/run/planloop/guest.py")
        others = [
            started(PLANLOOP_CALL=living.name),
            started(f"--bind=/tmp/{living.name}/w", "/run/planloop/guest.py"),
            started(f"/tmp/{dead.name}/notes.txt"),  # an editor, say
            started(PLANLOOP_CALL="nonsense"),
        ]
        found = {int(one.id): one for one in left_here([]) if one.kind == "process"}
        assert found[call.pid].state == found[guest.pid].state == "dead"
        assert found[others[0].pid].state == "alive"
        for process in (call, guest):
            remove(found[process.pid])
            assert process.wait(timeout=5) == -signal.SIGKILL
        remove(found[call.pid])  # gone already
        assert [other.poll() for other in others] == [None] * len(others)


def test_an_id_that_means_another_process_by_now_is_let_be(
    started: Callable[..., subprocess.Popen[bytes]],
) -> None:
    innocent = started()
    remove(Leaving(kind="process", id=str(innocent.pid), name="", run="", state="dead"))
    assert innocent.poll() is None


def test_a_control_group_of_the_dead_goes_with_its_processes(
    started: Callable[..., subprocess.Popen[bytes]],
) -> None:
    group = _control_group(dead_mark().name)
    process = started()
    (group / "cgroup.procs").write_text(str(process.pid))
    (found,) = (one for one in left_here([]) if one.id == str(group))
    assert (found.kind, found.state) == ("cgroup", "dead")
    remove(found)
    assert not group.exists()
    assert process.wait(timeout=5) == -signal.SIGKILL
    remove(found)


def _control_group(name: str) -> Path:
    for parent in (Path("/sys/fs/cgroup/pids"), Path("/sys/fs/cgroup")):
        try:
            (parent / name).mkdir()
        except OSError:
            continue
        return parent / name
    pytest.skip("no control group can be made here")


def folder(path: Path) -> Leaving:
    return Leaving(kind="folder", id=str(path), name=str(path), run="ghost", state="dead")
