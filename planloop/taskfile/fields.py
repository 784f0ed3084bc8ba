"""The fields of a task file, validated one by one; every error names file and line."""

from __future__ import annotations

import builtins
import keyword
import re
from collections.abc import Callable
from typing import Any
from unicodedata import normalize

from planloop.sandbox import LEAST, Limits, SandboxSpec
from planloop.task import ModelSpec, WorkspaceSpec
from planloop.taskfile import readers
from planloop.taskfile.checks import read_checks
from planloop.taskfile.nodes import Items, Mark, Scalar, Source, Table, plain
from planloop.taskfile.preparing import PACKAGES_FIELDS, read_packages, read_setup
from planloop.taskfile.readers import Field, table
from planloop.taskfile.settings import LIMIT_NAMES, Settings
from planloop.text import one_line, sanitise
from planloop.values import Value, dump

FIELDS = (
    "version",
    "name",
    "model",
    "executor",
    "on_fail",
    "sandbox",
    "environment",
    "workspace",
    "setup",
    "packages",
    "tools",
    "checks",
    "budget",
    "inputs",
    "outputs",
)
ON_FAIL = ("tell", "decompose")
MODEL_FIELDS = ("name", "base_url")
SANDBOX_FIELDS = ("kind", "image", "runtime", "network", "limits")
SANDBOX_KINDS = ("auto", "bubblewrap", "docker", "none")
LIMIT_FIELDS = ("memory", "processes", "disk", "inodes", "shown", "output", "timeout")
WORKSPACE_FIELDS = ("git", "include", "exclude", "max_size", "max_files")
_RUNTIME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
PLAN_WORDS = frozenset(
    (
        *("again", "background", "check", "done", "expect", "give_up", "goal", "keep", "llm"),
        *("note", "output_of", "parallel", "restart"),
    )
)
"""Words of the plan language. Python's own keywords and builtins are refused as inputs too."""

_HOMES = {
    "sandbox": SANDBOX_FIELDS,
    "sandbox.limits": LIMIT_FIELDS,
    "budget": tuple(LIMIT_NAMES),
    "workspace": WORKSPACE_FIELDS,
    "model": ("base_url",),
    "packages": PACKAGES_FIELDS,
}


def read_settings(
    source: Source, fields: Table, known: tuple[str, ...] = FIELDS, others: tuple[str, ...] = ()
) -> Settings:
    """The settings that a file's fields mean.

    Args:
        source: the file.
        fields: what it holds.
        known: fields that may stand there.
        others: fields that somebody else reads.

    Raises:
        TaskError: a field is unknown, or its value is not what it may be.
    """
    given = _known_fields(source, fields, (*known, *others))
    if "version" in given:
        read_version(given["version"])
    values = {name: _READERS[name](field) for name, field in given.items() if name in _VALUES}
    limits = read_budget(given["budget"]) if "budget" in given else {}
    return Settings(**values, limits=limits, source=source, places=_places(fields))


def _known_fields(source: Source, fields: Table, known: tuple[str, ...]) -> dict[str, Field]:
    for name, (mark, _) in fields.entries.items():
        if name not in known:
            what = f"unknown field `{one_line(name, 60)}`"
            raise readers.unknown_error(source, what, name, mark, _unknown_hint(name, known))
    return {name: Field(source, name, node) for name, (_, node) in fields.entries.items()}


def _unknown_hint(name: str, known: tuple[str, ...]) -> str:
    homes = [home for home, names in _HOMES.items() if name in names]
    if homes:
        return f"`{name}` is a field of `{homes[0]}`; move it there"
    return readers.unknown_name_hint(name, known)


def _places(fields: Table, above: str = "") -> dict[str, Mark]:
    found: dict[str, Mark] = {}
    for name, (mark, node) in fields.entries.items():
        dotted = f"{above}{name}"
        found[dotted] = mark
        if isinstance(node, Table):
            found |= _places(node, f"{dotted}.")
        if isinstance(node, Items):
            found |= {f"{dotted}.{index}": item.mark for index, item in enumerate(node.nodes, 1)}
    return found


