"""Precedence: flag, `PLANLOOP_*`, task file, project file, user's file, default."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Generic, TypeVar

from planloop.budget import Budget
from planloop.errors import TaskError, UserError
from planloop.sandbox import SandboxSpec
from planloop.task import ModelSpec
from planloop.taskfile.fields import SANDBOX_KINDS, read_limit
from planloop.taskfile.nodes import Mark, Scalar, Source, nearest, quoted
from planloop.taskfile.readers import Field
from planloop.taskfile.settings import LIMIT_NAMES, Settings, budget_of
from planloop.text import one_line

T = TypeVar("T")

DEFAULT = "default"
_PREFIX = "PLANLOOP_BUDGET_"


@dataclasses.dataclass(frozen=True)
class Settled(Generic[T]):
    """A value, and who decided it."""

    value: T
    source: str
    """As people know it: `--model`, `PLANLOOP_MODEL`, `task.md, line 2`, `default`."""
    by_user: bool
    """Decided by the user or by default, not by a task file or project file."""


@dataclasses.dataclass(frozen=True)
class SettledBudget:
    """A budget, and who decided each limit."""

    budget: Budget
    sources: Mapping[str, str]
    """By the limit's name in files (`cost`, `time`, …); limits left at their default are absent."""


def settle_model(
    flag: ModelSpec | str | None,
    environ: Mapping[str, str],
    task: Settings,
    project: Settings,
    user: Settings,
) -> Settled[ModelSpec | None]:
    """Which model; None if nobody says."""
    if flag is not None:
        spec = ModelSpec(name=flag) if isinstance(flag, str) else flag
        return Settled(_named(spec, "--model"), "--model", True)
    if environ.get("PLANLOOP_MODEL"):
        spec = ModelSpec(name=environ["PLANLOOP_MODEL"])
        return Settled(_named(spec, "PLANLOOP_MODEL"), "PLANLOOP_MODEL", True)
    for settings, by_user in ((task, False), (project, False), (user, True)):
        if settings.model is not None:
            return Settled(settings.model, settings.place("model"), by_user)
    return Settled(None, DEFAULT, True)


def _named(spec: ModelSpec, where: str) -> ModelSpec:
    if not spec.name.strip():
        raise UserError("the model's name is empty", where=where, hint="write `provider:model`")
    return spec


def settle_sandbox(
    flag: str | None,
    environ: Mapping[str, str],
    task: Settings,
    project: Settings,
    user: Settings,
) -> Settled[SandboxSpec]:
    """Which sandbox. A flag or variable decides the kind; limits stay the file's.

    Args:
        flag: a kind; only here it may be `unsafe-local`.

    Raises:
        UserError: there is no such kind.
    """
    below = _sandbox_below(task, project, user)
    if flag is not None:
        return _of_kind(flag, "--sandbox", below, (*SANDBOX_KINDS, "unsafe-local"))
    if environ.get("PLANLOOP_SANDBOX"):
        return _of_kind(environ["PLANLOOP_SANDBOX"], "PLANLOOP_SANDBOX", below, SANDBOX_KINDS)
    return below


def _sandbox_below(task: Settings, project: Settings, user: Settings) -> Settled[SandboxSpec]:
    for settings, by_user in ((task, False), (project, False), (user, True)):
        if settings.sandbox is not None:
            return Settled(settings.sandbox, settings.place("sandbox"), by_user)
    return Settled(SandboxSpec(), DEFAULT, True)


def _of_kind(
    kind: str, where: str, below: Settled[SandboxSpec], known: Sequence[str]
) -> Settled[SandboxSpec]:
    if kind not in known:
        near = nearest(kind, known)
        raise UserError(
            f"there is no sandbox `{one_line(kind, 60)}`",
            where=where,
            hint=(f"did you mean `{near}`? " if near else "") + f"known: {quoted(SANDBOX_KINDS)}",
        )
    spec = dataclasses.replace(below.value, kind=kind)
    if kind != "docker":
        spec = dataclasses.replace(spec, image=None, runtime=None)
    return Settled(spec, where, True)


def settle_budget(
    flags: Sequence[str],
    environ: Mapping[str, str],
    task: Settings,
    project: Settings,
    user: Settings,
) -> SettledBudget:
    """Each limit by itself, from the first that gives it.

    Args:
        flags: `cost=4`, `time=10m`, `rounds=none`.

    Raises:
        UserError: a flag or variable is no limit.
    """
    limits: dict[str, float | None] = {}
    sources: dict[str, str] = {}
    for name, limit, source in (
        *_flag_limits(flags),
        *_variable_limits(environ),
        *_file_limits(task),
        *_file_limits(project),
        *_file_limits(user),
    ):
        if name not in sources:
            limits[LIMIT_NAMES[name]], sources[name] = limit, source
    return SettledBudget(budget_of(limits), sources)


Limit = tuple[str, float | None, str]


def _file_limits(settings: Settings) -> Iterator[Limit]:
    for name, field in LIMIT_NAMES.items():
        if field in settings.limits:
            yield name, settings.limits[field], settings.place(f"budget.{name}")


def _flag_limits(flags: Sequence[str]) -> Iterator[Limit]:
    seen: set[str] = set()
    for flag in flags:
        name, equals, text = flag.partition("=")
        if not equals or name in seen:
            raise UserError(
                f"`{one_line(flag, 60)}` " + ("names a limit twice" if equals else "is no limit"),
                where="--budget",
                hint="write `--budget cost=4`, with one of " + quoted(LIMIT_NAMES),
            )
        seen.add(name)
        yield name, _limit(name, text, "--budget", f"--budget {name}="), "--budget"


def _variable_limits(environ: Mapping[str, str]) -> Iterator[Limit]:
    for variable, text in sorted(environ.items()):
        if variable.startswith(_PREFIX) and text:
            name = variable.removeprefix(_PREFIX).lower()
            yield name, _limit(name, text, variable, f"{variable}="), variable


def _limit(name: str, text: str, where: str, spelled: str) -> float | None:
    if name not in LIMIT_NAMES:
        near = nearest(name, LIMIT_NAMES)
        raise UserError(
            f"there is no limit `{one_line(name, 60)}`",
            where=where,
            hint=(f"did you mean `{near}`? " if near else "") + f"known: {quoted(LIMIT_NAMES)}",
        )
    field = Field(Source(where), name, Scalar(_value(text.strip()), Mark(1)))
    try:
        return read_limit(name, field)
    except TaskError as error:
        hint = (error.hint or "").replace(f"{name}: ", spelled)
        raise UserError(error.what, where=where, hint=hint or None) from None


def _value(text: str) -> int | float | str | None:
    if text.lower() in ("none", "null"):
        return None
    if re.fullmatch(r"[-+]?[0-9]{1,18}", text):
        return int(text)
    if re.fullmatch(r"[-+]?[0-9]{0,18}\.[0-9]{1,18}", text):
        return float(text)
    return text
