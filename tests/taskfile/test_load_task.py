"""Where a task comes from: a file, a folder, a text; and the project file above it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from planloop.budget import Budget
from planloop.errors import TaskError, UserError
from planloop.sandbox import Limits
from planloop.task import RunCheck
from planloop.taskfile import load_task, task_from_argument, task_from_text


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
    return path


def refused(target: str | Path, cwd: Path) -> str:
    with pytest.raises(TaskError) as caught:
        load_task(target, cwd=cwd, home=cwd)
    assert caught.value.where
    assert caught.value.hint
    return str(caught.value)


def test_a_file_and_its_folder_name_the_same_task(tmp_path: Path) -> None:
    path = write(tmp_path / "fix" / "task.md", "---\nbudget: {cost: 1}\n---\nDo it.")
    by_file = load_task("fix/task.md", cwd=tmp_path, home=tmp_path)
    by_folder = load_task("fix", cwd=tmp_path, home=tmp_path)
    by_path = load_task(path, cwd=Path("/"), home=tmp_path)
    assert by_file.task == by_folder.task == by_path.task
    assert by_file.digest == by_folder.digest == by_path.digest
    assert by_file.task.folder == path.parent.resolve()
    assert by_file.task.name == "fix"
    assert by_file.path == by_folder.path == path


def test_a_file_of_another_name_gives_the_task_its_name(tmp_path: Path) -> None:
    write(tmp_path / "report.md", "Write it.")
    assert load_task("report.md", cwd=tmp_path, home=tmp_path).task.name == "report"


def test_errors_name_the_file_as_the_user_did(tmp_path: Path) -> None:
    write(tmp_path / "a" / "task.md", "---\nx: 1\n---\nhi")
    assert refused("a", tmp_path).startswith("a/task.md, line 2: unknown field `x`")


def test_a_missing_file_is_named_with_its_neighbour(tmp_path: Path) -> None:
    write(tmp_path / "task.md", "hi")
    assert refused("taks.md", tmp_path) == (
        "taks.md: there is no such file or folder\n\nhint: did you mean `task.md`?"
    )
    assert refused("no/such", tmp_path) == (
        "no/such: there is no such file or folder\n\n"
        "hint: name a task file or a folder with a `task.md`; a text has more than one word"
    )


def test_names_that_no_file_can_have_are_missing(tmp_path: Path) -> None:
    for target in ("a\0b", "x" * 5000, "\udcff", "\x1b[2J"):
        text = refused(target, tmp_path)
        assert "there is no such file or folder" in text
        assert "\x1b" not in text
        assert len(text) < 500


def test_a_folder_without_a_task_says_so(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert refused("empty", tmp_path) == (
        "empty: the folder has no `task.md`\n\n"
        "hint: write the task into `task.md` there, or name another file"
    )


def test_a_folder_called_task_md_is_no_task(tmp_path: Path) -> None:
    (tmp_path / "task.md").mkdir()
    assert refused(".", tmp_path).startswith("task.md: this is no regular file")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "task.md")
    assert refused("task.md", tmp_path).startswith("task.md: this is no regular file")


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root reads everything")
def test_an_unreadable_file_says_so(tmp_path: Path) -> None:
    write(tmp_path / "task.md", "hi").chmod(0)
    assert refused("task.md", tmp_path).startswith("task.md: cannot be read: Permission denied")


def test_a_link_to_itself_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "task.md").symlink_to(tmp_path / "task.md")
    assert refused("task.md", tmp_path).startswith("task.md: ")


def test_a_dangling_link_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "task.md").symlink_to(tmp_path / "gone")
    assert refused("task.md", tmp_path).startswith("task.md: cannot be read: No such file")


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"a\nb\0c", "task.md, line 2: not a text file: it holds a NUL byte"),
        ("hi".encode("utf-16"), "task.md: UTF-16, not UTF-8"),
        (b"a\n\ncaf\xe9", "task.md, line 3: not UTF-8: byte 0xe9 has no meaning there"),
        (b"x" * (1 << 20) + b"x", "task.md: larger than 1024 KiB"),
        (b"", "task.md, line 1: the task has no description"),
        (b"---\nname: a\n---\n \n", "task.md, line 4: the task has no description"),
        (b"---\nname: a\n", "task.md, line 1: the front matter is not closed"),
        (b"---", "task.md, line 1: the front matter is not closed"),
    ],
)
def test_files_that_are_no_task(data: bytes, what: str, tmp_path: Path) -> None:
    (tmp_path / "task.md").write_bytes(data)
    assert refused("task.md", tmp_path).split("\n")[0] == what


def test_a_text_runs_in_the_current_folder(tmp_path: Path) -> None:
    loaded = task_from_text("  Write a poem.\n", tmp_path, home=tmp_path)
    assert (loaded.task.text, loaded.task.name) == ("Write a poem.", "task")
    assert loaded.task.folder == tmp_path.resolve()
    assert (loaded.path, loaded.asks) == (None, ())


@pytest.mark.parametrize("text", ["", " \n", "a\0b", "x" * (1 << 20) + "y"])
def test_a_text_that_is_no_task_is_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        task_from_text(text, tmp_path)
    assert caught.value.hint


def test_an_argument_is_a_path_if_it_exists_or_looks_like_one(tmp_path: Path) -> None:
    write(tmp_path / "two words" / "task.md", "hi")
    assert task_from_argument("two words", cwd=tmp_path, home=tmp_path).path is not None
    assert task_from_argument("Write a poem", cwd=tmp_path, home=tmp_path).path is None
    with pytest.raises(TaskError, match="no such file"):
        task_from_argument("taks.md", cwd=tmp_path)
    with pytest.raises(UserError, match="empty"):
        task_from_argument(" ", cwd=tmp_path)


PROJECT = """\
model = "openai:m"          # a default for every task
tools = ["shell", "./own.py:price"]
checks = ["make test"]
outputs = ["out/*"]

