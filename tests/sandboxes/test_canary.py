"""A secret of the host is found nowhere that a sandbox, a trace or an engine keeps or shows."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import secrets
import signal
import subprocess
import tarfile
from pathlib import Path

import pytest

from tests.cli.console import Ran, Shell, interrupt, only_run, script, wait_for
from tests.sandboxes.package_index import USER, served, this_machine
from tests.sandboxes.test_setup import image

__all__ = ["image"]  # a fixture
KINDS = ["bubblewrap", pytest.param("docker", marks=pytest.mark.docker)]

# The pattern does not match itself, so that its own command line is no find.
LOOK = r"""
import os, re
pattern = re.compile(rb"canary[-][0-9a-f]{32}")
def look(path):
    try:
        with open(path, "rb") as file:
            return bool(pattern.search(file.read(1 << 22)))
    except OSError:
        return False
seen, found = 0, []
for process in filter(str.isdigit, os.listdir("/proc")):
    for name in ("environ", "cmdline", "maps", "mountinfo", "status"):
        seen += 1
        found += [name] if look(f"/proc/{process}/{name}") else []
for top, folders, files in os.walk("/"):
    if top == "/":
        folders[:] = [one for one in folders if one not in ("proc", "sys", "usr", "lib", "bin")]
    for name in files:
        path = os.path.join(top, name)
        if os.path.isfile(path):
            seen += 1
            found += [path] if look(path) else []
print("looked at", seen, "found", found, sorted(os.environ))
"""


@dataclasses.dataclass(frozen=True)
class Host:
    """A machine whose environment and home are full of one secret."""

    shell: Shell
    canary: str
    temporary: Path

    def task(self, line: str) -> Path:
        """A task in a folder that holds the secret as well, in a file that is left out."""
        steps = f'write("kept.txt", "kept")\nshell({line!r})\ndone("x")'
        folder = script(self.shell.folder / "task", steps, front="checks:\n  - run: cat kept.txt\n")
        (folder / ".env").write_text(f"DEPLOY={self.canary}\n")
        return folder

    def holders(self, places: list[Path]) -> list[str]:
        """Files that hold the secret, but for those that the test itself has filled."""
        own = {*(self.shell.home / name for name in HOME_FILES), self.shell.folder / "task/.env"}
        found = (
            Path(top, name)
            for place in places
            for top, _, names in os.walk(place)
            for name in names
        )
        return [str(one) for one in found if one not in own and self.canary in content(one)]


HOME_FILES = (
    ".netrc",
    ".pgpass",
    ".ssh/id_ed25519",
    ".aws/credentials",
    ".config/pip/pip.conf",
    ".docker/config.json",
)
VARIABLES = ("OPENAI_API_KEY", "AWS_SECRET_ACCESS_KEY", "PLANLOOP_CANARY", "DEPLOY_PASSWORD", "X")


def content(path: Path) -> str:
    if not path.is_file():
        return ""
    try:
        return path.read_bytes().decode("latin-1")
    except OSError:
        return ""


@pytest.fixture
def host(tmp_path: Path) -> Host:
    canary = f"canary-{secrets.token_hex(16)}"
    home, folder, temporary = (tmp_path / name for name in ("home", "work", "tmp"))
    for one in (home, folder, temporary):
        one.mkdir()
    temporary.chmod(0o711)
    tmp_path.chmod(0o711)
    shell = Shell(home, folder)
    shell.environ.update(dict.fromkeys(VARIABLES, f"sk-{canary}"))
    shell.environ["HTTPS_PROXY"] = f"http://user:{canary}@127.0.0.1:9"
    shell.environ["TMPDIR"] = str(temporary)
    for name in HOME_FILES:
        file = home / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"password {canary}\n")
    proxies = {"proxies": {"default": {"httpProxy": f"http://u:{canary}@127.0.0.1:9"}}}
    (home / ".docker" / "config.json").write_text(json.dumps(proxies))
    return Host(shell, canary, temporary)


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_finds_no_secret_and_leaves_none_in_output_trace_or_changes(
    host: Host, kind: str
) -> None:
    folder = host.task("python3 -I look.py")
    (folder / "look.py").write_text(LOOK)
    ran = host.shell("run", str(folder), "--sandbox", kind, "--json")
    assert ran.code == 0, ran.err
    assert "found []" in ran.out
    assert int(ran.out.partition("looked at ")[2].split()[0]) > 20
    assert shown(ran).count(host.canary) == 0
    assert host.holders([host.shell.home, host.shell.folder, host.temporary]) == []


@pytest.mark.parametrize("kind", KINDS)
def test_while_a_run_lives_no_process_of_it_no_file_and_no_engine_holds_the_secret(
    host: Host, kind: str
) -> None:
    folder = host.task("for i in $(seq 1 600); do echo tickcanary $i; sleep 0.1; done")
    process = host.shell.start("run", str(folder), "--sandbox", kind)
    try:
        wait_for(lambda: any("echo tickcanary" in one for one in said_by_all().values()), "a call")
        said = said_by_all()
        engine = engine_s_words(only_run(folder).name) if kind == "docker" else ""
        kept = host.holders([host.temporary, folder / ".planloop"])
    finally:
        interrupt(process)
        out, err = process.communicate(timeout=20)
    assert process.returncode == 130, err
    assert [pid for pid, words in said.items() if host.canary in words] == [process.pid]
    assert any("guest.py" in words for words in said.values())
    assert kept == []
    assert host.canary not in engine
    assert ("planloop.owner" in engine) is (kind == "docker")
    assert host.canary.encode() not in out + err


@pytest.mark.parametrize("kind", KINDS)
def test_a_setup_that_needs_the_secret_keeps_it_in_no_layer_image_container_or_file(
    host: Host, kind: str, request: pytest.FixtureRequest
) -> None:
    """Its commands see the password of the package index, as they must; nothing else does."""
    front = "packages: {pip: [tinyword]}\nsetup: [env >/dev/null; sleep 600.125; echo made >made]\n"
    if kind == "docker":
        image = request.getfixturevalue("image")
        front = front.replace("]}", "], apt: [tinyapt]}") + f"sandbox: {{image: {image}}}\n"
    steps = """shell("echo 1 >f")\nshell("yes word | head -c 300000; cat f; sleep 600.25; true")
