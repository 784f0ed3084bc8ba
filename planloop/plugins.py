"""Tools and environments by name: an entry point, `module:name`, or a path to a Python file."""

from __future__ import annotations

import difflib
import importlib
import importlib.machinery
import importlib.util
import inspect
import sys
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import CodeType
from typing import Any

from planloop.environment import Environment
from planloop.errors import UserError
from planloop.tool import Tool, tool


def resolve_tool(name: str, base: Path) -> Tool:
    """The tool of this name.

    Args:
        name: an installed tool's name, `module:function`, or `path.py:function`.
        base: the folder that paths are relative to.

    Raises:
        UserError: there is none, or it is no function.
    """
    found = _resolve(name, base, "planloop.tools", "tool")
    if isinstance(found, Tool):
        return found
    if callable(found):
        return tool(found)
    raise UserError(
        f"tool `{name}` is no function", hint="name a function, typed, with a docstring"
    )


def resolve_environment(name: str, base: Path) -> Environment:
    """A new environment of this name.

    Args:
        name: an installed environment's name, `module:Class`, or a path to a Python file, with
            `:Class` if it defines several.
        base: the folder that paths are relative to.

    Raises:
        UserError: there is none, or it is no environment.
    """
    found = _resolve(name, base, "planloop.environments", "environment")
    if inspect.isclass(found) and issubclass(found, Environment):
        return _made(found, name)
    if isinstance(found, Environment):
        return found
    raise UserError(
        f"environment `{name}` is no class derived from `planloop.Environment`",
        hint="`from planloop import Environment` and derive from it",
    )


def _made(found: type[Environment], name: str) -> Environment:
    try:
        return found()
    except Exception as error:
        raise UserError(
            f"environment `{name}` cannot be made: {type(error).__name__}: {error}",
            hint="it is called without arguments: give each a default",
        ) from None


def _resolve(name: str, base: Path, group: str, what: str) -> Any:
    installed = {point.name: point for point in entry_points(group=group)}
    if name in installed:
        return _load(installed[name], what)
    place, colon, attribute = name.partition(":")
    if place.endswith(".py"):
        return _attribute(_module_at(base / place, what, name), attribute, what, name)
    if colon:
        return _attribute(_module(place, what, name), attribute, what, name)
    near = difflib.get_close_matches(name, installed, n=1)
    raise UserError(
        f"no {what} `{name}`; installed: {', '.join(f'`{one}`' for one in sorted(installed))}",
        hint=f"did you mean `{near[0]}`?"
        if near
        else f"write `module:name`, or a path such as `{what}s.py:name`",
    )


def _load(point: EntryPoint, what: str) -> Any:
    try:
        return point.load()
    except Exception as error:
        raise UserError(f"{what} `{point.name}` cannot be imported: {error}") from None


def _module(place: str, what: str, name: str) -> Any:
    try:
        return importlib.import_module(place)
    except (Exception, SystemExit) as error:
        raise UserError(
            f"{what} `{name}`: module `{place}` cannot be imported: {error}",
            hint="is it installed in this environment?",
        ) from None


class _FromSource(importlib.machinery.SourceFileLoader):
    """Runs the very text that the user agreed to.

    A compiled file that came beside it is not read, and none is written into the user's folder.
    """

    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        return self.source_to_code(self.get_data(path), path)


def _module_at(path: Path, what: str, name: str) -> Any:
    if not path.is_file():
        raise UserError(f"{what} `{name}`: there is no file `{path}`")
    label = f"_planloop_{what}_{abs(hash(path.resolve()))}"
    loader = _FromSource(label, str(path))
    spec = importlib.util.spec_from_file_location(label, path, loader=loader)
    if spec is None or spec.loader is None:
        raise UserError(f"{what} `{name}`: `{path}` is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[label] = module  # typing.get_type_hints looks a tool's module up there
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[label]
        raise UserError(
            f"{what} `{name}`: `{path}` fails to load: {type(error).__name__}: {error}",
            hint=f"`python {path.name}` shows where",
        ) from None
    return module


def _attribute(module: Any, attribute: str, what: str, name: str) -> Any:
    if attribute:
        if hasattr(module, attribute):
            return getattr(module, attribute)
        near = difflib.get_close_matches(attribute, vars(module), n=1)
        raise UserError(
            f"{what} `{name}`: the module has no `{attribute}`",
            hint=f"did you mean `{near[0]}`?"
            if near
            else "name a class or function that it defines",
        )
    own = [
        found
        for found in vars(module).values()
        if inspect.isclass(found)
        and issubclass(found, Environment)
        and found.__module__ == module.__name__
    ]
    if what == "environment" and len(own) == 1:
        return own[0]
    raise UserError(
        f"{what} `{name}` names a file that defines {len(own) or 'no'} of them",
        hint="add `:name` after the path",
    )