[budget]
cost = 0.5
rounds = 7

[sandbox.limits]
memory = "1GB"
"""


def test_the_project_file_gives_defaults_and_the_task_wins(tmp_path: Path) -> None:
    write(tmp_path / ".git" / "HEAD", "")
    write(tmp_path / "own.py", "")
    write(tmp_path / "planloop.toml", PROJECT)
    write(tmp_path / "a" / "task.md", "---\nbudget: {cost: 0.25}\noutputs: []\n---\nhi")
    loaded = load_task("a", cwd=tmp_path, home=tmp_path)
    task = loaded.task
    assert task.model is not None
    assert task.model.name == "openai:m"
    assert task.tools == ("shell", str(tmp_path.resolve() / "own.py:price"))
    assert task.checks == (RunCheck(run="make test"),)
    assert task.outputs == ()
    assert task.budget == Budget(cost_usd=0.25, rounds=7)
    assert task.sandbox is not None
    assert task.sandbox.limits == Limits(memory_bytes=10**9)
    assert loaded.settings.limits == {"cost_usd": 0.25}
    assert loaded.project.limits == {"cost_usd": 0.5, "rounds": 7}


def test_a_text_heeds_the_project_file_too(tmp_path: Path) -> None:
    write(tmp_path / "planloop.toml", "checks = ['make test']")
    assert task_from_text("do it", tmp_path, home=tmp_path).task.checks


def test_the_project_files_replay_is_found_from_a_folder_below(tmp_path: Path) -> None:
    write(tmp_path / "home" / "planloop.toml", "")
    write(tmp_path / "home" / "p" / "planloop.toml", 'model = "replay:r.jsonl"')
    write(tmp_path / "home" / "p" / "a" / "task.md", "hi")
    task = load_task("a", cwd=tmp_path / "home" / "p", home=tmp_path / "home").task
    assert task.model is not None
    assert task.model.name == f"replay:{tmp_path.resolve() / 'home' / 'p' / 'r.jsonl'}"


def _with_project(place: Path, folder: Path, home: Path) -> bool:
    write(place / "planloop.toml", "checks = ['make test']")
    write(folder / "task.md", "hi")
    found = bool(load_task(folder, cwd=folder, home=home).task.checks)
    (place / "planloop.toml").unlink()
    return found


def test_project_files_are_looked_for_up_to_a_boundary(tmp_path: Path) -> None:
    home, elsewhere = tmp_path / "home", tmp_path / "elsewhere"
    deep = home / "a" / "b"
    assert _with_project(deep, deep, home)
    assert _with_project(home / "a", deep, home)
    assert not _with_project(home, deep, home)
    assert not _with_project(tmp_path, deep, home)
    assert not _with_project(elsewhere, elsewhere / "x", home)
    (elsewhere / ".git").mkdir(parents=True, exist_ok=True)
    assert _with_project(elsewhere, elsewhere / "x" / "y", home)
    assert not _with_project(tmp_path, elsewhere / "x", home)
    (deep / ".git").write_text("gitdir: elsewhere")
    assert not _with_project(home / "a", deep, home)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "model = 5",
            "planloop.toml, line 1: `model` is 5; expected a model's name\n"
            '       model = 5\n               ^\n\nhint: put it in quotes: `"5"`',
        ),
        (
            "\n[budget]\ncost = 'much'\n",
            'planloop.toml, line 3: `budget.cost` is "much"; expected a number of US dollars '
            "above 0\n       cost = 'much'\n              ^\n\nhint: write `cost: 2.0`",
        ),
        (
            "model = openai",
            "planloop.toml, line 1: not valid TOML: Invalid value\n"
            "       model = openai\n               ^\n\n"
            'hint: text stands in quotes: `model = "name"`',
        ),
        (
            "name = 'x'",
            "planloop.toml, line 1: unknown field `name`\n       name = 'x'\n       ^\n\n"
            "hint: known fields: `version`, `model`, `executor`, `on_fail`, `sandbox`, "
            "`environment`, `workspace`, `setup`, `packages`, `tools`, `checks`, `budget`, "
            "`inputs`, `outputs`",
        ),
        (
            "tools = ['./gone.py']",
            "planloop.toml, line 1: there is no Python file `./gone.py`\n"
            "       tools = ['./gone.py']\n               ^\n\n"
            "hint: paths are relative to the folder of the file that names them",
        ),
    ],
)
def test_errors_of_the_project_file(text: str, message: str, tmp_path: Path) -> None:
    write(tmp_path / "planloop.toml", text)
    write(tmp_path / "task.md", "hi")
    with pytest.raises(TaskError) as caught:
        load_task(".", cwd=tmp_path, home=tmp_path)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    "text",
    [
        "a = " + "[" * 5000,
        "budget = {cost = inf}",
        "inputs = {a = nan}",
        "inputs = {a = " + "9" * 5000 + "}",
        "inputs = {a = 99999999999999999999}",
        'inputs = {a = "\\u0000"}',
        'inputs = {"a\\u001b" = 1}',
        "inputs.a." + ".".join("b" * 30) + " = 1",
        "model = 'a'\nmodel = 'b'",
        "[model",
        "x" * 70_000,
        "\ufeffmodel = 1",
    ],
)
def test_hostile_project_files_are_one_error(text: str, tmp_path: Path) -> None:
    write(tmp_path / "planloop.toml", text)
    write(tmp_path / "task.md", "hi")
    with pytest.raises(TaskError) as caught:
        load_task(".", cwd=tmp_path, home=tmp_path)
    assert caught.value.where is not None
    assert caught.value.where.startswith("planloop.toml")
    assert caught.value.hint
    assert len(str(caught.value)) < 700


def test_dates_of_toml_are_text(tmp_path: Path) -> None:
    write(tmp_path / "planloop.toml", "inputs = {day = 2026-01-31, at = 10:30:00}")
    write(tmp_path / "task.md", "hi")
    inputs = load_task(".", cwd=tmp_path, home=tmp_path).task.inputs
    assert inputs == {"day": "2026-01-31", "at": "10:30:00"}
