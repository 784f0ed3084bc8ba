"""Help: light, examples first, common commands first, and what the exit codes mean."""

from __future__ import annotations

import subprocess
import sys

import pytest
from console import Shell

HEAVY = ("pydantic", "rich", "httpx", "asyncio", "anyio", "yaml", "docker", "jinja2", "sqlite3")
VERBS = ["run", "apply", "undo", "show", "list", "prompt", "doctor", "clean", "help"]


def test_root_help_loads_click_and_nothing_heavy() -> None:
    script = (
        "import sys\n"
        "from planloop.cli.start import start\n"
        "start(['--help'])\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)\n"
        "print([n for n in sys.modules if n.startswith('planloop.cli.')], file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    heavy, own = done.stderr.splitlines()
    assert heavy == "[]"
    assert "planloop.cli.run'" not in own


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_shows_examples_before_options_and_common_commands_first(
    shell: Shell, flag: str
) -> None:
    ran = shell(flag)
    assert ran.code == 0
    assert ran.err == ""
    assert ran.out.index("Examples:") < ran.out.index("Commands:") < ran.out.index("Options:")
    places = [ran.out.index(f"\n  {verb} ") for verb in VERBS]
    assert places == sorted(places)


@pytest.mark.parametrize("verb", VERBS)
def test_every_command_has_both_help_flags_and_examples_before_options(
    shell: Shell, verb: str
) -> None:
    short, long = shell(verb, "-h"), shell(verb, "--help")
    assert short == long
    assert long.code == 0
    assert long.out.index("Examples:") < long.out.index("Options:")
    assert long.out.startswith(f"Usage: planloop {verb}")


def test_no_argument_shows_short_help(shell: Shell) -> None:
    ran = shell()
    assert ran.code == 0
    assert ran.out.startswith("Usage: planloop <command>")
    assert "Options:" not in ran.out


def test_help_of_a_command_is_its_help(shell: Shell) -> None:
    assert shell("help", "run").out == shell("run", "--help").out


def test_exit_codes_are_documented(shell: Shell) -> None:
    ran = shell("help", "exit-codes")
    assert ran.code == 0
    for code in ("0", "1", "2", "3", "130", "143"):
        assert f"\n  {code} " in ran.out


def test_version_is_the_package_s(shell: Shell) -> None:
    from planloop import __version__

    assert shell("--version").out == f"planloop {__version__}\n"


def test_help_fits_eighty_columns(shell: Shell) -> None:
    for verb in ((), *((verb,) for verb in VERBS)):
        for row in shell(*verb, "--help").out.splitlines():
            assert len(row) <= 80, (verb, row)
