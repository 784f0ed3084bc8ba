"""Loads a task: from a file, a folder or a text, with the project file that stands above it."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

from planloop.budget import Budget
from planloop.errors import TaskError, UserError
from planloop.task import PackagesSpec, SetupSpec, Task, WorkspaceSpec
from planloop.taskfile.fields import read_settings
from planloop.taskfile.files import read_bytes
from planloop.taskfile.frontmatter import FILE_LIMIT, parse_document
from planloop.taskfile.nodes import Mark
from planloop.taskfile.project import find_project
from planloop.taskfile.settings import Settings, budget_of, first
from planloop.taskfile.trust import (
    Ask,
    asks_of,
    digest_of,
    files_that_run,
    is_inside,
    reference_kind,
)
from planloop.text import one_line

TASK_FILE = "task.md"


@dataclasses.dataclass(frozen=True, kw_only=True)
class LoadedTask:
    """A task, what it asks for beyond the defaults, and where each part comes from."""

    task: Task
    path: Path | None
    """The task file; None for a text."""
    asks: tuple[Ask, ...]
    digest: str
    """Of the task file, the project file and every file they name that runs."""
    settings: Settings
    """What the task file itself says."""
    project: Settings
    """What the project file says."""


def load_task(
    target: str | Path, *, cwd: Path, budget: Budget | None = None, home: Path | None = None
) -> LoadedTask:
    """The task in a file, or in the `task.md` of a folder.

    Args:
        target: a path, relative to `cwd` or absolute.
        cwd: the current folder.
        budget: the user's own limits; a file that wants more asks for consent.
        home: project files are looked for below it; the user's home by default.

    Raises:
        TaskError: the file cannot be read or says something wrong.
    """
    path = task_path(target, cwd)
    shown = _shown(path, cwd)
    data = read_bytes(path, shown, FILE_LIMIT)
    document = parse_document(shown, data)
    settings = read_settings(document.source, document.fields)
    text = document.body.strip()
    if not text:
        raise TaskError(
            "the task has no description",
            where=document.source.place(Mark(document.body_line)),
            hint="write what is to be done below the front matter",
        )
    folder = path.parent.resolve()
    asks = _link_asks(path, folder, shown)
    name = folder.name if path.name == TASK_FILE else path.stem
    settings = dataclasses.replace(settings, name=settings.name or one_line(name) or "task")
    return _loaded(text, settings, path, folder, cwd, data, asks, budget, home)


def task_from_text(
    text: str, cwd: Path, *, budget: Budget | None = None, home: Path | None = None
) -> LoadedTask:
    """A task given as text, run in the current folder.

    Raises:
        UserError: the text is empty or too long.
        TaskError: the folder's project file says something wrong.
    """
    if not text.strip():
        raise UserError("the task is empty", hint="say what is to be done")
    data = text.encode("utf-8", "replace")
    if len(data) > FILE_LIMIT or "\0" in text:
        raise UserError("the task is too long or holds a NUL character", hint="put it in a file")
    folder = cwd.resolve()
    return _loaded(text.strip(), Settings(), None, folder, cwd, data, (), budget, home)


def task_from_argument(
    argument: str, *, cwd: Path, budget: Budget | None = None, home: Path | None = None
) -> LoadedTask:
    """A command line's task: a path if it is one, or looks like one; else a text.

    Raises:
        TaskError, UserError: as `load_task` and `task_from_text`.
    """
    if not argument.strip():
        raise UserError("the task is empty", hint="name a task file, a folder, or say what to do")
    words = argument.split()
    if len(words) > 1 and not os.path.lexists(cwd / argument):
        return task_from_text(argument, cwd, budget=budget, home=home)
    return load_task(argument, cwd=cwd, budget=budget, home=home)


def task_path(target: str | Path, cwd: Path) -> Path:
    """The task file that `target` means.

    Raises:
        TaskError: there is none.
    """
    path = cwd / target
    shown = _shown(path, cwd)
    if os.path.isdir(path):
        path = path / TASK_FILE
        if not os.path.lexists(path):
            raise TaskError(
                f"the folder has no `{TASK_FILE}`",
                where=shown,
                hint=f"write the task into `{TASK_FILE}` there, or name another file",
            )
    elif not os.path.lexists(path):
        raise TaskError("there is no such file or folder", where=shown, hint=_missing_hint(path))
    return path


def _missing_hint(path: Path) -> str:
    import difflib

    try:
        names = [found.name for found in path.parent.iterdir() if found.suffix == ".md"]
    except (OSError, ValueError):
        names = []
    near = difflib.get_close_matches(path.name, names[:1000], n=1)
    if near:
        return f"did you mean `{near[0]}`?"
    return "name a task file or a folder with a `task.md`; a text has more than one word"


def _shown(path: Path, cwd: Path) -> str:
    try:
        return one_line(str(path.relative_to(cwd)), 200) if path != cwd else "."
    except ValueError:
        return one_line(str(path), 200)


def _link_asks(path: Path, folder: Path, shown: str) -> tuple[Ask, ...]:
    if is_inside(path, folder):
        return ()
    return (Ask(f"reads `{one_line(str(path.resolve()), 200)}`, outside its folder", shown),)


def _loaded(
    text: str,
    settings: Settings,
    path: Path | None,
    folder: Path,
    cwd: Path,
    data: bytes,
    asks: tuple[Ask, ...],
    budget: Budget | None,
    home: Path | None,
) -> LoadedTask:
    _require_files(settings, folder)
    own = Budget() if budget is None else budget
    project = find_project(folder, home, lambda found: _shown(found, cwd.resolve()))
    asks += asks_of(settings, folder, own) + asks_of(project.settings, project.folder, own)
    _require_files(project.settings, project.folder)
    runs = files_that_run(settings, folder) + files_that_run(project.settings, project.folder)
    return LoadedTask(
        task=_task(text, folder, settings, project.rebased(folder)),
        path=path,
        asks=asks,
        digest=digest_of(folder, (data, project.data), runs),
        settings=settings,
        project=project.rebased(folder),
    )


def _require_files(settings: Settings, folder: Path) -> None:
    """Raise `TaskError` where a path names no file."""
    named = [(f"tools.{index}", tool) for index, tool in enumerate(settings.tools or (), 1)]
    named += [("environment", settings.environment)] if settings.environment else []
    for name, reference in named:
        place = reference.partition(":")[0]
        if reference_kind(reference) != "path":
            continue
        if not (place.endswith(".py") and (folder / place).is_file()):
            raise settings.error(
                name,
                f"there is no Python file `{one_line(place)}`",
                "paths are relative to the folder of the file that names them",
            )


def _task(text: str, folder: Path, settings: Settings, project: Settings) -> Task:
    limits = {**project.limits, **settings.limits}
    return Task(
        text=text,
        folder=folder,
        name=settings.name or "task",
        model=settings.model or project.model,
        executor=settings.executor or project.executor,
        on_fail=settings.on_fail or project.on_fail or "tell",
        sandbox=settings.sandbox or project.sandbox,
        environment=settings.environment or project.environment,
        workspace=settings.workspace or project.workspace or WorkspaceSpec(),
        setup=first(settings.setup, project.setup) or SetupSpec(),
        packages=first(settings.packages, project.packages) or PackagesSpec(),
        tools=first(settings.tools, project.tools),
        checks=first(settings.checks, project.checks) or (),
        budget=budget_of(limits) if limits else None,
        inputs=first(settings.inputs, project.inputs) or {},
        outputs=first(settings.outputs, project.outputs) or (),
    )
