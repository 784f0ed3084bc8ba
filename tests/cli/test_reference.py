"""`docs/cli.md` is what `--help` says."""

from __future__ import annotations

from pathlib import Path

from console import Shell
from reference import reference

PAGE = Path(__file__).parents[2] / "docs" / "cli.md"


def test_the_reference_page_is_what_help_says() -> None:
    assert PAGE.read_text() == reference(), "python tests/cli/reference.py > docs/cli.md"


def test_the_page_holds_what_the_console_script_prints(shell: Shell) -> None:
    page = PAGE.read_text()
    assert shell("--help", environ={"COLUMNS": "80"}).out.strip() in page
    assert shell("run", "--help", environ={"COLUMNS": "80"}).out.strip() in page
