"""The fields `setup` and `packages`: what is made ready before the first plan."""

from __future__ import annotations

import re

from planloop.task import PackagesSpec, SetupSpec
from planloop.taskfile import readers
from planloop.taskfile.nodes import Items, Scalar, Table
from planloop.taskfile.readers import Field, table

SETUP_FIELDS = ("run", "timeout")
PACKAGES_FIELDS = ("pip", "apt")
AUTO = "auto"
_MAX_COMMANDS = 100
_MAX_PACKAGES = 1000

_NAME = r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?"
_REQUIREMENT = re.compile(
    rf"{_NAME}\s*(\[[A-Za-z0-9._, -]*\])?\s*"
    r"([<>=!~]=?=?[^;@/\\]*|@\s*https?://[^\s;]+)?\s*(;[^;@/\\]*)?"
)
_APT_PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]+(:[a-z0-9-]+)?(=[A-Za-z0-9.+:~-]+)?")


def read_setup(field: Field) -> SetupSpec:
    """`auto`, a list of commands, or a mapping with `run` and `timeout`."""
    if isinstance(field.node, Table):
        given = table(field, SETUP_FIELDS)
        if "run" not in given:
            raise field.error("`setup` has no `run`", "write `setup: {run: [make deps]}`")
        spec = read_setup_commands(given["run"])
        seconds = readers.seconds(given["timeout"]) if "timeout" in given else spec.timeout_s
        return SetupSpec(commands=spec.commands, suggested=spec.suggested, timeout_s=seconds)
    return read_setup_commands(field)


def read_setup_commands(field: Field) -> SetupSpec:
    """`auto`, or a list of shell commands."""
    if field.node == Scalar(None, field.mark):
        return SetupSpec()
    if not isinstance(field.node, Items):
        if readers.scalar(field) == AUTO:
            return SetupSpec(suggested=True)
        raise field.wrong(
            "a list of commands, or `auto`", "write one `- command` a line, or `setup: auto`"
        )
    commands = readers.listed(field, lambda item: readers.text(item, "a shell command").strip())
    _refuse_many(field, len(commands), _MAX_COMMANDS, "commands")
    return SetupSpec(commands=commands)


def read_packages(field: Field) -> PackagesSpec:
    """Packages by the program that installs them."""
    if field.node == Scalar(None, field.mark):
        return PackagesSpec()
    given = table(field, PACKAGES_FIELDS)
    return PackagesSpec(
        pip=_names(given["pip"], read_requirement) if "pip" in given else (),
        apt=_names(given["apt"], read_apt_package) if "apt" in given else (),
    )


def _names(field: Field, read: readers.Reader[str]) -> tuple[str, ...]:
    found = readers.listed(field, read, "a list of packages")
    _refuse_many(field, len(found), _MAX_PACKAGES, "packages")
    return found


def _refuse_many(field: Field, count: int, most: int, noun: str) -> None:
    if count > most:
        raise field.error(f"`{field.name}` lists {count} {noun}; at most {most}", "write a script")


def read_requirement(field: Field) -> str:
    """A requirement as pip takes it: a name, perhaps with extras, a version or an address."""
    value = readers.text(field, "a requirement").strip()
    if "@" in value.partition("@")[2]:
        raise field.secret_error(
            f"`{field.name}` holds a user name or password",
            "put it into pip's own configuration, never into a file",
        )
    if len(value) > 500 or not _REQUIREMENT.fullmatch(value):
        raise field.wrong(
            "a requirement such as `requests>=2.31`",
            "paths and options of pip are for a `setup` command: `pip install -r requirements.txt`",
        )
    return value


def read_apt_package(field: Field) -> str:
    """A package's name, perhaps with its version."""
    value = readers.text(field, "a package").strip()
    if len(value) > 200 or not _APT_PACKAGE.fullmatch(value):
        raise field.wrong("a package such as `libpq-dev`", "write its name as `apt install` does")
    return value