def read_version(field: Field) -> None:
    """The version of the task file's form: 1."""
    value = readers.scalar(field)
    if isinstance(value, bool) or value != 1 or not isinstance(value, int):
        raise field.wrong("1", "this planloop reads version 1; a newer file needs a newer planloop")


def read_name(field: Field) -> str:
    """A short name on one line."""
    value = readers.text(field).strip()
    if len(value) > 80 or "\n" in value or "\t" in value:
        raise field.wrong("a name of at most 80 characters on one line", "write a shorter one")
    return value


def read_model(field: Field) -> ModelSpec:
    """A model's name, or a name at a base URL."""
    if not isinstance(field.node, Table):
        return ModelSpec(name=_model_name(field))
    given = table(field, MODEL_FIELDS)
    if "name" not in given:
        name = field.name
        raise field.error(f"`{name}` has no `name`", f"write `{name}: {{name: …, base_url: …}}`")
    base_url = readers.url(given["base_url"]) if "base_url" in given else None
    return ModelSpec(name=_model_name(given["name"]), base_url=base_url)


def _model_name(field: Field) -> str:
    name = readers.text(field, "a model's name").strip()
    if len(name) > 300 or "\n" in name:
        raise field.wrong("a model's name", f"write `{field.name}: provider:model`")
    return name


def read_on_fail(field: Field) -> str:
    """What comes of a goal or call that keeps failing."""
    return readers.choice(field, ON_FAIL, "answer to a failure")


def read_sandbox(field: Field) -> SandboxSpec:
    """A kind of sandbox, or one with what it is made of and its limits."""
    if not isinstance(field.node, Table):
        return SandboxSpec(kind=_sandbox_kind(field))
    given = table(field, SANDBOX_FIELDS)
    kind = _sandbox_kind(given["kind"]) if "kind" in given else None
    image = readers.text(given["image"], "an image's name") if "image" in given else None
    runtime = _runtime(given["runtime"]) if "runtime" in given else None
    for name in ("image", "runtime"):
        if name in given and kind not in (None, "docker"):
            raise given[name].error(
                f"`{name}` needs the docker sandbox, but `kind` is `{kind}`", "write `kind: docker`"
            )
    return SandboxSpec(
        kind=kind or ("docker" if image or runtime else "auto"),
        image=image,
        runtime=runtime,
        network=_network(given["network"], kind) if "network" in given else "none",
        limits=_limits(given["limits"]) if "limits" in given else Limits(),
    )


def _sandbox_kind(field: Field) -> str:
    if readers.scalar(field) == "unsafe-local":
        raise field.error(
            "no file may ask to run on the bare host", "give `--unsafe-local` if you mean it"
        )
    return readers.choice(field, SANDBOX_KINDS, "sandbox")


def _runtime(field: Field) -> str:
    name = readers.text(field, "a runtime's name")
    if not _RUNTIME.fullmatch(name):
        raise field.wrong("the name of a runtime that the engine has", "write `runtime: runsc`")
    return name


def _network(field: Field, kind: str | None) -> str | tuple[str, ...]:
    """`none`, `full`, or the entries of an allow-list."""
    if isinstance(field.node, Items):
        found: str | tuple[str, ...] = readers.listed(field, readers.network_entry)
    else:
        found = readers.network_word(field)
    if not found:
        raise field.wrong("hosts, `none` or `full`", "write `network: none`")
    if kind == "none" and found != "none":
        raise field.error(
            f"`{field.name}` needs a sandbox, but `kind` is `none`", "remove one of them"
        )
    return found


def _limits(field: Field) -> Limits:
    given = table(field, LIMIT_FIELDS)
    read: dict[str, Callable[[Field], Any]] = {
        "memory": readers.size,
        "processes": lambda found: readers.count(found, "processes"),
        "disk": readers.size,
        "inodes": lambda found: readers.count(found, "files"),
        "shown": readers.size,
        "output": readers.size,
        "timeout": readers.seconds,
    }
    names = dict(zip(LIMIT_FIELDS, Limits.__dataclass_fields__, strict=True))
    for name, found in given.items():
        _refuse_too_little(found, read[name](found), LEAST.get(names[name], 0))
    return Limits(**{names[name]: read[name](found) for name, found in given.items()})


