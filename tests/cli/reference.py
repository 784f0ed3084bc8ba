"""Makes `docs/cli.md` from the commands' help: `python tests/cli/reference.py > docs/cli.md`."""

from __future__ import annotations

import sys
from typing import Any

import click

from planloop.cli.command import HELP_NAMES
from planloop.cli.help import exit_codes
from planloop.cli.root import VERBS, root

_SETTINGS: dict[str, Any] = {"terminal_width": 78, "help_option_names": HELP_NAMES}
"""As the console script has them on 80 columns."""

_HEAD = """\
# The command line

Reference, made from `--help` by `python tests/cli/reference.py > docs/cli.md`; a test compares it.

**Streams.** Results go to standard output, everything else (progress, notes, verdicts, errors) to
standard error. With `--json`, standard output holds one JSON object a line and nothing else; fields
are only ever added. What models, tools and files say is shown with its control characters as
visible escapes.

**Settings** are decided in this order: flag, `PLANLOOP_*` variable, task file, `planloop.toml`,
your own file, provider keys, a local server.

**Interrupts.** The first Ctrl-C stops the running calls and ends the run as `interrupted`; a second
one ends planloop at once.

**Colours** are used on terminals only. `NO_COLOR`, `TERM=dumb` and `--color never` turn them off,
and every coloured word says the same without its colour.
"""


def reference() -> str:
    """The whole page."""
    with click.Context(root, info_name="planloop", **_SETTINGS) as context:
        parts = [_HEAD, _section("planloop", root.get_help(context))]
        for name in VERBS:
            command = root.get_command(context, name)
            assert command is not None
            with click.Context(command, info_name=name, parent=context, **_SETTINGS) as inner:
                parts.append(_section(f"planloop {name}", command.get_help(inner)))
    codes = exit_codes().replace("Exit codes:\n", "").rstrip("\n")
    return "\n".join([*parts, _section("Exit codes", codes)])


def _section(title: str, text: str) -> str:
    return f"## {title}\n\n```text\n{text.rstrip()}\n```\n"


if __name__ == "__main__":
    sys.stdout.write(reference())
