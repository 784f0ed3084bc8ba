"""Parts of bubblewrap's walls: causes of refusal, control groups, the first process's orders."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from planloop.errors import UserError
from planloop.sandbox import ENVIRONMENT, Command, Limits, SandboxSpec
from planloop.sandboxes import open_sandbox
from planloop.sandboxes.cgroup import NO_CGROUP, Cgroup, hand_down, parents
from planloop.sandboxes.first_process import Words, files
from planloop.sandboxes.refused import Facts, cause
from planloop.sandboxes.stage import find_stage

DENIED = "bwrap: setting up uid map: Permission denied"


@pytest.mark.parametrize(
    ("facts", "why"),
    [
        (
            Facts(said=DENIED, apparmor_restricts=True),
            "AppArmor restricts user namespaces "
            "(kernel.apparmor_restrict_unprivileged_userns is 1)",
        ),
        (
            Facts(
                said="bwrap: loopback: Failed RTM_NEWADDR: Operation not permitted",
                apparmor_restricts=True,
            ),
            "AppArmor restricts user namespaces "
            "(kernel.apparmor_restrict_unprivileged_userns is 1)",
        ),
        (
            Facts(said=DENIED, user_namespaces=False),
            "user namespaces are switched off (kernel.unprivileged_userns_clone is 0)",
        ),
        (
            Facts(said="bwrap: No space left on device", most_user_namespaces=0, root=True),
            "user namespaces are switched off (user.max_user_namespaces is 0)",
        ),
        (
            Facts(said="bwrap: Can't mount proc on /newroot/proc: Operation not permitted"),
            "this is a container whose /proc is masked",
        ),
        (
            Facts(
                said="bwrap: Creating new namespace failed: Operation not permitted",
                container=True,
                filtered=True,
            ),
            "this is a container whose seccomp filter refuses new namespaces",
        ),
        (Facts(said="bwrap: Unknown option --disable-userns"), "bwrap is older than 0.8"),
    ],
)
def test_a_refusal_has_its_cause(facts: Facts, why: str) -> None:
    found = cause(facts)
    assert found is not None
    assert found.why == why
    assert found.hint


@pytest.mark.parametrize(
    "facts",
    [
        Facts(said="bwrap: execvp /usr/bin/python3: No such file or directory"),
        Facts(said="it did not start", apparmor_restricts=True),
        Facts(said=DENIED, user_namespaces=False, root=True),
        Facts(said=DENIED, container=True, most_user_namespaces=100),
        Facts(said=DENIED, filtered=True),
    ],
)
def test_no_cause_is_made_up(facts: Facts) -> None:
    assert cause(facts) is None


def test_groups_of_version_1_are_made_below_our_own(tmp_path: Path) -> None:
    own = tmp_path / "memory" / "session"
    own.mkdir(parents=True)
    assert parents(own, tmp_path) == [own]


def test_groups_of_version_2_may_be_made_above_but_never_outside(tmp_path: Path) -> None:
    own = tmp_path / "user.slice" / "app.slice" / "run.scope"
    own.mkdir(parents=True)
    (own / "cgroup.controllers").write_text("memory pids\n")
    assert parents(own, tmp_path) == [
        own,
        own.parent,
        own.parent.parent,
        tmp_path,
    ]


@pytest.mark.parametrize(("before", "after"), [("cpu", "+memory"), ("cpu memory", "cpu memory")])
def test_a_controller_is_handed_down_once(tmp_path: Path, before: str, after: str) -> None:
    (tmp_path / "cgroup.subtree_control").write_text(before)
    hand_down(tmp_path, "memory")
    assert (tmp_path / "cgroup.subtree_control").read_text() == after


def test_a_group_that_takes_no_process_says_so(tmp_path: Path) -> None:
    made = Cgroup((tmp_path,), holds_memory=True, holds_processes=True)
    assert not made.add(os.getpid())
    assert NO_CGROUP.add(os.getpid())


def test_words_leave_out_what_is_not_limited() -> None:
    words = Words(door="7", workspace="/w", listen=[("127.0.0.1", 3128), ("::1", 80)], processes=9)
    assert words.arguments() == [
        "door=7",
        "workspace=/w",
        "listen=3128,127.0.0.1",
        "listen=80,::1",
        "processes=9",
    ]


def test_the_first_process_brings_code_for_this_interpreter() -> None:
    source, compiled = files().items()
    assert source[0] == "guest.py"
    assert re.fullmatch(r"__pycache__/guest\.cpython-\d+\.pyc", compiled[0])
    assert b"exited" in compiled[1]


@pytest.mark.anyio
@pytest.mark.skipif(os.geteuid() != 0, reason="a plain user has no such port anywhere")
async def test_a_port_that_cannot_be_opened_inside_is_one_clear_error(tmp_path: Path) -> None:
    spec = SandboxSpec(kind="bubblewrap", network=("127.0.0.1:80",))
    with pytest.raises(UserError, match=r"nothing can listen on 127\.0\.0\.1:80 inside"):
        await open_sandbox(spec, run_id="ports", state_dir=tmp_path / "s")
    assert not list(tmp_path.glob("s/*"))


def test_odd_folders_are_written_as_tables_of_mounts_want_it(tmp_path: Path) -> None:
    home = tmp_path / "a b#\\c"
    home.mkdir()
    stage = find_stage(home, SandboxSpec(limits=Limits(disk_bytes=64_000, inodes=16)), None)
    assert stage is not None
    stage.prepare()
    first = (home / "fstab").read_text().splitlines()[0]
    place = f"{tmp_path}/a\\040b\\043\\134c/workspace"
    assert first.startswith(f"tmpfs {place} tmpfs size=64000,nr_inodes=16,mode=0700")


@pytest.mark.anyio
async def test_an_environment_in_a_closed_folder_is_shown_read_only(tmp_path: Path) -> None:
    made = tmp_path / "closed" / "environment"
    made.mkdir(parents=True)
    (made / "tool").write_text("installed")
    made.parent.chmod(0o700)
    spec = SandboxSpec(kind="bubblewrap", environment=made)
    sandbox = await open_sandbox(spec, run_id="closed", state_dir=tmp_path / "s")
    assert sandbox is not None
    try:
        line = f"cat {ENVIRONMENT}/tool; echo more > {ENVIRONMENT}/tool"
        done = await sandbox.run(Command(line=line))
    finally:
        await sandbox.close()
    assert (done.stdout.text, done.exit_code) == ("installed", 2)
    assert "Read-only file system" in done.stderr.text
