from __future__ import annotations

from pathlib import Path

import pytest

from planloop.workspace import default_pins, loads_in_process, matches, pinned_tree

from .trees import Tree, build, read


def pinned(
    tmp_path: Path, original: Tree, result: Tree, *pins: str
) -> tuple[Tree, tuple[str, ...], tuple[str, ...]]:
    found = pinned_tree(
        build(original, tmp_path / "original"),
        build(result, tmp_path / "result"),
        pins or default_pins("true", original),
        tmp_path / "target",
    )
    return read(tmp_path / "target"), found.restored, found.removed


def test_pinned_files_are_put_back_and_added_ones_removed(tmp_path: Path) -> None:
    original: Tree = {"a.py": (b"bug", False), "tests/test_a.py": (b"honest", False)}
    original["test_b.py"] = (b"honest", False)
    result: Tree = {"a.py": (b"fix", False), "tests/test_a.py": (b"lax", True), "n": (b"", False)}
    result |= {"conftest.py": (b"cheat", False), "tests/more.py": (b"cheat", False)}
    tree, restored, removed = pinned(tmp_path, original, result)
    assert tree == {**original, "a.py": (b"fix", False), "n": (b"", False)}
    assert restored == ("test_b.py", "tests/test_a.py")
    assert removed == ("conftest.py", "tests/more.py")
    assert read(tmp_path / "result") == result


def test_an_honest_result_is_what_the_check_gets(tmp_path: Path) -> None:
    tree: Tree = {"tests/t": (b"1", True), "l": "tests/t", "new": (b"2", False)}
    original: Tree = {"tests/t": (b"1", True)}
    assert pinned(tmp_path, original, tree) == (tree, (), ())


def test_a_folder_of_tests_that_became_a_link_is_put_back(tmp_path: Path) -> None:
    original: Tree = {"tests/test_a.py": (b"honest", False)}
    result: Tree = {"tests": "evil", "evil/test_a.py": (b"pass", False)}
    tree, restored, _ = pinned(tmp_path, original, result)
    assert tree["tests/test_a.py"] == (b"honest", False)
    assert restored == ("tests/test_a.py",)


def test_a_pinned_file_that_became_a_folder_is_put_back(tmp_path: Path) -> None:
    original: Tree = {"check.sh": (b"honest", True)}
    result: Tree = {"check.sh/x": (b"", False)}
    tree, restored, removed = pinned(tmp_path, original, result, "check.sh")
    assert tree == original
    assert restored == ("check.sh",)
    assert removed == ("check.sh/x",)


def test_a_pinned_file_that_became_a_folder_of_folders_is_put_back(tmp_path: Path) -> None:
    original: Tree = {"check.sh": (b"honest", True)}
    folder = build({"other": (b"", False)}, tmp_path / "result")
    (folder / "check.sh" / "sub" / "x").mkdir(parents=True)
    target = tmp_path / "target"
    pinned_tree(build(original, tmp_path / "original"), folder, ("check.sh",), target)
    assert read(target) == {**original, "other": (b"", False)}


def test_an_added_package_does_not_stand_in_for_a_pinned_module(tmp_path: Path) -> None:
    original: Tree = {"test_a.py": (b"honest", False), "a.py": (b"", False)}
    cheat: Tree = {"test_a/__init__.py": (b"", False), "a/__init__.py": (b"", False)}
    tree, _, removed = pinned(tmp_path, original, {**original, **cheat})
    assert "test_a/__init__.py" not in tree
    assert "a/__init__.py" in tree, "what is judged may become a package"
    assert removed == ("test_a/__init__.py",)


@pytest.mark.parametrize(
    ("command", "path"),
    [
        ("python3 -m pytest -q", "pyproject.toml"),
        (".venv/bin/pytest tests", "sub/setup.cfg"),
        ("pytest", ".pytest.ini"),
        ("python3 -m unittest", "testadding.py"),
        ("python3 -m unittest", "unittest/__main__.py"),
        ("python3 -m unittest -v checks.verify.Test.test_x", "checks/verify.py"),
        ("python3 -m unittest checks.verify", "checks/__init__.py"),
        ("cd sub && python3 -m selftest", "sub/selftest.py"),
        ("make test", "GNUmakefile"),
        ("make -C lib test", "lib/Makefile"),
        ("npm test", "package.json"),
        ("go test ./...", "a/b_test.go"),
    ],
)
def test_what_decides_a_runner_is_pinned(command: str, path: str) -> None:
    assert any(matches(pin, path) for pin in default_pins(command, [path]))


