"""Makes `docs/cli.md` from the commands' help: `python tests/cli/reference.py > docs/cli.md`."""

from __future__ import annotations

import dataclasses
import sys
import typing
from typing import Any

import click

from planloop.cli import clean
from planloop.cli.doctor import Finding
from planloop.cli.help import exit_codes
from planloop.cli.list import Entry
from planloop.cli.probing import Probed
from planloop.cli.root import VERBS, root
from planloop.events import Event

_SETTINGS: dict[str, Any] = {"terminal_width": 78}
"""As the console script has them on 80 columns."""

_JSON_HEAD = """\
## JSON

`planloop run --json` prints the events of a run as they happen, `planloop show --json` those of its
trace, with `seq` and `at` (seconds since 1970). Fields that are empty are left out.

| `kind` | what | fields |
|---|---|---|"""

_OTHERS_HEAD = """\
| command | one object is | fields |
|---|---|---|"""

_HEAD = """\
# The command line

Reference, made from `--help` by `python tests/cli/reference.py > docs/cli.md`; a test compares it.

**Streams.** Results go to standard output, everything else (progress, notes, verdicts, errors) to
standard error. With `--json`, standard output holds one JSON object a line and nothing else; fields
are only ever added. What models, tools and files say is shown with its control characters as
visible escapes.

**Settings** are decided in this order: flag, `PLANLOOP_*` variable, task file, `planloop.toml`,
your own file, provider keys, a local server.

**Runs** are kept in `.planloop/runs` in the folder of their task: trace, replay, changes and
outputs, readable by you only, with a `.gitignore`. Other folders find them by id. To forget a run,
remove its folder.

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
    return "\n".join([*parts, _section("Exit codes", codes), _json()])


def _json() -> str:
    """The objects that `--json` prints, from the classes that make them."""
    kinds = [
        (found.__dataclass_fields__["kind"].default, found) for found in typing.get_args(Event)
    ]
    rows = [_row(f"`{kind}`", found, ("kind",)) for kind, found in kinds]
    others = [
        _row("`planloop list`", Entry, ()),
        _row("`planloop doctor`", Finding, ()),
        _row("`planloop doctor --probe`", Probed, ()),
        _row("`planloop clean`", clean.Entry, ()),
    ]
    return "\n".join([_JSON_HEAD, *rows, "", _OTHERS_HEAD, *others, ""])


def _row(title: str, shape: Any, without: tuple[str, ...]) -> str:
    what = (shape.__doc__ or "").split("\n")[0]
    names = [f"`{one.name}`" for one in dataclasses.fields(shape) if one.name not in without]
    return f"| {title} | {what} | {', '.join(names)} |"


def _section(title: str, text: str) -> str:
    return f"## {title}\n\n```text\n{text.rstrip()}\n```\n"


if __name__ == "__main__":
    sys.stdout.write(reference())
