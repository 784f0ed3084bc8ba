"""Python files that a task names: what runs is the text that the user agreed to."""

from __future__ import annotations

import py_compile
from importlib.util import cache_from_source
from pathlib import Path

import pytest

from planloop.errors import UserError
from planloop.plugins import resolve_tool
from planloop.taskfile import load_task

GOOD = 'def look(what: str) -> str:\n    """Look."""\n    return "as read"\n'
TASK = "---\nmodel: replay:r.jsonl\ntools: [{tool}]\n---\nDo it.\n"


def digest(folder: Path, tool: str) -> str:
    (folder / "task.md").write_text(TASK.format(tool=tool))
    return load_task(folder, cwd=folder, home=folder).digest


def test_a_compiled_file_beside_a_tool_is_not_what_runs(tmp_path: Path) -> None:
    source, other = tmp_path / "tools.py", tmp_path / "other.py"
    other.write_text(GOOD.replace("as read", "not as read"))
    py_compile.compile(
        str(other),
        cache_from_source(str(source)),
        str(source),
        invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
    )
    source.write_text(GOOD)
    assert resolve_tool("tools.py:look", tmp_path).function("x") == "as read"


def test_importing_a_tool_writes_nothing_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.dont_write_bytecode", False)
    (tmp_path / "tools.py").write_text(GOOD)
    resolve_tool("tools.py:look", tmp_path)
    assert [found.name for found in tmp_path.iterdir()] == ["tools.py"]


@pytest.mark.parametrize("changed", ["pkg/__init__.py", "pkg/tools.py"])
def test_every_file_of_a_module_that_runs_counts(tmp_path: Path, changed: str) -> None:
    (tmp_path / "pkg").mkdir()
    for name in ("__init__", "tools"):
        (tmp_path / "pkg" / f"{name}.py").write_text(GOOD)
    before = digest(tmp_path, "pkg.tools:look")
    assert digest(tmp_path, "pkg.tools:look") == before
    (tmp_path / changed).write_text(GOOD + "# changed\n")
    assert digest(tmp_path, "pkg.tools:look") != before


def test_a_file_too_long_to_look_at_is_never_known_again(tmp_path: Path) -> None:
    (tmp_path / "tools.py").write_text("#" * (17 << 20) + "\n" + GOOD)
    assert digest(tmp_path, "tools.py:look") != digest(tmp_path, "tools.py:look")


@pytest.mark.parametrize("source", ["raise SystemExit(0)", "raise ValueError('x')", "def f(:"])
def test_a_file_that_ends_while_it_loads_is_an_error_of_its_own(
    tmp_path: Path, source: str
) -> None:
    (tmp_path / "tools.py").write_text(source)
    with pytest.raises(UserError, match="fails to load"):
        resolve_tool("tools.py:look", tmp_path)