def _refuse_too_little(field: Field, value: float, least: int) -> None:
    if value < least:
        enough = readers.spelled_size(least) if least >= 1000 else str(least)
        name = field.name.rpartition(".")[2]
        raise field.wrong(f"at least {enough}", f"write `{name}: {enough}`, or more")


def read_workspace(field: Field) -> WorkspaceSpec:
    """What of the folder is copied."""
    given = table(field, WORKSPACE_FIELDS)
    spec: dict[str, Any] = {}
    if "git" in given:
        spec["git"] = readers.flag(given["git"])
    for name in ("include", "exclude"):
        if name in given:
            spec[name] = readers.listed(given[name], readers.pattern)
    if "max_size" in given:
        spec["max_bytes"] = readers.size(given["max_size"])
    if "max_files" in given:
        spec["max_files"] = readers.count(given["max_files"], "files")
    return WorkspaceSpec(**spec)


def read_tools(field: Field) -> tuple[str, ...]:
    """Names, `module:function` or paths."""
    found = readers.listed(field, read_tool, "a list of tools")
    for index, name in enumerate(found):
        if name in found[:index]:
            raise field.error(f"`tools` names `{one_line(name)}` twice", "keep one of them")
    return found


def read_tool(field: Field) -> str:
    """A tool's name, `module:function` or a path."""
    return _reference(field, "a name, `module:function` or a path", "`shell`, or `tools.py:name`")


def read_environment(field: Field) -> str:
    """An environment's name, `module:Class` or a path."""
    return _reference(field, "a name, `module:Class` or a path", "`workspace`, or `worlds.py`")


def _reference(field: Field, expected: str, example: str) -> str:
    value = readers.text(field, expected).strip()
    if "\n" in value or len(value) > 1000:
        raise field.wrong(expected, f"write {example}")
    return value


def read_budget(field: Field) -> dict[str, float | None]:
    """Limits by the field of `Budget`; None for no limit."""
    given = table(field, tuple(LIMIT_NAMES))
    return {LIMIT_NAMES[name]: read_limit(name, found) for name, found in given.items()}


def read_limit(name: str, field: Field) -> float | None:
    """One limit; `null` for none."""
    if field.node == Scalar(None, field.mark):
        return None
    match name:
        case "cost":
            return readers.dollars(field)
        case "time" | "sandbox_time":
            return readers.seconds(field)
        case _:
            return readers.count(field, name)


def read_inputs(field: Field) -> dict[str, Value]:
    """Names that are bound before the first plan."""
    if not isinstance(field.node, Table):
        raise field.wrong("a mapping of names to values", "write `inputs: {limit: 900}`")
    for name, (mark, _) in field.node.entries.items():
        problem = input_name_problem(name)
        if problem:
            raise field.source.error(f"`inputs`: {problem}", mark, "rename it")
    return {name: dump(plain(node)) for name, (_, node) in field.node.entries.items()}


def input_name_problem(name: str) -> str | None:
    """Why `name` cannot be bound in a plan; None if it can."""
    spelled = sanitise(repr(name))[:60]
    if not name.isidentifier() or name.startswith("__") or normalize("NFKC", name) != name:
        return f"{spelled} is no Python name"
    if keyword.iskeyword(name) or hasattr(builtins, name) or name in PLAN_WORDS:
        return f"{spelled} is a word of the plan language"
    return None


def read_outputs(field: Field) -> tuple[str, ...]:
    """Glob patterns of result files."""
    return readers.listed(field, readers.pattern, "a list of paths or patterns")


_READERS: dict[str, Callable[[Field], Any]] = {
    "version": read_version,
    "name": read_name,
    "model": read_model,
    "executor": read_model,
    "on_fail": read_on_fail,
    "sandbox": read_sandbox,
    "environment": read_environment,
    "workspace": read_workspace,
    "setup": read_setup,
    "packages": read_packages,
    "tools": read_tools,
    "checks": read_checks,
    "inputs": read_inputs,
    "outputs": read_outputs,
}
_VALUES = frozenset(_READERS) - {"version"}
