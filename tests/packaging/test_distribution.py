"""What is shipped is whole, and works where the repository is not."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import users

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.slow

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def shell(started_environment: dict[str, str]) -> Run:
    """Runs a command with the machine's own settings, which pip needs; its output is kept."""
    environment = {k: v for k, v in started_environment.items() if not k.startswith("PYTHON")}

    def run(*command: object, cwd: Path, check: bool = True) -> subprocess.CompletedProcess[str]:
        ran = subprocess.run(
            [str(part) for part in command],
            cwd=cwd,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
        )
        if check:
            assert ran.returncode == 0, f"{command}\n{ran.stdout}{ran.stderr}"
        return ran

    return run


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory, shell: Run) -> Path:
    """A folder with a source distribution, and the wheel that was built from it."""
    folder = tmp_path_factory.mktemp("dist")
    shell(sys.executable, "-m", "build", "--outdir", folder, ROOT, cwd=folder)
    return folder


@pytest.fixture(scope="session")
def clean(tmp_path_factory: pytest.TempPathFactory, built: Path, shell: Run) -> Path:
    """The interpreter of an environment that holds the wheel and what it requires, no more."""
    folder = tmp_path_factory.mktemp("clean")
    shell(sys.executable, "-m", "venv", folder / "env", cwd=folder)
    python = folder / "env" / "bin" / "python"
    (wheel,) = built.glob("*.whl")
    shell(python, "-m", "pip", "install", "--disable-pip-version-check", wheel, cwd=folder)
    return python


def test_the_wheel_holds_the_three_packages_their_types_and_the_templates(built: Path) -> None:
    names = wheel_files(built)
    packages = {name.split("/")[0] for name in names if ".dist-info" not in name}
    assert packages == {"planloop", "planloop_tools", "planloop_environments"}
    assert {f"{package}/py.typed" for package in packages} <= names
    assert shipped(ROOT / "planloop", ROOT) <= names
    assert shipped(ROOT / "tools" / "planloop_tools", ROOT / "tools") <= names
    assert shipped(ROOT / "environments" / "planloop_environments", ROOT / "environments") <= names
    assert any(name.startswith("planloop/planner/templates/") for name in names)


def test_the_wheel_holds_no_tests_and_no_caches(built: Path) -> None:
    stray = {name for name in wheel_files(built) if "__pycache__" in name or "test_" in name}
    assert stray == set()


def test_the_source_distribution_holds_what_its_wheel_is_made_of(built: Path) -> None:
    (archive,) = built.glob("*.tar.gz")
    with tarfile.open(archive) as opened:
        names = {name.partition("/")[2] for name in opened.getnames()}
    assert {"README.md", "LICENSE", "CHANGELOG.md", "Dockerfile", "pyproject.toml"} <= names
    assert shipped(ROOT / "planloop", ROOT) <= names
    assert not any(name.startswith((".venv", "shared", ".git/")) for name in names)


def test_the_embedding_example_of_the_readme_works_from_an_empty_folder(
    clean: Path, shell: Run, tmp_path: Path
) -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    (example,) = re.findall(r"```python\n(from planloop import.*?)\n```\n\n", readme, re.DOTALL)
    promised = re.search(r"It prints `(.*?)`", readme)
    assert promised is not None
    folder = tmp_path / "empty"
    folder.mkdir()
    ran = shell(clean, "-c", example, cwd=folder)
    assert ran.stdout.strip() == promised[1]
    assert list(folder.iterdir()) == []


def test_a_users_own_tool_by_decorator_runs(clean: Path, shell: Run, tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(users.OWN_TOOL)
    assert shell(clean, "app.py", cwd=tmp_path).stdout.split() == ["answered", "18", "[18]"]


def test_a_users_own_environment_by_path_runs(clean: Path, shell: Run, tmp_path: Path) -> None:
    (tmp_path / "lamp.py").write_text(users.OWN_ENVIRONMENT)
    (tmp_path / "app.py").write_text(users.USES_THE_ENVIRONMENT)
    assert shell(clean, "app.py", cwd=tmp_path).stdout.split() == ["success", "lit", "host"]


def test_the_command_is_installed_and_helps(clean: Path, shell: Run, tmp_path: Path) -> None:
    ran = shell(clean.with_name("planloop"), "--help", cwd=tmp_path)
    assert "planloop run" in ran.stdout


def test_a_type_checker_sees_the_public_types_from_outside(
    clean: Path, shell: Run, tmp_path: Path
) -> None:
    (tmp_path / "app.py").write_text(users.TYPED)
    mypy(shell, clean, tmp_path)


def test_a_type_checker_finds_mistakes_in_the_use_of_planloop(
    clean: Path, shell: Run, tmp_path: Path
) -> None:
    (tmp_path / "app.py").write_text(users.WRONGLY_TYPED)
    ran = mypy(shell, clean, tmp_path, check=False)
    assert ran.returncode == 1
    for mistake in ("RunStatuss", "modell", '"rounds"', "int"):
        assert any(mistake in line for line in ran.stdout.splitlines()), ran.stdout
    assert "Found 4 errors" in ran.stdout


def mypy(
    shell: Run, clean: Path, folder: Path, *, check: bool = True
) -> subprocess.CompletedProcess[str]:
    options = ("--strict", "--python-executable", clean, "--cache-dir", folder / "cache")
    return shell(sys.executable, "-m", "mypy", *options, "app.py", cwd=folder, check=check)


def wheel_files(built: Path) -> set[str]:
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as opened:
        return set(opened.namelist())


def shipped(package: Path, base: Path) -> set[str]:
    """Every file of a package, as its wheel should name it."""
    found = (path for path in package.rglob("*") if path.is_file())
    return {str(path.relative_to(base)) for path in found if "__pycache__" not in path.parts}
