"""What the fields of a task file mean."""

from __future__ import annotations

import builtins
import json
import keyword
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planloop.budget import Budget
from planloop.errors import TaskError
from planloop.language import RESERVED
from planloop.sandbox import Limits, SandboxSpec
from planloop.task import (
    FileCheck,
    ModelSpec,
    PackagesSpec,
    PythonCheck,
    RunCheck,
    SetupSpec,
    Task,
    WorkspaceSpec,
)
from planloop.taskfile import load_task
from planloop.taskfile.fields import input_name_problem
from planloop.taskfile.readers import duration_of


def task_of(folder: Path, front_matter: str, body: str = "Do it.") -> Task:
    (folder / "task.md").write_text(f"---\n{front_matter}\n---\n{body}\n", "utf-8")
    return load_task("task.md", cwd=folder, home=folder).task


def test_a_whole_task_file_becomes_a_task(tmp_path: Path) -> None:
    (tmp_path / "tools.py").write_text("")
    task = task_of(
        tmp_path,
        """\
version: 1
name: Fix the tests   # a comment
model: {name: "openai:gpt-x", base_url: "http://localhost:8000/v1/"}
sandbox:
  kind: docker
  image: debian:12
  network: [acme.org, "127.0.0.1:8080"]
  limits: {memory: 512MB, processes: 64, disk: 1GiB, inodes: 5000, shown: 32kB, output: 1MB,
           timeout: 2m}
environment: workspace
workspace: {git: true, include: [build/], exclude: ["*.log"], max_size: 10MB, max_files: 100}
tools: [shell, "tools.py:price", "acme.tools:find"]
checks:
  - python3 -m unittest
  - {run: make test, pins: [], timeout: 90}
  - {file: out.csv}
  - {file: a.txt, contains: "yes"}
  - {file: b.txt, equals: ""}
  - python: |
      import json
      assert json.load(open("x.json"))
    timeout: 1h30m
budget: {cost: 2, time: 10m, tokens: null, rounds: 5, calls: 50, sandbox_time: 30s}
inputs:
  limit: 900
  ratio: 0.5
  when: 2026-01-31
  rows: [{sku: a, price: null}, {sku: "7", price: 1e3}]
  off: off
outputs: [report.md, "data/*.csv"]""",
        "# Title\n\nDo *it*.\n\n---\n\nMore.",
    )
    assert task == Task(
        text="# Title\n\nDo *it*.\n\n---\n\nMore.",
        folder=tmp_path.resolve(),
        name="Fix the tests",
        model=ModelSpec(name="openai:gpt-x", base_url="http://localhost:8000/v1"),
        sandbox=SandboxSpec(
            kind="docker",
            image="debian:12",
            network=("acme.org", "127.0.0.1:8080"),
            limits=Limits(
                memory_bytes=512_000_000,
                processes=64,
                disk_bytes=1 << 30,
                inodes=5000,
                shown_bytes=32_000,
                kept_bytes=1_000_000,
                timeout_s=120.0,
            ),
        ),
        environment="workspace",
        workspace=WorkspaceSpec(
            git=True,
            include=("build/",),
            exclude=("*.log",),
            max_bytes=10_000_000,
            max_files=100,
        ),
        tools=("shell", "tools.py:price", "acme.tools:find"),
        checks=(
            RunCheck(run="python3 -m unittest"),
            RunCheck(run="make test", pins=(), timeout_s=90.0),
            FileCheck(file="out.csv"),
            FileCheck(file="a.txt", contains="yes"),
            FileCheck(file="b.txt", equals=""),
            PythonCheck(python='import json\nassert json.load(open("x.json"))\n', timeout_s=5400.0),
        ),
        budget=Budget(cost_usd=2.0, wall_s=600.0, tokens=None, rounds=5, calls=50, sandbox_s=30.0),
        inputs={
            "limit": 900,
            "ratio": 0.5,
            "when": "2026-01-31",
            "rows": [{"sku": "a", "price": None}, {"sku": "7", "price": 1000.0}],
            "off": "off",
        },
        outputs=("report.md", "data/*.csv"),
    )
    assert isinstance(task.budget and task.budget.rounds, int)
    assert task.inputs["rows"][0].sku == "a"


def test_a_task_without_front_matter_has_the_defaults(tmp_path: Path) -> None:
    (tmp_path / "task.md").write_text("Write a poem.\n")
    task = load_task("task.md", cwd=tmp_path, home=tmp_path).task
    assert task == Task(text="Write a poem.", folder=tmp_path.resolve(), name=tmp_path.name)


@pytest.mark.parametrize("front_matter", ["", "# nothing", "\n\n", "{}"])
def test_empty_front_matter_is_fine(front_matter: str, tmp_path: Path) -> None:
    assert task_of(tmp_path, front_matter).text == "Do it."


def test_front_matter_may_come_after_a_mark_blank_lines_and_with_any_line_ends(
    tmp_path: Path,
) -> None:
    for text in (
        "\ufeff---\r\nname: a\r\n---\r\nDo\r\nit.\r\n",
        "\n\n---\nname: a\n---\nDo\nit.",
        "--- \nname: a\n...\nDo\nit.",
        "---\rname: a\r---\rDo\rit.",
    ):
        (tmp_path / "task.md").write_bytes(text.encode())
        task = load_task("task.md", cwd=tmp_path, home=tmp_path).task
        assert (task.name, task.text) == ("a", "Do\nit.")


