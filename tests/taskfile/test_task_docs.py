"""What docs/task-files.md shows is what planloop reads."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from planloop.errors import TaskError
from planloop.sandbox import Limits
from planloop.taskfile import load_task, load_user
from planloop.taskfile.checks import FIELDS as CHECK_FIELDS
from planloop.taskfile.fields import FIELDS, LIMIT_FIELDS, SANDBOX_FIELDS, WORKSPACE_FIELDS
from planloop.taskfile.settings import LIMIT_NAMES

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "task-files.md").read_text("utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("text", blocks("markdown"))
def test_every_task_on_the_page_is_read(text: str, tmp_path: Path) -> None:
    (tmp_path / "task.md").write_text(text, "utf-8")
    assert load_task("task.md", cwd=tmp_path, home=tmp_path).task.text


def test_every_toml_on_the_page_is_read(tmp_path: Path) -> None:
    project, user = blocks("toml")
    (tmp_path / "planloop.toml").write_text(project, "utf-8")
    (tmp_path / "task.md").write_text("hi", "utf-8")
    assert load_task("task.md", cwd=tmp_path, home=tmp_path).task.checks
    (tmp_path / "config.toml").write_text(user, "utf-8")
    found = load_user({"PLANLOOP_CONFIG": str(tmp_path / "config.toml"), "HOME": str(tmp_path)})
    assert found.providers
    assert found.models
    assert found.prices


def test_the_error_on_the_page_is_what_one_sees(tmp_path: Path) -> None:
    text = "---\nversion: 1\nname: a\nbudget: {cost: 2 dollars}\n---\nhi\n"
    (tmp_path / "task.md").write_text(text)
    with pytest.raises(TaskError) as caught:
        load_task("task.md", cwd=tmp_path, home=tmp_path)
    assert blocks("text") == [f"error: {caught.value}\n"]


def test_the_page_names_every_field() -> None:
    names = (*FIELDS, *SANDBOX_FIELDS, *LIMIT_FIELDS, *WORKSPACE_FIELDS, *LIMIT_NAMES)
    names += tuple(name for fields in CHECK_FIELDS.values() for name in fields)
    assert [name for name in names if not re.search(rf"\b{name}\b", PAGE)] == []


def test_the_page_states_the_default_limits() -> None:
    assert Limits() == Limits(
        memory_bytes=2_000_000_000,
        processes=128,
        disk_bytes=1_000_000_000,
        inodes=100_000,
        shown_bytes=64_000,
        kept_bytes=64_000_000,
        timeout_s=120.0,
    )
    assert "`2GB`, `128`, `1GB`, `100000`; `2m`, `64MB` and `64kB`" in PAGE
