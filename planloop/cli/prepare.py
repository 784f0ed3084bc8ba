"""From the words of a command line to a task that may run: found, agreed to, settled."""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from planloop.budget import Budget
from planloop.cli.lines import line
from planloop.cli.runs import current_folder
from planloop.cli.terminal import Terminal
from planloop.errors import UserError
from planloop.sandbox import SandboxSpec
from planloop.task import ModelSpec, Task

if TYPE_CHECKING:
    from planloop.models.resolve import Resolved
    from planloop.taskfile import LoadedTask, UserConfig


@dataclasses.dataclass(frozen=True, kw_only=True)
class Wish:
    """What the user asked for, word by word."""

    target: tuple[str, ...]
    model: str | None = None
    base_url: str | None = None
    sandbox: str | None = None
    budget: tuple[str, ...] = ()
    strict: bool = False
    trust: bool = False
    yes: bool = False
    unsafe_local: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class Prepared:
    """A task that may run, and everything that the words decided."""

    task: Task
    folder: Path
    model: Resolved
    executor: Resolved | None
    """The model of goals, if the task names another one."""
    why_model: str
    """What led to the model, as people read it."""
    sandbox: SandboxSpec
    budget: Budget
    unsafe_local: bool = False


def prepare(wish: Wish, terminal: Terminal) -> Prepared:
    """Find the task, ask for consent where it wants more than the defaults, settle the rest.

    Raises:
        UserError: something the user can fix.
    """
    from planloop.taskfile import load_user, settle_budget, settle_sandbox

    user = load_user(os.environ)
    loaded = _load(wish, user)
    _agree(loaded, wish, terminal)
    said = (loaded.settings, loaded.project, user.settings)
    sandbox = settle_sandbox(_sandbox_flag(wish), os.environ, *said)
    budget = settle_budget(_budget_flags(wish), os.environ, *said)
    model, why = _model(wish, loaded, user, terminal)
    assert loaded.task.folder is not None  # both kinds of task have one
    return Prepared(
        task=loaded.task,
        folder=loaded.task.folder,
        model=model,
        executor=_executor(wish, loaded, user, model),
        why_model=why,
        sandbox=sandbox.value,
        budget=budget.budget,
        unsafe_local=wish.unsafe_local,
    )


def _load(wish: Wish, user: UserConfig) -> LoadedTask:
    from planloop.taskfile import Settings, settle_budget, task_from_argument, task_from_text

    nobody = Settings()
    own = settle_budget(_budget_flags(wish), os.environ, nobody, nobody, user.settings).budget
    cwd = current_folder()
    if wish.target == ("-",):
        text = sys.stdin.read() if sys.stdin is not None else ""
        return task_from_text(text, cwd, budget=own)
    _refuse_several(wish.target, cwd)
    return task_from_argument(" ".join(wish.target), cwd=cwd, budget=own)


def _refuse_several(words: tuple[str, ...], cwd: Path) -> None:
    """A file and more words are a slip, not a text to pay a model for."""
    first, *others = words
    if others and (first.endswith(".md") or (cwd / first).is_file()):
        raise UserError(
            f"`{first}` names a file, and `{others[0]}` follows it",
            hint="run one task at a time; a text that begins like this stands in quotes",
        )


def _agree(loaded: LoadedTask, wish: Wish, terminal: Terminal) -> None:
    from planloop.taskfile import consent, consent_store

    def ask(question: str) -> bool:
        import click

        terminal.say(line(question))
        return wish.yes or click.confirm("Do you agree?", default=False, err=True)

    consent(
        loaded.asks,
        loaded.digest,
        consent_store(os.environ),
        trusted=wish.trust,
        terminal=wish.yes or terminal.interactive,
        ask=ask,
    )


def _sandbox_flag(wish: Wish) -> str | None:
    if not wish.unsafe_local:
        if wish.sandbox == "unsafe-local":
            raise UserError(
                "`unsafe-local` runs the model's code on the bare host",
                where="--sandbox",
                hint="only the flag `--unsafe-local` allows it; better is `--sandbox auto`",
            )
        return wish.sandbox
    if wish.sandbox not in (None, "unsafe-local"):
        raise UserError(
            f"`--unsafe-local` means no sandbox, and `--sandbox {wish.sandbox}` names one",
            hint="leave one of them out",
        )
    return "unsafe-local"


