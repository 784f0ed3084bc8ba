"""`planloop doctor --probe`: each limit of a real sandbox, tried and shown."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from console import SCRIPT, Shell

KINDS = ["bubblewrap", pytest.param("docker", marks=pytest.mark.docker)]
LIMITS = {
    "network", "files outside", "secrets", "privileges", "kernel doors", "time", "output",
    "processes", "disk", "inodes", "scratch", "memory",
}  # fmt: skip


PAGE = Path(__file__).parents[2] / "docs" / "security.md"
WITHOUT_CONTROL_GROUPS = 'mount -t tmpfs -o ro none /sys/fs/cgroup && exec "$0" "$@"'


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def cluttered(shell: Shell) -> Shell:
    """A host with secrets in its environment and home."""
    shell.environ.update(OPENAI_API_KEY="sk-canary-1", DEPLOY_PASSWORD="canary-2")
    (shell.home / ".netrc").write_text("password canary-3")
    return shell


def test_every_limit_holds_and_says_how_it_was_seen(cluttered: Shell, kind: str) -> None:
    ran = cluttered("doctor", "--probe", "--sandbox", kind, "--json")
    rows = {row["limit"]: row for row in map(json.loads, ran.out.splitlines())}
    assert rows.keys() == LIMITS
    assert {row["kind"] for row in rows.values()} == {"limit"}
    assert {row["sandbox"] for row in rows.values()} == {kind}
    open_ones = {row["limit"]: row["seen"] for row in rows.values() if not row["holds"]}
    if os.geteuid() == 0 and os.access("/sys/fs/cgroup", os.W_OK):
        assert open_ones == {}
    assert all(rows[limit]["announced"] for limit in open_ones)
    assert ran.code == 0
    assert ran.err == ""
    assert "wrote 16 MB, then ENOSPC" in rows["disk"]["seen"]
    assert "then ENOSPC" in rows["inodes"]["seen"]
    assert "the kernel ended" in rows["memory"]["seen"]
    assert "fork " in rows["processes"]["seen"]


def test_it_reads_well_piped_and_on_eighty_columns_and_leaves_nothing(
    shell: Shell, tmp_path: Path
) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    for folder in (temporary, tmp_path):
        folder.chmod(0o711)
    shell.environ["TMPDIR"] = str(temporary)
    piped = shell("doctor", "--probe", "--sandbox", "bubblewrap")
    assert "\x1b" not in piped.out
    assert len([row for row in piped.out.splitlines() if row.startswith("  holds ")]) > 8
    assert piped.err.endswith(" hold\n")
    with shell.terminal("doctor", "--probe", "--sandbox", "bubblewrap", "--color", "never") as seen:
        assert seen.finish() == piped.code
    shown = [row.rpartition("\x1b[2K")[2] for row in seen.text.split("\r\n")]
    assert max(len(row) for row in shown) <= 80
    assert any(row.startswith("  holds network") for row in shown)
    assert list(temporary.iterdir()) == []


def test_a_sandbox_that_does_not_work_is_said_with_its_fix(shell: Shell) -> None:
    ran = shell(
        "doctor", "--probe", "--sandbox", "docker",
        environ={"DOCKER_HOST": "unix:///nowhere.sock"},
    )  # fmt: skip
    assert ran.code == 2
    assert "no  sandbox docker" in ran.out
    assert "    fix: " in ran.out
    assert "holds" not in ran.out


def test_each_line_of_json_names_its_kind_and_one_kind_has_one_shape(shell: Shell) -> None:
    shell.environ["DOCKER_HOST"] = "unix:///nowhere.sock"
    plain = shell("doctor", "--sandbox", "docker", "--json")
    probed = shell("doctor", "--probe", "--sandbox", "docker", "--json")
    rows = [json.loads(row) for row in (plain.out + probed.out).splitlines()]
    assert {row["kind"] for row in rows} == {"finding"}
    assert len({tuple(row) for row in rows}) == 1


def test_what_the_doctor_says_fits_on_eighty_columns(shell: Shell) -> None:
    shell.environ["DOCKER_HOST"] = "unix:///nowhere.sock"
    with shell.terminal("doctor", "--sandbox", "docker", "--color", "never") as seen:
        assert seen.finish() == 2
    shown = [row.rpartition("\x1b[2K")[2] for row in seen.text.split("\r\n")]
    long = [row for row in shown if len(row) > 80 and len(row.split()) > 1 and "/" not in row]
    assert long == []
    assert any(row.startswith(" " * 9) for row in shown)


@pytest.mark.parametrize("kind", ["none", "unsafe-local", "gvisor"])
def test_only_sandboxes_that_protect_can_be_probed(shell: Shell, kind: str) -> None:
    ran = shell("doctor", "--probe", "--sandbox", kind)
    assert ran.code == 2
    assert f"`--sandbox`: `{kind}` is no sandbox that can be tried" in ran.err
    assert "choose from `bubblewrap`, `docker`" in ran.err
    assert ran.out == ""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can hide control groups")
def test_what_does_not_hold_here_is_seen_and_is_said_by_the_sandbox_itself(shell: Shell) -> None:
    words = ["doctor", "--probe", "--sandbox", "bubblewrap", "--json"]
    ran = subprocess.run(
        ["unshare", "--mount", "/bin/sh", "-c", WITHOUT_CONTROL_GROUPS, SCRIPT, *words],
        env=shell.environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    rows = [json.loads(row) for row in ran.stdout.splitlines()]
    (row,) = (row for row in rows if not row["holds"])
    assert row["limit"] == "memory"
    assert "one program of 192 MB was refused" in row["seen"]
    assert row["announced"].startswith("memory limit: per process only")


def test_the_page_on_security_shows_every_row() -> None:
    shown = [
        row[8:22].strip() for row in PAGE.read_text().splitlines() if row.startswith("  holds")
    ]
    assert set(shown) == LIMITS
