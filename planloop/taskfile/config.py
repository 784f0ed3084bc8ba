"""The user's own file, `~/.config/planloop/config.toml`: what no stranger may decide."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from planloop.errors import UserError
from planloop.taskfile import readers
from planloop.taskfile.fields import read_settings
from planloop.taskfile.files import read_bytes
from planloop.taskfile.nodes import Source, Table
from planloop.taskfile.readers import Field, entries, table
from planloop.taskfile.settings import Settings
from planloop.taskfile.toml import FILE_LIMIT, parse_toml

T = TypeVar("T")

SETTING_FIELDS = ("model", "sandbox", "budget")
OWN_FIELDS = ("providers", "models", "prices")
USER_FIELDS = SETTING_FIELDS + OWN_FIELDS

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Endpoint:
    """Where a model or a provider answers, and which variable holds the key for it."""

    model: str | None = None
    """The model's name there; None if it is the same."""
    base_url: str | None = None
    key_env: str | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Price:
    """US dollars for a million tokens."""

    input: float
    output: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class UserConfig:
    """The user's file; empty where there is none."""

    path: Path | None = None
    settings: Settings = dataclasses.field(default_factory=Settings)
    """`model`, `sandbox` and budget limits."""
    providers: Mapping[str, Endpoint] = dataclasses.field(default_factory=dict)
    """By provider. A provider's key may go to the address given here."""
    models: Mapping[str, Endpoint] = dataclasses.field(default_factory=dict)
    """By a name of the user's own."""
    prices: Mapping[str, Price] = dataclasses.field(default_factory=dict)
    """By `provider:model`."""


def user_file(environ: Mapping[str, str]) -> Path:
    """Where the user's file is: `PLANLOOP_CONFIG`, else in the folder for configuration."""
    if environ.get("PLANLOOP_CONFIG"):
        return Path(environ["PLANLOOP_CONFIG"]).expanduser()
    base = Path(environ.get("XDG_CONFIG_HOME", ""))
    home = Path(environ.get("HOME") or Path.home())
    return (base if base.is_absolute() else home / ".config") / "planloop" / "config.toml"


def load_user(environ: Mapping[str, str]) -> UserConfig:
    """The user's file.

    Raises:
        TaskError: it cannot be read or says something wrong; names file and line.
        UserError: `PLANLOOP_CONFIG` names no file.
    """
    path = user_file(environ)
    if not os.path.lexists(path):
        if environ.get("PLANLOOP_CONFIG"):
            raise UserError(
                f"there is no file `{path}`",
                where="PLANLOOP_CONFIG",
                hint="write it, or unset the variable",
            )
        return UserConfig()
    name = _short(path, environ)
    source, fields = parse_toml(name, read_bytes(path, name, FILE_LIMIT))
    return dataclasses.replace(read_user(source, fields), path=path)


def _short(path: Path, environ: Mapping[str, str]) -> str:
    home = environ.get("HOME")
    if home and Path(home).is_absolute() and path.is_relative_to(home):
        return f"~/{path.relative_to(home).as_posix()}"
    return str(path)


def read_user(source: Source, fields: Table) -> UserConfig:
    """What the fields of the user's file mean.

    Raises:
        TaskError: a field is unknown, or its value is not what it may be.
    """
    return UserConfig(
        settings=read_settings(source, fields, SETTING_FIELDS, OWN_FIELDS),
        providers=_each(source, fields, "providers", _provider),
        models=_each(source, fields, "models", _model),
        prices=_each(source, fields, "prices", _price),
    )


def _each(source: Source, fields: Table, name: str, read: Callable[[Field], T]) -> dict[str, T]:
    if name not in fields.entries:
        return {}
    found = entries(Field(source, name, fields.entries[name][1]))
    return {key: read(field) for key, field in found.items()}


def _provider(field: Field) -> Endpoint:
    given = table(field, ("base_url", "key_env"))
    return Endpoint(base_url=_url(given), key_env=_key_env(given))


def _model(field: Field) -> Endpoint:
    given = table(field, ("model", "base_url", "key_env"))
    model = readers.text(given["model"], "a model's name") if "model" in given else None
    return Endpoint(model=model, base_url=_url(given), key_env=_key_env(given))


def _url(given: Mapping[str, Field]) -> str | None:
    return readers.url(given["base_url"]) if "base_url" in given else None


def _key_env(given: Mapping[str, Field]) -> str | None:
    if "key_env" not in given:
        return None
    name = readers.scalar(given["key_env"])
    if not isinstance(name, str) or not _VARIABLE.fullmatch(name):
        raise given["key_env"].secret_error(
            f"`{given['key_env'].name}` is no name of an environment variable",
            'write the variable\'s name, not the key: `key_env = "OPENAI_API_KEY"`',
        )
    return name


def _price(field: Field) -> Price:
    given = table(field, ("input", "output"))
    for name in ("input", "output"):
        if name not in given:
            raise field.error(
                f"`{field.name}` has no `{name}`", "US dollars for a million tokens, 0 if free"
            )
    return Price(input=_amount(given["input"]), output=_amount(given["output"]))


def _amount(field: Field) -> float:
    value = readers.scalar(field)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1e6:
        raise field.wrong("US dollars for a million tokens", "write a number, 0 if it is free")
    return float(value)
