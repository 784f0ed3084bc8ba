"""Images with odd or hostile content: the same walls, the stated fall-back, or one clear error."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from planloop.errors import UserError
from planloop.sandbox import Command, Limits, Sandbox, SandboxSpec
from planloop.sandboxes import default_image, open_sandbox

pytestmark = [pytest.mark.anyio, pytest.mark.docker]
LIMITS = Limits(
    memory_bytes=96 << 20, disk_bytes=16 << 20, inodes=400, processes=40, timeout_s=20.0
)
Image = Callable[..., str]


@pytest.fixture
def image(docker_engine: None, tmp_path: Path) -> Image:
    """Builds an image on planloop's own; layers are cached, so that a second run is quick."""

    def build(name: str, recipe: str, **files: str) -> str:
        folder = tmp_path / "recipe"
        folder.mkdir()
        for path, content in files.items():
            (folder / path).write_text(content)
            (folder / path).chmod(0o755)
        (folder / "Dockerfile").write_text(f"FROM {default_image()}\n{recipe}\n")
        tag = f"planloop-test-{name}:latest"
        subprocess.run(
            ["docker", "build", "-q", "-t", tag, folder], check=True, capture_output=True
        )
        return tag

    return build


async def opened(image: str, folder: Path, network: str | tuple[str, ...] = "none") -> Sandbox:
    spec = SandboxSpec(kind="docker", image=image, limits=LIMITS, network=network)
    sandbox = await open_sandbox(spec, run_id=f"image-{os.getpid()}", state_dir=folder / "s")
    assert sandbox is not None
    return sandbox


async def refusal(image: str, folder: Path) -> UserError:
    with pytest.raises(UserError) as raised:
        await opened(image, folder)
    assert raised.value.hint
    assert containers() == []
    assert list((folder / "s").iterdir()) == []
    return raised.value


def containers() -> list[str]:
    listing = ["docker", "ps", "-aq", "--filter", f"label=planloop.run=image-{os.getpid()}"]
    return subprocess.run(listing, capture_output=True, check=True, text=True).stdout.split()


def described() -> dict[str, Any]:
    (container,) = containers()
    found = subprocess.run(["docker", "inspect", container], capture_output=True, check=True)
    (only,) = json.loads(found.stdout)
    return dict(only)


ODD = """
ENV PATH=/odd/bin:/usr/bin:/bin TOKEN=secret-of-the-image PYTHONSTARTUP=/evil CARGO_HOME=/cargo
ENV PYTHONPATH=/evil PYTHONHOME=/evil
RUN mkdir /odd /odd/bin /data && chmod 777 /data && ln -s /bin/echo /odd/bin/odd
USER nobody
WORKDIR /odd
VOLUME ["/data", "/var/odd volume/"]
ENTRYPOINT ["/bin/false"]
CMD ["nothing"]
HEALTHCHECK --interval=1s CMD touch /data/unhealthy
STOPSIGNAL SIGSTOP
LABEL planloop.run=somebody-else
"""


async def test_what_an_image_sets_opens_nothing(image: Image, tmp_path: Path) -> None:
    sandbox = await opened(image("odd", ODD), tmp_path)
    done = await sandbox.run(Command(line="id -u; pwd; odd $PATH; env; cat /proc/1/environ; true"))
    lines = done.stdout.text.splitlines()
    assert lines[:3] == ["65534", "/workspace", "/odd/bin:/usr/bin:/bin"]
    assert "CARGO_HOME=/cargo" in lines
    assert "secret-of-the-image" not in done.stdout.text + done.stderr.text
    assert not [one for one in described()["Config"]["Env"] if "secret-of-the-image" in one]
    assert [mount["Type"] for mount in described()["Mounts"]] == ["bind"]
    for place in ("/data", "/var/odd volume"):
        line = f"head -c 30000000 /dev/zero >'{place}/f'; stat -c %s '{place}/f'; touch /etc/x"
        done = await sandbox.run(Command(line=line))
        assert int(done.stdout.text) <= LIMITS.memory_bytes // 8
        assert "No space left" in done.stderr.text
        assert "Read-only file system" in done.stderr.text
    await sandbox.close()
    assert containers() == []


async def test_a_workspace_that_the_image_made_a_link_is_still_ours(
    image: Image, tmp_path: Path
) -> None:
    recipe = "RUN rm -rf /workspace && mkdir -m 0 /hidden && ln -s /hidden /workspace"
    sandbox = await opened(image("link", recipe), tmp_path)
    await sandbox.write_file("f", b"ours")
    done = await sandbox.run(Command(line="cat f; ls -A /hidden; echo >g"))
    assert done.stdout.text == "oursf\n"
    assert sorted(await sandbox.scan()) == ["f", "g"]
    await sandbox.close()


