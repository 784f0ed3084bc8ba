"""Packages and setup commands in real sandboxes, from an index on this machine."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from planloop import (
    Agent,
    FunctionModel,
    Limits,
    PackagesSpec,
    Result,
    RunCheck,
    RunStatus,
    SandboxLost,
    SandboxSpec,
    SetupSpec,
    Task,
    TaskError,
    UserError,
    WorkspaceSpec,
)
from planloop.events import Event, SetupEnded, SetupOutput, SetupStarted
from planloop.trace.log import read_log
from tests.loop.worlds import block

from .package_index import PASSWORD, Index, served, this_machine

KINDS = ["bubblewrap", pytest.param("docker", marks=pytest.mark.docker)]
LIMITS = Limits(memory_bytes=400 << 20, disk_bytes=200 << 20, inodes=20_000, timeout_s=30)


@pytest.fixture(scope="session")
def index() -> Iterator[Index]:
    with served() as found:
        yield found


@pytest.fixture(scope="session")
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def cache(shared_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One for all tests, so that few of them wait for a new environment."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(shared_cache))
    return shared_cache


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest, index: Index, monkeypatch: pytest.MonkeyPatch) -> str:
    """A kind of sandbox that finds the index."""
    kind = str(request.param)
    for name, value in index.environ(this_machine(kind)).items():
        monkeypatch.setenv(name, value)
    return kind


@dataclasses.dataclass
class Ran:
    """One run, and what was told on the way."""

    result: Result
    events: list[Event]
    trace: Path

    @property
    def setups(self) -> list[SetupEnded]:
        return [event for event in self.events if isinstance(event, SetupEnded)]

    @property
    def made(self) -> list[str]:
        """What was made, and not found made."""
        return [one.what for one in self.setups if not one.cached]

    @property
    def said(self) -> str:
        return "".join(event.text for event in self.events if isinstance(event, SetupOutput))


def run(folder: Path, kind: str, plan: str, *, image: str | None = None, **task: object) -> Ran:
    import anyio

    replies = iter([block(plan)])
    store = folder.with_name(f"{folder.name}-store")
    store.mkdir(exist_ok=True)
    agent: Agent[None, Any] = Agent(
        model=FunctionModel(lambda _: next(replies, block('give_up("over")'))),
        sandbox=SandboxSpec(kind=kind, image=image, limits=LIMITS),
        store=store,
    )
    events: list[Event] = []

    async def follow() -> None:
        found = Task(text="x", folder=folder, **task)  # type: ignore[arg-type]
        async for event in agent.stream(found):
            events.append(event)

    try:
        anyio.run(follow)
        assert agent.result is not None
        trace = max((store / ".planloop" / "runs").iterdir(), key=lambda one: one.stat().st_mtime)
        return Ran(agent.result, events, trace)
    finally:
        agent.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    found = tmp_path / "mine"
    found.mkdir()
    (found / "words.txt").write_text("one\n")
    return found


TINY = PackagesSpec(pip=("tinyword>=1",))
USES_IT = 'r = shell("tinyword; which tinyword; env")\nwrite("out.txt", r.stdout)\ndone(r.stdout)'


def test_a_package_is_there_for_calls_and_checks_and_installed_once(
    kind: str, folder: Path, index: Index
) -> None:
    check = RunCheck(run="tinyword | grep -q petrichor")
    first = run(folder, kind, USES_IT, packages=TINY, checks=(check,))
    assert first.result.status is RunStatus.SUCCESS, first.result
    word, place, *environ = str(first.result.output).splitlines()
    assert (word, place) == ("petrichor", "/opt/planloop/env/bin/tinyword")
    assert "VIRTUAL_ENV=/opt/planloop/env" in environ
    asked = len(index.requests)
    (folder / "words.txt").write_text("two\n")  # packages see no file
    second = run(folder, kind, USES_IT, packages=TINY, checks=(check,))
    assert second.result.status is RunStatus.SUCCESS
    assert (first.made, second.made) == (["packages"], [])
    assert len(index.requests) == asked
    assert first.setups[0].commands == ("pip install 'tinyword>=1'",)


def test_the_password_of_the_index_is_nowhere_afterwards(
    kind: str, folder: Path, cache: Path
) -> None:
    plan = 'r = shell("env; cat /proc/*/environ /proc/*/cmdline; true")\ndone(r.stdout)'
    setup = SetupSpec(commands=("echo from $PIP_INDEX_URL",))
    packages = PackagesSpec(pip=("tinyword==1.0",))
    ran = run(folder, kind, plan, packages=packages, setup=setup)
    assert ran.made == ["packages", "setup"]
    assert "from http://reader:****@" in ran.said
    assert ran.result.output
    assert "PIP_INDEX_URL" not in str(ran.result.output)
    assert PASSWORD not in str(ran.result.output)
    assert PASSWORD not in repr(ran.events)
    for place in (cache, ran.trace):
        files = [path for path in place.rglob("*") if path.is_file() and not path.is_symlink()]
        assert files
        assert [path for path in files if PASSWORD.encode() in path.read_bytes()] == []


def test_the_network_is_closed_once_the_setup_is_over(
    kind: str, folder: Path, index: Index
) -> None:
    address = f"{this_machine(kind)}", index.port
    connect = f'python3 -c "import socket; socket.create_connection({address!r}, 5)"'
    closed = f"{connect} || echo closed"
    plan = f"r = shell({closed!r})\ndone(r.stdout)"
    ran = run(folder, kind, plan, setup=SetupSpec(commands=(connect,)))
    assert ran.result.output == "closed\n"
    assert [one.network for one in ran.setups] == ["full", "full"]


def test_what_setup_made_of_the_files_is_where_the_run_begins_and_no_change_of_its(
    kind: str, folder: Path
) -> None:
    setup = SetupSpec(
        commands=(
            "mkdir -p gen node_modules/a && echo 1 > gen/a && echo 2 > gen/b && rm words.txt",
            "echo x > node_modules/a/index.js && ln -s a gen/link && echo $PWD > where",
        )
    )
    plan = (
        'r = shell("cat gen/link gen/b node_modules/a/index.js where; ls")\n'
        'write("gen/b", "3\\n")\nwrite("own", "4\\n")\ndone(r.stdout)'
    )
    check = RunCheck(run="test -e node_modules/a/index.js && test ! -e words.txt")
    first = run(folder, kind, plan, setup=setup, checks=(check,))
    again = run(folder, kind, plan, setup=setup, checks=(check,))
    for ran in (first, again):
        assert ran.result.status is RunStatus.SUCCESS, ran.result
        assert ran.result.output == "1\n2\nx\n/workspace\ngen\nnode_modules\nwhere\n"
        assert ran.result.changed_files == ("gen/b", "own")
        assert "new file mode" in ran.result.diff.split("own")[0]
    assert again.made == []
    assert (folder / "words.txt").read_text() == "one\n"


def test_a_setup_runs_again_when_a_file_that_it_sees_has_changed(folder: Path) -> None:
    setup = SetupSpec(commands=("cat words.txt > seen",))
    made = []
    for text in ("one\n", "two\n", "two\n", "one\n"):
        (folder / "words.txt").write_text(text)
        ran = run(folder, "bubblewrap", 'done(read("seen"))', setup=setup)
        made.append("setup" in ran.made)
        assert ran.result.output == text
    assert made == [True, True, False, False]


def test_a_failing_command_ends_the_run_before_a_model_is_asked(folder: Path) -> None:
    lines = "echo starting; echo cannot find it >&2; exit 7"
    with pytest.raises(TaskError) as caught:
        run(
            folder, "bubblewrap", "done()", setup=SetupSpec(commands=("true", lines, "touch never"))
        )
    error = caught.value
    assert error.where == "setup"
    assert error.what == f"`{lines}` failed with exit code 7"
    assert error.excerpt is not None
    assert error.excerpt.splitlines()[-1].endswith("| cannot find it")
    assert not list(folder.with_name("mine-store").rglob("*.jsonl"))


def test_a_failed_setup_is_not_taken_for_done(folder: Path, cache: Path) -> None:
    for _ in range(2):
        with pytest.raises(TaskError, match="exit code 1"):
            run(folder, "bubblewrap", "done()", setup=SetupSpec(commands=("false",)))
    assert not list(cache.rglob("*.new"))


def test_a_command_without_end_is_ended(folder: Path) -> None:
    setup = SetupSpec(commands=("sleep 1000",), timeout_s=2.0)
    with pytest.raises(TaskError, match="ran longer than 2 s and was ended"):
        run(folder, "bubblewrap", "done()", packages=PackagesSpec(), setup=setup)


def test_a_hostile_setup_reaches_nothing_of_the_host(kind: str, folder: Path, cache: Path) -> None:
    secret = folder.with_name("secret")
    secret.write_text("cnry-host")
    commands = (
        f"ln -s {secret} $VIRTUAL_ENV/stolen; ln -s {secret} stolen; ln -s /etc/shadow up",
        "mkfifo $VIRTUAL_ENV/pipe pipe; setsid sleep 1000 &",
        "mkdir -p .planloop/runs .git/hooks; echo x > .git/hooks/post-checkout",
    )
    ran = run(
        folder, kind, 'done(shell("cat stolen up; ls").stdout)', setup=SetupSpec(commands=commands)
    )
    assert "cnry-host" not in str(ran.result.output)
    notes = " ".join(ran.setups[-1].notes)
    assert all(one in notes for one in ("`pipe`", "`stolen`: not copied: the link"))
    layer = next(path for path in cache.rglob("stolen"))
    assert layer.is_symlink()
    assert not list(cache.rglob("pipe"))
    assert not (folder / ".git").exists()


def test_a_setup_that_leaves_too_much_is_refused_whole(folder: Path) -> None:
    setup = SetupSpec(commands=("touch a b c d",))
    with pytest.raises(UserError, match="left 5 files of 4 bytes in the workspace; at most 4"):
        run(folder, "bubblewrap", "done()", setup=setup, workspace=WorkspaceSpec(max_files=4))


def test_a_setup_that_loses_its_environment_is_not_kept(folder: Path, cache: Path) -> None:
    setup = SetupSpec(commands=("rm -r /opt/planloop/env/*",))
    run(folder, "bubblewrap", "done()", setup=SetupSpec(commands=("true",)))
    before = set(cache.rglob("layer.json"))
    with pytest.raises(SandboxLost, match="left no environment"):
        run(folder, "bubblewrap", "done()", setup=setup)
    assert set(cache.rglob("layer.json")) == before


def test_setup_says_what_it_does_while_it_does_it(folder: Path) -> None:
    ran = run(folder, "bubblewrap", "done()", setup=SetupSpec(commands=("echo one; echo two",)))
    started = [event.command for event in ran.events if isinstance(event, SetupStarted)]
    assert started[-1] == "echo one; echo two"
    assert ran.said.endswith("one\ntwo\n")
    kinds = [one.event.kind for one in read_log(ran.trace)[0]]
    assert kinds[:3] == ["run_started", "setup_ended", "setup_ended"]
    assert "setup_output" not in kinds


def test_a_folder_without_setup_is_told_what_auto_would_do(folder: Path) -> None:
    (folder / "requirements.txt").write_text("tinyword\n")
    ran = run(folder, "bubblewrap", "done()")
    assert [event.text for event in ran.events if event.kind == "warned"] == [
        "what `requirements.txt` lists is not installed; "
        "`setup: auto` would: `pip install -r requirements.txt`"
    ]


def test_auto_installs_what_the_lock_file_lists(kind: str, folder: Path) -> None:
    (folder / "requirements.txt").write_text("tinyword\n")
    ran = run(folder, kind, USES_IT, setup=SetupSpec(suggested=True))
    assert str(ran.result.output).startswith("petrichor\n")


def test_auto_without_a_lock_file_is_refused(folder: Path) -> None:
    with pytest.raises(UserError, match="finds no file"):
        run(folder, "bubblewrap", "done()", setup=SetupSpec(suggested=True))


@pytest.mark.parametrize("kind", ["none", "unsafe-local"])
def test_without_a_sandbox_there_is_no_setup(kind: str, folder: Path) -> None:
    agent: Agent[None, Any] = Agent(
        model=FunctionModel(lambda _: ""), sandbox=kind, unsafe_local=True
    )
    with pytest.raises(UserError, match="setup"):
        agent.run_sync(Task(text="x", folder=folder, packages=TINY))
    agent.close()


def test_apt_needs_the_docker_sandbox(folder: Path) -> None:
    with pytest.raises(UserError, match="needs the docker sandbox"):
        run(folder, "bubblewrap", "done()", packages=PackagesSpec(apt=("jq",)))


DEB = """
mkdir -p /repo/root/DEBIAN /repo/root/usr/bin
printf '#!/bin/sh\\necho from apt\\n' > /repo/root/usr/bin/tinyapt
chmod 755 /repo/root/usr/bin/tinyapt
printf 'Package: tinyapt\\nVersion: 1.0\\nArchitecture: all\\nMaintainer: x <x@example.org>\\n\
Description: x\\n' > /repo/root/DEBIAN/control
printf '#!/bin/sh\\nid -u > /usr/share/tinyapt-postinst\\n' > /repo/root/DEBIAN/postinst
chmod 755 /repo/root/DEBIAN/postinst && dpkg-deb --build /repo/root /repo/tinyapt.deb
cd /repo && cp root/DEBIAN/control Packages && printf 'Filename: ./tinyapt.deb\\nSize: %s\\n\
SHA256: %s\\n' $(stat -c %s tinyapt.deb) $(sha256sum tinyapt.deb | cut -d' ' -f1) >> Packages
rm -rf /etc/apt/sources.list.d/*
echo 'deb [trusted=yes] file:/repo ./' > /etc/apt/sources.list
"""


@pytest.fixture
def image() -> Iterator[str]:
    """The default image with a repository of one package in it."""
    import io

    from docker import APIClient

    from planloop.sandboxes import default_image

    name = f"planloop-test-apt:{os.getpid()}"
    lines = [f"FROM {default_image()}", "USER 0", f"RUN {json.dumps(['/bin/sh', '-ec', DEB])}"]
    client = APIClient(version="1.41")
    try:
        for told in client.build(
            fileobj=io.BytesIO("\n".join(lines).encode()), tag=name, rm=True, decode=True
        ):
            assert "error" not in told, told
        yield name
        for layer in client.images(filters={"label": "planloop.layer"}):
            client.remove_image(layer["Id"], force=True)
        client.remove_image(name, force=True)
    finally:
        client.close()


@pytest.mark.docker
def test_apt_installs_into_an_image_of_its_own(
    image: str, folder: Path, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in index.environ(this_machine("docker")).items():
        monkeypatch.setenv(name, value)
    packages = PackagesSpec(apt=("tinyapt",), pip=("tinyword",))
    plan = 'r = shell("tinyapt; tinyword; cat /usr/share/tinyapt-postinst; id -u")\ndone(r.stdout)'
    check = RunCheck(run="tinyapt | grep apt")
    first = run(folder, "docker", plan, image=image, packages=packages, checks=(check,))
    assert first.result.status is RunStatus.SUCCESS, first.result
    assert first.result.output == "from apt\npetrichor\n0\n65534\n"
    assert first.made == ["apt", "packages"]
    assert "tinyapt" in first.said
    again = run(folder, "docker", plan, image=image, packages=packages, checks=(check,))
    assert again.made == []


@pytest.mark.docker
def test_an_unknown_system_package_is_one_error(image: str, folder: Path) -> None:
    with pytest.raises(TaskError, match="failed with exit code 100") as caught:
        run(folder, "docker", "done()", image=image, packages=PackagesSpec(apt=("nosuchpkg",)))
    assert caught.value.where == "apt"
    assert "nosuchpkg" in str(caught.value.excerpt)
