"""Trust: what a stranger's file asks for beyond the defaults, and the user's consent to it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import stat
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from planloop.budget import Budget
from planloop.errors import ConsentNeeded, UserError
from planloop.sandbox import Limits, SandboxSpec
from planloop.task import ModelSpec, PackagesSpec, SetupSpec, WorkspaceSpec
from planloop.taskfile.fields import LIMIT_FIELDS
from planloop.taskfile.settings import LIMIT_NAMES, Settings
from planloop.text import one_line, sanitise

_LIMIT_NAMES = dict(zip(Limits.__dataclass_fields__, LIMIT_FIELDS, strict=True))
_HASHED_BYTES = 16 << 20
_STORE_BYTES = 4 << 20
_REMEMBERED = 10_000


@dataclasses.dataclass(frozen=True)
class Ask:
    """One thing that a file asks for beyond the defaults, and where it stands."""

    what: str
    where: str

    def __str__(self) -> str:
        return f"{self.what} ({self.where})" if self.where else self.what


def asks_of(settings: Settings, folder: Path, budget: Budget) -> tuple[Ask, ...]:
    """What the settings of a file in `folder` ask for beyond the defaults and `budget`."""
    found = (
        *_model_asks("model", settings.model, folder),
        *_model_asks("executor", settings.executor, folder),
        *_code_asks(settings),
        *_sandbox_asks(settings),
        *_setup_asks(settings),
        *_workspace_asks(settings),
        *_budget_asks(settings, budget),
    )
    return tuple(Ask(one_line(what, 300), settings.place(name)) for name, what in found)


def _model_asks(field: str, model: ModelSpec | None, folder: Path) -> Iterator[tuple[str, str]]:
    if model is None:
        return
    if model.base_url is not None:
        sends = f"sends the task and your files to `{model.base_url}`"
        yield f"{field}.base_url", f"{sends}, with the key in PLANLOOP_API_KEY if it is set"
    scheme, _, rest = model.name.partition(":")
    if scheme == "replay" and not is_inside(folder / rest, folder):
        yield field, f"reads the replay `{rest}`, outside its folder"
    if scheme == "function":
        yield field, f"runs `{rest}` on your machine, outside the sandbox, as the model"


def _code_asks(settings: Settings) -> Iterator[tuple[str, str]]:
    named = [("environment", settings.environment)] if settings.environment else []
    named += [(f"tools.{index}", tool) for index, tool in enumerate(settings.tools or (), 1)]
    for name, reference in named:
        if reference_kind(reference) != "name":
            what = name.partition(".")[0].removesuffix("s")
            yield name, f"runs the {what} `{reference}` on your machine, outside the sandbox"


def reference_kind(reference: str) -> str:
    """How a tool or environment is named: `name`, `module` or `path`."""
    place, colon, _ = reference.partition(":")
    if place.endswith(".py") or "/" in place or "\\" in place:
        return "path"
    return "module" if colon else "name"


def _sandbox_asks(settings: Settings) -> Iterator[tuple[str, str]]:
    spec, default = settings.sandbox or SandboxSpec(), Limits()
    if spec.image is not None:
        yield "sandbox.image", f"runs in the image `{spec.image}`"
    if spec.runtime is not None:
        yield "sandbox.runtime", f"runs by the Docker engine's runtime `{spec.runtime}`"
    yield from _network_asks(spec.network)
    for field in dataclasses.fields(Limits):
        asked, usual = getattr(spec.limits, field.name), getattr(default, field.name)
        if asked > usual:
            name = _LIMIT_NAMES[field.name]
            change = f"from {_amount(field.name, usual)} to {_amount(field.name, asked)}"
            yield f"sandbox.limits.{name}", f"raises the sandbox limit `{name}` {change}"


def _network_asks(network: str | tuple[str, ...]) -> Iterator[tuple[str, str]]:
    from planloop.network import read_entry, whose

    opens = "opens to what runs in the sandbox"
    if network == "full":
        everything = "the whole network, with this machine's services and your own network"
        yield "sandbox.network", f"{opens} {everything}"
    for number, text in enumerate(network if isinstance(network, tuple) else (), 1):
        entry = read_entry(text)
        what = f"`{entry}`, {whose(entry)}" if whose(entry) else f"`{entry}`"
        yield f"sandbox.network.{number}", f"{opens} {what}"


def _setup_asks(settings: Settings) -> Iterator[tuple[str, str]]:
    """Setup commands and installers have the network, and so may send what they see anywhere."""
    setup, packages = settings.setup or SetupSpec(), settings.packages or PackagesSpec()
    index = "the addresses of your package index and proxy, with any password in them"
    if setup.suggested:
        yield "setup", "runs what lock files suggest before the first plan"
    for number, command in enumerate(setup.commands, 1):
        yield f"setup.{number}", f"runs `{one_line(command, 200)}` before the first plan"
    if setup:
        yield "setup", f"these commands have the network, the copy of your files, and {index}"
    if packages:
        names = ", ".join(f"`{name}`" for name in (*packages.pip, *packages.apt))
        yield "packages", f"installs {names}"
    if packages.pip:
        yield "packages.pip", f"their installers have the network and {index}, not your files"


def _amount(name: str, amount: float) -> str:
    if name.endswith("_bytes"):
        power = max(p for p in range(5) if p == 0 or amount >= 1000**p)
        return f"{amount / 1000**power:g} {('bytes', 'kB', 'MB', 'GB', 'TB')[power]}"
    if name.endswith("_s"):
        return f"{amount:g} s"
    return f"${amount:g}" if name.endswith("_usd") else f"{amount:g}"


def _workspace_asks(settings: Settings) -> Iterator[tuple[str, str]]:
    spec, default = settings.workspace or WorkspaceSpec(), WorkspaceSpec()
    if spec.include:
        names = ", ".join(f"`{name}`" for name in spec.include)
        yield "workspace.include", f"brings files that are left out otherwise: {names}"
    if spec.max_bytes > default.max_bytes:
        yield (
            "workspace.max_size",
            f"copies up to {_amount('_bytes', spec.max_bytes)} of your files",
        )
    if spec.max_files > default.max_files:
        yield "workspace.max_files", f"copies up to {spec.max_files} files"


def _budget_asks(settings: Settings, budget: Budget) -> Iterator[tuple[str, str]]:
    names = {field: name for name, field in LIMIT_NAMES.items()}
    for field, asked in settings.limits.items():
        usual = getattr(budget, field)
        if usual is None or (asked is not None and asked <= usual):
            continue
        limit = "no limit" if asked is None else _amount(field, asked)
        change = f"from {_amount(field, usual)} to {limit}"
        yield f"budget.{names[field]}", f"raises `budget.{names[field]}` {change}"


def is_inside(path: Path, folder: Path) -> bool:
    """Whether a path, links resolved, lies in a folder."""
    try:
        return path.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError, ValueError):
        return False


def files_that_run(settings: Settings, folder: Path) -> tuple[Path, ...]:
    """The Python files that tools and environment of these settings name, as far as known."""
    references = [
        *(settings.tools or ()),
        *([settings.environment] if settings.environment else []),
    ]
    found = []
    for reference in references:
        place = reference.partition(":")[0]
        if reference_kind(reference) == "path":
            found.append(folder / place)
        elif reference_kind(reference) == "module":
            steps = place.split(".")
            for depth in range(1, len(steps) + 1):  # packages above a module run before it
                base = folder.joinpath(*steps[:depth])
                found += [base.with_name(base.name + ".py"), base / "__init__.py"]
    return tuple(found)


def digest_of(folder: Path, documents: Sequence[bytes], files: Sequence[Path]) -> str:
    """A hash that changes with the folder, the documents, or any file that runs."""
    total = hashlib.sha256()
    parts = [os.fsencode(folder), *documents]
    for path in files:
        parts += [os.fsencode(path), _content(path)]
    for part in parts:
        total.update(len(part).to_bytes(8, "big") + part)
    return total.hexdigest()


def _content(path: Path) -> bytes:
    try:
        if not path.is_file():
            return b""
        with path.open("rb") as file:
            data = file.read(_HASHED_BYTES + 1)
        # What is too long to look at whole is never known again.
        return b"\1" + data if len(data) <= _HASHED_BYTES else os.urandom(32)
    except (OSError, ValueError):
        return b""


def state_folder(environ: Mapping[str, str]) -> Path:
    """Where planloop keeps what it remembers about a user."""
    base = environ.get("XDG_STATE_HOME", "")
    home = Path(environ.get("HOME") or Path.home())
    return (Path(base) if Path(base).is_absolute() else home / ".local" / "state") / "planloop"


def consent_store(environ: Mapping[str, str]) -> Path:
    """The file that remembers what the user has agreed to."""
    return state_folder(environ) / "consents.json"


def consent(
    asks: Sequence[Ask],
    digest: str,
    store: Path,
    *,
    trusted: bool,
    terminal: bool,
    ask: Callable[[str], bool],
) -> None:
    """Return if the user agrees to what a file asks for, now or earlier.

    Args:
        asks: what it asks for; with none, nobody is asked.
        digest: of everything that was looked at; a change asks again.
        store: the file that remembers agreements.
        trusted: the user gave `--trust`.
        terminal: somebody can answer.
        ask: shows a harmless text of several lines and returns whether the user agrees.

    Raises:
        ConsentNeeded: the user did not agree, or nobody can be asked.
        UserError: the store cannot be read or written.
    """
    if not asks or trusted or digest in _agreements(store):
        return
    if not terminal:
        raise _refusal(asks, "look at the list, then give `--trust` if you agree")
    if not ask(question(asks)):
        raise _refusal(asks, "nothing was run; `--trust` agrees without a question")
    _remember(digest, store)


def question(asks: Sequence[Ask]) -> str:
    """What the user is asked, harmless to show."""
    lines = "\n".join(f"  - {sanitise(str(one))}" for one in asks)
    return f"{_files(asks)} asks for more than the defaults:\n{lines}"


def _files(asks: Sequence[Ask]) -> str:
    names = dict.fromkeys(one.where.rpartition(", line ")[0] or one.where for one in asks)
    return sanitise(" and ".join(name for name in names if name)) or "the task"


def _refusal(asks: Sequence[Ask], hint: str) -> ConsentNeeded:
    return ConsentNeeded(tuple(sanitise(str(one)) for one in asks), where=_files(asks), hint=hint)


def _agreements(store: Path) -> tuple[str, ...]:
    """Digests that the user agreed to, oldest first."""
    try:
        with store.open("rb") as file:
            _refuse_foreign(store, os.fstat(file.fileno()))
            found = json.loads(file.read(_STORE_BYTES))
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise _unusable(store, f"cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError):
        raise _unusable(store, "is damaged") from None
    digests = found.get("agreed") if isinstance(found, dict) else None
    if not isinstance(digests, list) or not all(isinstance(one, str) for one in digests):
        raise _unusable(store, "is damaged")
    return tuple(digests)


def _refuse_foreign(store: Path, found: os.stat_result) -> None:
    if os.name != "posix":
        return
    if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
        raise _unusable(store, "is no file of yours")
    if found.st_mode & 0o022:
        raise _unusable(store, "can be changed by others")


def _unusable(store: Path, why: str) -> UserError:
    return UserError(
        f"what you agreed to cannot be remembered: `{store}` {why}",
        hint="remove that file, or give `--trust`",
    )


def _remember(digest: str, store: Path) -> None:
    agreed = (*_agreements(store), digest)[-_REMEMBERED:]
    temporary = None
    try:
        store.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=".consents-", dir=store.parent)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump({"version": 1, "agreed": agreed}, file)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(store)
    except OSError as error:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
        raise _unusable(store, f"cannot be written: {error.strerror}") from None