@pytest.mark.parametrize(
    ("command", "path"),
    [
        ("python3 -m app | diff - expected", "app.py"),
        ("true", "pyproject.toml"),
        ("python3 -m unittest", "app.py"),
        ("python3 -m unittest discover -s tests", "discover/app.py"),
    ],
)
def test_what_is_judged_is_not_pinned(command: str, path: str) -> None:
    assert not any(matches(pin, path) for pin in default_pins(command, [path]))


def test_compiled_files_never_stand_in_for_sources(tmp_path: Path) -> None:
    original: Tree = {"tests/test_a.py": (b"honest", False)}
    cheat: Tree = {
        "tests/__pycache__/test_a.cpython-311.pyc": (b"cheat", False),
        "a.pyc": (b"c", False),
    }
    assert pinned(tmp_path, original, {**original, **cheat})[0] == original


def test_links_that_leave_do_not_come_along(tmp_path: Path) -> None:
    result: Tree = {"a": "/etc/passwd", "b": "../x", "c": "d", "d": (b"", False)}
    assert pinned(tmp_path, {}, result)[0] == {"c": "d", "d": (b"", False)}


def test_default_pins_hold_what_the_command_names() -> None:
    existing = ["check.sh", "data/a b.txt", "expected", "sub/run.py", "src/a.py", "od[d]*.py"]
    pins = default_pins("cd sub && python run.py | diff - ./expected", existing)
    assert {"/sub/run.py", "/expected"} <= set(pins)
    assert "/src/a.py" not in pins
    assert "/data/a b.txt" in {
        p.replace("\\", "") for p in default_pins("cat 'data/a b.txt'", existing)
    }
    odd = default_pins("python 'od[d]*.py'", existing)
    assert any(matches(pin, "od[d]*.py") for pin in odd)
    assert not any(matches(pin, "oddest.py") for pin in odd)


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        ("tests/**", "tests/a/b.py", True),
        ("tests", "tests/a/b.py", True),
        ("tests/", "tests/a", True),
        ("./tests/", "tests/a", True),
        ("tests/**", "src/tests/a", False),
        ("test_*.py", "test_a.py", True),
        ("test_*.py", "src/test_a.py", False),
        ("**/test_*.py", "src/test_a.py", True),
        ("**/test_*.py", "test_a.py", True),
        ("*.py", "a/b.py", False),
        ("**", "a/b", True),
    ],
)
def test_pins_match_whole_paths(pattern: str, path: str, expected: bool) -> None:
    assert matches(pattern, path) is expected


@pytest.mark.parametrize(
    "command",
    [
        "diff report.md expected",
        "sort out.txt | cmp - expected.txt",
        "test -f report.md",
        "[ -s out.csv ] && grep -q total out.csv",
        "! grep -rn TODO src",
        "diff out expected > /dev/null 2>&1",
        '[ "$(cat out | wc -l)" = 7 ]',
        "tail -n 1 log | grep -q 42",
    ],
)
def test_commands_that_only_look_from_outside(command: str) -> None:
    assert not loads_in_process(command)


@pytest.mark.parametrize(
    "command",
    [
        "./prog | diff - expected",
        '[ "$(./prog 3 4)" = 7 ]',
        "LANG=C ./prog | cmp - expected",
        "build/prog | grep -q 42",
        "sort --compress-program=./prog out",
        "pytest",
        "python -m unittest discover -s tests",
        "python3 tests/check.py",
        "python3 -c 'import calc; assert calc.add(1, 2) == 3'",
        "make test",
        "./check.sh",
        "sh check.sh",
        "./prog",
        "pytest | grep -q passed",
        "python check.py | grep -q OK",
        "python -m pytest -q | diff - expected",
        "pytest && test -f setup.py",
        "test -f a || ./prog",
        "test -f a; ./prog",
        "./prog | python3 compare.py",
        "diff <(./prog) expected",
        "PYTHONPATH=. python prog.py | diff - expected",
        "if ./prog; then true; fi",
        "grep -q $(python -c 'import calc') x",
        "`pytest` | cmp - x",
        "PATH=.:$PATH diff a b",
        "./prog & test -f x",
        '[ "$(pytest)" = ok ]',
        "",
        "diff 'a",
    ],
)
def test_commands_that_could_be_forged_by_what_they_load(command: str) -> None:
    assert loads_in_process(command)
