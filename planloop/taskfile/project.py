"""The project file `planloop.toml`: defaults for the tasks below it. A stranger's, like a task."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from planloop.taskfile.fields import FIELDS, read_settings
from planloop.taskfile.files import read_bytes
from planloop.taskfile.settings import Settings
from planloop.taskfile.toml import FILE_LIMIT, parse_toml
from planloop.taskfile.trust import reference_kind

PROJECT_FILE = "planloop.toml"
PROJECT_FIELDS = tuple(name for name in FIELDS if name != "name")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Project:
    """A project file; empty where there is none."""

    folder: Path
    path: Path | None = None
    data: bytes = b""
    settings: Settings = dataclasses.field(default_factory=Settings)

    def rebased(self, folder: Path) -> Settings:
        """The settings as a file in `folder` would write them."""
        if folder == self.folder:
            return self.settings
        found, model = self.settings, self.settings.model
        if model is not None and model.name.startswith("replay:"):
            path = self.folder / model.name.removeprefix("replay:")
            model = dataclasses.replace(model, name=f"replay:{path}")
        return dataclasses.replace(
            found,
            model=model,
            environment=found.environment and self._absolute(found.environment),
            tools=found.tools and tuple(self._absolute(tool) for tool in found.tools),
        )

    def _absolute(self, reference: str) -> str:
        return str(self.folder / reference) if reference_kind(reference) == "path" else reference


def find_project(folder: Path, home: Path | None, name: Callable[[Path], str]) -> Project:
    """The nearest project file of a folder.

    Parents are looked at up to a `.git` boundary, or else below the home; never further, so
    that a file in a shared place such as `/tmp` decides nothing.

    Args:
        folder: where the task is, links resolved.
        home: the user's home.
        name: how errors call a path.

    Raises:
        TaskError: the file cannot be read or says something wrong.
    """
    for place in _places(folder, (home or Path.home()).resolve()):
        path = place / PROJECT_FILE
        if os.path.lexists(path):
            data = read_bytes(path, name(path), FILE_LIMIT)
            source, fields = parse_toml(name(path), data)
            settings = read_settings(source, fields, PROJECT_FIELDS)
            return Project(folder=place, path=path, data=data, settings=settings)
    return Project(folder=folder)


def _places(folder: Path, home: Path) -> Iterator[Path]:
    """The folders that may hold the project file, nearest first."""
    chain = (folder, *folder.parents)
    boundary = next((place for place in chain if os.path.lexists(place / ".git")), None)
    if boundary is not None:
        yield from (place for place in chain if place.is_relative_to(boundary))
        return
    yield folder
    yield from (place for place in chain[1:] if place.is_relative_to(home) and place != home)
