"""`planloop clean --layers`: what setups made goes on request, and never from under a live run."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from console import Ran, Shell, interrupt, only_run, script
from test_clean import (
    IMAGE,
    Start,
    command_lines_with,
    docker,
    exists,
    start,
    temporary,
    ticking,
    wait_while,
    what_is_left,
)

from planloop.marks import mark, parse_mark
from tests.sandboxes.ghosts import dead_mark

__all__ = ["start", "temporary"]  # fixtures
KINDS = ["bubblewrap", pytest.param("docker", marks=pytest.mark.docker)]
PATIENCE_S = 60.0


def task(shell: Shell, name: str, setup: str, line: str) -> Path:
    front = f"setup:\n  - {json.dumps(setup)}\n"
    return script(shell.folder / name, f"shell({line!r})\ndone('x')", front=front)


def layers(shell: Shell) -> list[str]:
    folder = shell.home / ".cache" / "planloop" / "layers"
    return sorted(one.name for one in folder.iterdir())


def removed(ran: Ran, kind: str) -> set[str]:
    assert ran.code == 0, ran.err
    rows = [json.loads(row) for row in ran.out.splitlines()]
    return {row["name"] for row in rows if row["kind"] == kind and row["removed"]}


@pytest.mark.parametrize("kind", KINDS)
def test_layers_go_on_request_half_made_ones_always_and_used_ones_never(
    shell: Shell, temporary: Path, start: Start, kind: str
) -> None:
    calling, making = f"tickcalling{kind}", f"tickmaking{kind}"
    used = task(shell, "used", "echo 1 >made", ticking(calling))
    run = start("run", str(used), "--sandbox", kind, "--trust")
    wait_while(run, lambda: command_lines_with(calling) != [], "the call", PATIENCE_S)
    complete = {name for name in layers(shell) if "." not in name}
    assert len(complete) == 2  # the environment, and what the command made

    spared = shell("clean", "--layers", "--json")
    assert removed(spared, "layer") == set()
    assert complete <= set(layers(shell))
    assert command_lines_with(calling) != []

    killed = start(
        "run", str(task(shell, "killed", ticking(making), "true")), "--sandbox", kind, "--trust"
    )
    wait_while(killed, lambda: command_lines_with(making) != [], "the setup", PATIENCE_S)
    (half,) = {name.removesuffix(".new") for name in layers(shell) if name.endswith(".new")}
    during = shell("clean", "--layers", "--json")
    assert removed(during, "layer") == set()
    assert f"{half}.new" in layers(shell)
    killed.kill()
    killed.communicate()

    assert removed(shell("clean", "--json", cwd=shell.folder / "killed"), "layer") == {half}
    assert {name.partition(".")[0] for name in layers(shell)} == complete
    assert what_is_left(temporary, only_run(shell.folder / "killed").name, making) == [
        str(one) for one in temporary.iterdir()
    ]  # of the run that lives

    interrupt(run)
    run.communicate(timeout=20)
    assert removed(shell("clean", "--layers", "--json"), "layer") == complete
    assert layers(shell) == []
    assert list(temporary.iterdir()) == []


def test_a_maker_that_died_before_its_first_file_leaves_no_lock(
    shell: Shell, temporary: Path
) -> None:
    folder = shell.home / ".cache" / "planloop" / "layers"
    folder.mkdir(parents=True)
    (folder / f"{'a' * 64}.lock").touch()
    assert removed(shell("clean", "--json"), "layer") == {"a" * 64}
    assert layers(shell) == []


@pytest.fixture
def images() -> Iterator[dict[str, str]]:
    """Images by who made them, each as a setup with apt commits one."""
    dead, mine = dead_mark().owner, parse_mark(mark("x"))
    assert mine is not None
    another = str(dead).replace(f".{dead.user}.", f".{dead.user + 1}.", 1)
    layer = "planloop.layer=test"
    labels = {
        "mine": (layer, f"planloop.owner={dead}"),
        "used": (layer, f"planloop.owner={dead}", "used=1"),
        "of a live process": (layer, f"planloop.owner={mine.owner}"),
        "of another user": (layer, f"planloop.owner={another}"),
        "of another machine": (layer, f"planloop.owner={str(dead).rsplit('.', 2)[0]}.bad.bad"),
        "of nobody": (layer, "who=knows"),
        "no layer": ("other.layer=test", f"planloop.owner={dead}"),
    }
    container = docker("create", "--entrypoint", "true", IMAGE)
    made = {}
    user = None
    try:
        for name, chosen in labels.items():
            changes = [word for one in chosen for word in ("-c", f"LABEL {one}")]
            made[name] = docker("commit", *changes, container)
        user = docker("create", made["used"], "true")
        yield made
    finally:
        docker("rm", container, *([user] if user else []))
        for one in made.values():
            subprocess.run(["docker", "rmi", one], capture_output=True, check=False)


@pytest.mark.docker
def test_only_images_that_this_user_s_setups_made_go_and_only_on_request(
    shell: Shell, temporary: Path, images: dict[str, str]
) -> None:
    shell("clean", "--json")
    assert [name for name, one in images.items() if not exists("image", one)] == []
    ran = shell("clean", "--layers", "--json")
    assert ran.code == 0, ran.err
    assert [name for name, one in images.items() if not exists("image", one)] == ["mine"]