def test_words_that_yaml_once_took_for_truth_stay_text(tmp_path: Path) -> None:
    task = task_of(tmp_path, "inputs: {a: yes, b: No, c: on, d: 1:30, e: 0o7, f: 007, g: 1_000}")
    assert list(task.inputs.values()) == ["yes", "No", "on", "1:30", "0o7", "007", "1_000"]


def test_a_runtime_means_docker_and_is_a_plain_name(tmp_path: Path) -> None:
    assert task_of(tmp_path, "sandbox: {runtime: runsc}").sandbox == SandboxSpec(
        kind="docker", runtime="runsc"
    )
    for wrong in ("{kind: bubblewrap, runtime: runsc}", "{runtime: [runsc]}", "{runtime: ../x}"):
        with pytest.raises(TaskError, match="runtime"):
            task_of(tmp_path, f"sandbox: {wrong}")


def test_an_image_alone_means_docker(tmp_path: Path) -> None:
    assert task_of(tmp_path, "sandbox: {image: debian}").sandbox == SandboxSpec(
        kind="docker", image="debian"
    )


@pytest.mark.parametrize(
    "front_matter", ["setup: []", "setup:", "packages: {}", "packages: {pip: []}"]
)
def test_setup_that_asks_for_nothing_is_none(front_matter: str, tmp_path: Path) -> None:
    task = task_of(tmp_path, front_matter)
    assert not task.setup
    assert not task.packages


@pytest.mark.parametrize(
    ("front_matter", "spec"),
    [
        ("setup: auto", SetupSpec(suggested=True)),
        ("setup: [make deps, 'a: b']", SetupSpec(commands=("make deps", "a: b"))),
        ("setup: {run: [make]}", SetupSpec(commands=("make",))),
        ("setup: {run: auto, timeout: 1h}", SetupSpec(suggested=True, timeout_s=3600.0)),
    ],
)
def test_setup_is_a_list_of_commands_or_auto(
    front_matter: str, spec: SetupSpec, tmp_path: Path
) -> None:
    assert task_of(tmp_path, front_matter).setup == spec


@pytest.mark.parametrize(
    "requirement",
    [
        "requests",
        "requests>=2.31,<3",
        "ruamel.yaml==0.18.*",
        "uvicorn[standard] ~= 0.30",
        "a ; python_version < '3.12'",
        "x @ https://host.example/x-1.0-py3-none-any.whl",
    ],
)
def test_a_requirement_is_taken_as_pip_would(requirement: str, tmp_path: Path) -> None:
    task = task_of(tmp_path, f"packages: {{pip: [{json.dumps(requirement)}]}}")
    assert task.packages == PackagesSpec(pip=(requirement,))


@pytest.mark.parametrize(
    "requirement",
    ["--index-url=http://evil", "../x", "/x", ".", "a b", "file:///x", "a\n--pre", "a@b"],
)
def test_what_is_no_requirement_is_refused(requirement: str, tmp_path: Path) -> None:
    with pytest.raises(TaskError):
        task_of(tmp_path, f"packages: {{pip: [{json.dumps(requirement)}]}}")


@pytest.mark.parametrize("name", ["libpq-dev", "g++", "libc6:amd64", "jq=1.6-2.1"])
def test_apt_packages_are_names_of_debian(name: str, tmp_path: Path) -> None:
    assert task_of(tmp_path, f"packages: {{apt: ['{name}']}}").packages.apt == (name,)


def test_a_task_replaces_the_setup_of_its_project_whole(tmp_path: Path) -> None:
    (tmp_path / "planloop.toml").write_text('setup = ["a"]\npackages = {pip = ["b"]}\n')
    task = task_of(tmp_path, "setup: [c]")
    assert task.setup.commands == ("c",)
    assert task.packages.pip == ("b",)


def test_no_word_of_the_plan_language_can_be_an_input() -> None:
    words = {*RESERVED, *keyword.kwlist, *dir(builtins), "again", "__class__", "ﬁ", ""}
    assert [word for word in words if input_name_problem(word) is None] == []
    assert input_name_problem("price") is None
    assert input_name_problem("größe") is None


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90.0),
        ("1.5", 1.5),
        ("30s", 30.0),
        ("500ms", 0.5),
        ("2m", 120.0),
        ("2 min", 120.0),
        ("1h30m", 5400.0),
        ("1h 30m 5s", 5405.0),
        ("1d", 86400.0),
        ("", None),
        ("s", None),
        ("5x", None),
        ("5s x", None),
        ("-5s", None),
        ("1e3s", None),
        ("٣s", None),
    ],
)
def test_durations(text: str, seconds: float | None) -> None:
    assert duration_of(text) == (None if seconds is None else pytest.approx(seconds))


@given(st.text(alphabet="0123456789.smhdin ", max_size=40))
def test_duration_text_never_raises(text: str) -> None:
    found = duration_of(text)
    assert found is None or found >= 0