def _budget_flags(wish: Wish) -> list[str]:
    """`sandbox-time=…` as the files spell it."""
    pairs = (flag.partition("=") for flag in wish.budget)
    return [f"{name.strip().replace('-', '_')}{equals}{value}" for name, equals, value in pairs]


def _model(
    wish: Wish, loaded: LoadedTask, user: UserConfig, terminal: Terminal
) -> tuple[Resolved, str]:
    from planloop.taskfile import settle_model

    said = (loaded.settings, loaded.project, user.settings)
    settled = settle_model(wish.model, os.environ, *said)
    if settled.value is None:
        terminal.note("looking for a model")
    base = None if settled.by_user else loaded.task.folder
    try:
        resolved = _resolved(settled.value, wish, user, base)
    except UserError as error:
        raise _placed(error, settled.source if settled.value else "") from None
    if settled.value is None:
        return resolved, resolved.why
    verb = "by" if settled.source.startswith(("--", "PLANLOOP")) else "in"
    return resolved, f"named {verb} {settled.source}"


def _executor(
    wish: Wish, loaded: LoadedTask, user: UserConfig, planner: Resolved
) -> Resolved | None:
    """The model of goals; a replay of the planner's holds what was said in them too."""
    spec = loaded.task.executor
    from planloop.assemble import is_replay
    from planloop.models import ReplayModel

    recorded = planner.model if isinstance(planner.model, ReplayModel) else None
    if spec is None or (recorded and (recorded.executor or not is_replay(spec))):
        return None
    try:
        return _resolved(spec, dataclasses.replace(wish, base_url=None), user, loaded.task.folder)
    except UserError as error:
        raise _placed(error, loaded.settings.place("executor")) from None


def _placed(error: UserError, source: str) -> UserError:
    """The error with what named the model, where it says no place of its own."""
    if error.where or not source:
        return error
    return UserError(error.what, where=source, hint=error.hint)


def user_model() -> Resolved:
    """The model that a task which names none would get here.

    Raises:
        UserError: none can be found; the hint lists what would work.
    """
    from planloop.taskfile import Settings, load_user, settle_model

    user, nobody = load_user(os.environ), Settings()
    settled = settle_model(None, os.environ, nobody, nobody, user.settings)
    return _resolved(settled.value, Wish(target=()), user, None)


def _resolved(spec: ModelSpec | None, wish: Wish, user: UserConfig, base: Path | None) -> Resolved:
    from planloop.models.resolve import resolve_model

    spec, environ = _at_base_url(spec, wish.base_url, os.environ)
    spec, environ, config = _as_user_configured(spec, environ, user)
    return resolve_model(
        spec,
        environ=environ,
        user_config=config,
        base=base or current_folder(),
        strict_replay=wish.strict,
    )


def _at_base_url(
    spec: ModelSpec | None, base_url: str | None, environ: Mapping[str, str]
) -> tuple[ModelSpec | None, Mapping[str, str]]:
    """`--base-url`: a hosted provider's own key may go where the user's flag says."""
    if base_url is None:
        return spec, environ
    if spec is None:
        return None, {**environ, "PLANLOOP_BASE_URL": base_url}
    provider, colon, _ = spec.name.partition(":")
    if provider == "replay" and colon:
        raise UserError("a replay has no base URL", where="--base-url", hint="leave it out")
    return (
        dataclasses.replace(spec, base_url=base_url),
        {**environ, f"{provider.upper()}_BASE_URL": base_url} if colon else environ,
    )


def _as_user_configured(
    spec: ModelSpec | None, environ: Mapping[str, str], user: UserConfig
) -> tuple[ModelSpec | None, Mapping[str, str], dict[str, Any]]:
    """Names, addresses and keys of the user's own file, as the models' room takes them."""
    config: dict[str, Any] = {
        "prices": {name: dataclasses.asdict(price) for name, price in user.prices.items()}
    }
    known = dict(environ)
    for name, endpoint in user.providers.items():
        if endpoint.base_url is not None:
            known.setdefault(f"{name.upper()}_BASE_URL", endpoint.base_url)
        if endpoint.key_env and environ.get(endpoint.key_env):
            known[f"{name.upper()}_API_KEY"] = environ[endpoint.key_env]
    if spec is not None and spec.base_url is None and spec.name in user.models:
        endpoint = user.models[spec.name]
        if endpoint.key_env and environ.get(endpoint.key_env):
            config |= {"api_key": environ[endpoint.key_env], "base_url": endpoint.base_url}
        spec = ModelSpec(name=endpoint.model or spec.name, base_url=endpoint.base_url)
    return spec, known, config