async def test_without_a_shell_only_shell_lines_are_refused(image: Image, tmp_path: Path) -> None:
    recipe = "RUN cp /bin/echo /bin/say && rm -f /bin/sh /bin/dash /bin/bash"
    sandbox = await opened(image("no-shell", recipe), tmp_path)
    assert (await sandbox.run(Command(argv=("say", "it")))).stdout.text == "it\n"
    with pytest.raises(FileNotFoundError, match="/bin/sh"):
        await sandbox.run(Command(line="true"))
    await sandbox.close()


async def test_without_python_and_shell_there_is_no_sandbox(image: Image, tmp_path: Path) -> None:
    recipe = "RUN rm -f /usr/bin/python3* /bin/sh /bin/dash /bin/bash"
    error = await refusal(image("bare", recipe), tmp_path)
    assert "neither python3 (3.8 or later) nor /bin/sh runs in it" in error.what


@pytest.mark.parametrize(
    "program",
    ["#!/bin/sh\nyes | head -c 10000000\nexit 3\n", "\x7fELF"],
    ids=["prints and ends", "is no program"],
)
async def test_a_python_that_does_not_serve_means_calls_by_exec(
    program: str, image: Image, tmp_path: Path
) -> None:
    recipe = "COPY python3 /usr/local/bin/python3\nENV API_KEY=secret CARGO_HOME=/cargo"
    odd = image("odd-python", recipe, python3=program)
    sandbox = await opened(odd, tmp_path)
    assert "calls go by engine exec" in sandbox.unenforced[0]
    done = await sandbox.run(Command(line="id -u; echo $API_KEY$CARGO_HOME; exit 4"))
    assert (done.exit_code, done.stdout.text) == (4, "65534\n/cargo\n")
    await sandbox.close()
    with pytest.raises(UserError, match="cannot hold an allow-list") as raised:
        await opened(odd, tmp_path, network=("example.org",))
    assert "python3" in str(raised.value.hint)
    assert containers() == []


@pytest.mark.slow
async def test_a_python_that_hangs_is_one_error(image: Image, tmp_path: Path) -> None:
    hangs = "#!/bin/sh\nwhile :; do sleep 1; done\n"
    error = await refusal(image("hangs", "COPY python3 /usr/local/bin/", python3=hangs), tmp_path)
    assert "did not start in time" in error.what


OTHER_FOLDER = """#!/usr/bin/python3.11
import array, json, os, socket, sys, time
control = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
control.connect("/run/planloop/socket")
folder = os.open("{folder}", os.O_PATH | os.O_DIRECTORY)
rights = array.array("i", [folder, *[folder] * {more}])
control.sendmsg([b"hello"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
time.sleep(60)
"""


@pytest.mark.parametrize("folder", ["/", "/run/planloop", "/tmp"])
async def test_a_python_that_hands_over_another_folder_is_refused(
    folder: str, image: Image, tmp_path: Path
) -> None:
    hostile = OTHER_FOLDER.replace("{folder}", folder).replace("{more}", "0")
    recipe = "COPY python3 /usr/local/bin/"
    error = await refusal(image("other-folder", recipe, python3=hostile), tmp_path)
    assert "is not the workspace" in error.what


async def test_a_python_that_greets_with_nonsense_leaks_nothing(
    image: Image, tmp_path: Path
) -> None:
    descriptors = len(os.listdir("/proc/self/fd"))
    hostile = OTHER_FOLDER.replace("{folder}", "/tmp").replace("{more}", "200")
    hostile = hostile.replace('b"hello"', 'b"hello" * 50')
    odd = image("nonsense", "COPY python3 /usr/local/bin/", python3=hostile)
    started = time.monotonic()
    sandbox = await opened(odd, tmp_path)
    assert "calls go by engine exec" in sandbox.unenforced[0]
    assert time.monotonic() - started < 20
    await sandbox.close()
    assert len(os.listdir("/proc/self/fd")) <= descriptors + 2


async def test_the_users_proxies_do_not_reach_the_container(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"proxies": {"default": {"httpProxy": "http://user:canary@proxy.invalid:1"}}}
    (tmp_path / "config.json").write_text(json.dumps(settings))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    sandbox = await opened(default_image(), tmp_path)
    assert "canary" not in json.dumps(described())
    await sandbox.close()