done(shell("tinyword").stdout)"""
    folder = script(host.shell.folder / "task", steps, front=front)
    (folder / ".env").write_text(f"DEPLOY={host.canary}\n")
    with served(host.canary) as index:
        address = f"{USER}:{host.canary}@{this_machine(kind)}:{index.port}"
        (host.shell.home / ".config/pip/pip.conf").write_text(
            f"[global]\nindex-url = http://{address}/simple\ntrusted-host = {this_machine(kind)}\n"
        )
        process = host.shell.start("run", str(folder), "--sandbox", kind, "--trust")
        try:
            seen = [moment(host, folder, kind, process, word) for word in ("600.125", "600.25")]
        finally:
            out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert b"petrichor" in out
    assert host.canary.encode() not in out + err
    during, after = seen
    assert during.holders == after.holders == []
    assert len(during.sharers) > 0
    assert after.sharers == []
    assert host.holders([host.shell.home, host.shell.folder, host.temporary]) == []
    layers = [*(host.shell.home / ".cache/planloop/layers").rglob("tinyword")]
    assert layers
    if kind == "docker":
        (saved,) = docker("images", "-q", "--filter", "label=planloop.layer").split()
        assert host.canary not in whole_image(saved)


@dataclasses.dataclass(frozen=True)
class Moment:
    """What could be seen from outside while a call of a run stood still."""

    holders: list[str]
    """Files and engine that hold the secret."""
    sharers: list[int]
    """Processes that know it, besides planloop itself."""


def moment(
    host: Host, folder: Path, kind: str, planloop: subprocess.Popen[bytes], word: str
) -> Moment:
    """Look at everything while a run sleeps in a call, and then let it go on."""

    def stands_still() -> bool:
        assert planloop.poll() is None, planloop.communicate()
        return sleepers(word) != []

    wait_for(stands_still, f"sleep {word}", bound_s=60)
    files = host.holders([host.temporary, folder / ".planloop", host.shell.home / ".cache"])
    engine = engine_s_words(only_run(folder).name) if kind == "docker" else ""
    known = [pid for pid, words in said_by_all().items() if host.canary in words]
    for pid in sleepers(word):
        os.kill(pid, signal.SIGKILL)
    return Moment(
        holders=[*files, *(["the engine"] if host.canary in engine else [])],
        sharers=[pid for pid in known if pid != planloop.pid],
    )


def sleepers(word: str) -> list[int]:
    return [pid for pid, words in said_by_all().items() if words.startswith(f"sleep {word} ")]


def whole_image(name: str) -> str:
    """Every file of every layer of an image, and its configuration."""
    saved = subprocess.run(["docker", "save", name], capture_output=True, check=True, timeout=60)
    found = []
    with tarfile.open(fileobj=io.BytesIO(saved.stdout)) as archive:
        for member in archive:
            opened = archive.extractfile(member)
            found.append(opened.read().decode("latin-1") if opened is not None else "")
    return "\n".join(found)


def shown(ran: Ran) -> str:
    return ran.out + ran.err


def said_by_all() -> dict[int, str]:
    """Command line and environment of every process on this machine but this one."""
    pids = (int(one.name) for one in Path("/proc").glob("[0-9]*"))
    return {pid: words_of(pid) for pid in pids if pid not in (os.getpid(), os.getppid())}


def words_of(pid: int) -> str:
    words = b""
    for name in ("cmdline", "environ"):
        try:
            words += Path(f"/proc/{pid}/{name}").read_bytes() + b"\0"
        except OSError:
            continue
    return words.replace(b"\0", b" ").decode("utf-8", "replace")


def engine_s_words(run: str) -> str:
    """All that the engine knows of a run's containers, their volumes and their image."""
    containers = docker("ps", "-aq", "--filter", f"label=planloop.run={run}").split()
    described = docker("inspect", *containers)
    image = json.loads(described)[0]["Image"]
    volumes = [mount["Name"] for one in json.loads(described) for mount in one["Mounts"]
               if mount["Type"] == "volume"]  # fmt: skip
    return "\n".join(
        [
            described,
            docker("volume", "inspect", *volumes) if volumes else "",
            docker("image", "inspect", image),
            docker("history", "--no-trunc", image),
        ]
    )


def docker(*words: str) -> str:
    return subprocess.run(
        ["docker", *words], capture_output=True, text=True, check=True, timeout=30
    ).stdout
