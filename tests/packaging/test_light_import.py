"""Importing planloop costs next to nothing: the modules that it may load are listed exactly."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

BARE = {"", "_version", "errors", "observation", "sandbox", "tool", "values"}
NOUNS = {*BARE, "agent", "budget", "environment", "options", "plan", "state", "task"}
SHOW_NEW_MODULES = """
import sys
before = set(sys.modules)
{statement}
for name in sorted(set(sys.modules) - before):
    print(name)
"""


@pytest.mark.parametrize(
    ("statement", "own"),
    [
        ("import planloop", BARE),
        ("from planloop import Agent, Task, tool, Environment", NOUNS),
    ],
)
def test_an_import_loads_these_modules_and_no_other_package(
    statement: str, own: set[str], tmp_path: Path
) -> None:
    loaded = new_modules(statement, tmp_path)
    foreign = {name for name in loaded if name.split(".")[0] not in sys.stdlib_module_names}
    assert foreign == {f"planloop.{name}".rstrip(".") for name in own}


@pytest.mark.parametrize("heavy", ["asyncio", "ssl", "subprocess", "multiprocessing", "sqlite3"])
def test_an_import_leaves_heavy_parts_of_the_standard_library_alone(
    heavy: str, tmp_path: Path
) -> None:
    assert heavy not in new_modules("from planloop import Agent, Task, tool, Environment", tmp_path)


def test_building_an_agent_loads_nothing_more(tmp_path: Path) -> None:
    names = "from planloop import Agent, Task, tool, Environment"
    built = f"{names}\ndef add(a: int) -> int: return a\nAgent(model='openai:m', tools=[tool(add)])"
    assert new_modules(built, tmp_path) == new_modules(names, tmp_path)


def new_modules(statement: str, folder: Path) -> set[str]:
    """What a fresh interpreter loads for a statement, beyond its own start."""
    code = SHOW_NEW_MODULES.format(statement=statement)
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, check=True, capture_output=True, text=True
    )
    return set(ran.stdout.split())
