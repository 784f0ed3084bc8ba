"""Small rules of the docker sandbox that need no engine."""

from __future__ import annotations

import pytest

from planloop.errors import UserError
from planloop.sandboxes.docker_start import Image
from planloop.sandboxes.engine_facts import EngineFacts

ABLE = {
    "MemoryLimit": True,
    "SwapLimit": True,
    "PidsLimit": True,
    "SecurityOptions": ["name=seccomp,profile=default"],
    "Runtimes": {"runc": {}, "nvidia": {}},
    "DefaultRuntime": "runc",
}


@pytest.mark.parametrize(
    ("lack", "sentence"),
    [
        ({"MemoryLimit": False}, "memory limit: per process only"),
        ({"SwapLimit": False}, "memory limit: this engine does not count swap"),
        ({"PidsLimit": False}, "process limit: this engine's kernel has none"),
        ({"SecurityOptions": ["name=apparmor"]}, "system calls: this engine filters none"),
    ],
)
def test_what_an_engine_cannot_hold_is_said(lack: dict[str, object], sentence: str) -> None:
    assert EngineFacts.read(ABLE).unenforced() == ()
    assert EngineFacts.read({**ABLE, **lack}).unenforced() == (sentence,)


def test_an_engine_that_says_nothing_holds_nothing_for_sure() -> None:
    assert len(EngineFacts.read({}).unenforced()) == 3  # all limit processes since 2019


@pytest.mark.parametrize(
    ("runtime", "shared"),
    [
        *((None, True), ("runc", True), ("io.containerd.runc.v2", True), ("crun", True)),
        *(("runsc", False), ("kata-runtime", False), ("io.containerd.runsc.v1", False)),
    ],
)
def test_only_known_runtimes_share_the_kernel(runtime: str | None, shared: bool) -> None:
    assert EngineFacts.read(ABLE).shares_kernel(runtime) is shared


def test_a_runtime_must_be_listed_unless_it_is_a_shim_that_is_found_by_name() -> None:
    facts = EngineFacts.read(ABLE)
    for known in (None, "nvidia", "io.containerd.runsc.v1"):
        facts.refuse_unknown(known)
    with pytest.raises(UserError, match="no runtime `a b`") as raised:
        facts.refuse_unknown("a\nb")
    assert "it has `nvidia`, `runc`" in str(raised.value.hint)


def test_secrets_of_an_image_are_told_by_their_names() -> None:
    names = ["API_KEY", "GITHUB_TOKEN", "db_password", "AWS_SECRET", "BASIC_AUTH", "CREDENTIALS"]
    env = [*(f"{name}=x" for name in names), "JAVA_HOME=/java", "PATH=/bin", "odd", "=worse"]
    image = Image.read("i", {"Config": {"Env": env, "Volumes": {"/a/": {}, "/run/planloop": {}}}})
    assert image.environment == {"JAVA_HOME": "/java", "PATH": "/bin", "odd": ""}
    assert image.volumes == ("/a",)
    assert Image.read("i", {"Config": {}}).path.startswith("/usr/local/sbin:")
