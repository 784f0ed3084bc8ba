"""Making one layer: setup commands in a sandbox with the network open, and what they leave."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shlex
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import anyio
import anyio.to_thread

from planloop.errors import SandboxLost, TaskError, UserError
from planloop.events import Event, SetupOutput, SetupStarted
from planloop.layers.index import redacted, secrets_in
from planloop.layers.pip import bundled_pip
from planloop.layers.store import Layer
from planloop.observation import Status
from planloop.sandbox import (
    ENVIRONMENT,
    WORKSPACE,
    Command,
    Completed,
    FileStamp,
    Sandbox,
    SandboxSpec,
)
from planloop.sandboxes import open_sandbox
from planloop.sandboxes.resident import ResidentSandbox
from planloop.text import one_line, sanitise
from planloop.workspace import keep_changes

Tell = Callable[[Event], None]
"""Where what happens is told at once."""

Scratch = Callable[[str], AbstractContextManager[Path]]
"""Makes an empty private folder on the host, for the length of a block."""

_SHOWN_LINES = 15
_TAIL_CHARACTERS = 8_000
_PIECE_CHARACTERS = 4_000
_COPY_S = 600.0
_SETTINGS = {
    "PIP_NO_CACHE_DIR": "1",
    "PIP_NO_INPUT": "1",
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    "UV_PROJECT_ENVIRONMENT": ENVIRONMENT,
    "UV_LINK_MODE": "copy",
    "CI": "1",
}
"""Variables of setup commands: nobody answers questions, and no cache is kept."""
_CERTIFICATES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
)
"""Where systems keep the authorities that they trust."""
_TRUST = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "PIP_CERT", "NODE_EXTRA_CA_CERTS")
"""Variables that make installers trust what the system trusts, not a list of their own."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Stage:
    """One layer to be made."""

    what: str
    """`packages` or `setup`; errors and views call it so."""
    commands: tuple[str, ...]
    timeout_s: float
    base: Layer | None = None
    """The layer whose environment it begins with; None to make one."""
    files: Path | None = None
    """A folder of the host that the commands find as the workspace; None for none."""
    max_bytes: int = 0
    max_files: int = 0
    """Bounds of what may come back of the workspace."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Site:
    """Where and as whom stages are made."""

    spec: SandboxSpec
    run_id: str
    scratch: Scratch
    settings: Mapping[str, str]
    """Variables that lead to the user's package indexes; secrets may stand in them."""
    tell: Tell


async def fill(stage: Stage, layer: Layer, site: Site) -> Layer:
    """Run a stage's commands and copy what they made into an empty layer.

    Raises:
        TaskError: a command failed; the error shows the end of its output.
        UserError: the sandbox cannot do this.
        SandboxLost: the sandbox died.
    """
    async with _opened(site) as sandbox:
        site = await _with_certificates(site, sandbox)
        empty = await sandbox.snapshot()
        await _begin(stage, sandbox, site)
        await sandbox.restore(empty)
        if stage.files is not None:
            await sandbox.copy_in(stage.files)
        for command in stage.commands:
            await _run(command, stage, sandbox, site)
        kept = await _files_kept(stage, layer, sandbox, site)
        await sandbox.restore(empty)
        return await _environment_kept(kept, sandbox, site)


@contextlib.asynccontextmanager
async def _opened(site: Site) -> AsyncIterator[ResidentSandbox]:
    """A sandbox with the network; its memory has room for what is installed, besides the files."""
    limits = site.spec.limits
    roomy = dataclasses.replace(limits, memory_bytes=limits.memory_bytes + limits.disk_bytes)
    spec = dataclasses.replace(site.spec, network="full", environment="new", limits=roomy)
    with site.scratch("sandbox") as state_dir:
        sandbox = await open_sandbox(spec, run_id=site.run_id, state_dir=state_dir)
        try:
            if not isinstance(sandbox, ResidentSandbox):
                raise _no_sandbox(sandbox)
            yield sandbox
        finally:
            with anyio.CancelScope(shield=True):
                if sandbox is not None:
                    await sandbox.close()


def _no_sandbox(sandbox: Sandbox | None) -> UserError:
    kind = "none" if sandbox is None else sandbox.kind
    return UserError(
        f"sandbox `{kind}` cannot run a setup",
        hint="choose `bubblewrap` or `docker`, or leave `setup` and `packages` out",
    )


async def _with_certificates(site: Site, sandbox: Sandbox) -> Site:
    """The system inside may know an authority of its own, such as a company's proxy."""
    there = await sandbox.run(Command(argv=("/bin/ls", *_CERTIFICATES)))
    found = [path for path in _CERTIFICATES if path in there.stdout.text.splitlines()]
    trusted = dict.fromkeys(_TRUST, found[0]) if found else {}
    return dataclasses.replace(site, settings={**trusted, **site.settings})


async def _begin(stage: Stage, sandbox: ResidentSandbox, site: Site) -> None:
    """The environment as the layer below left it, or a new one."""
    if stage.base is None:
        await _make_environment(stage, sandbox, site)
    else:
        await sandbox.copy_in(stage.base.environment)
        await _copy_inside(WORKSPACE, ENVIRONMENT, sandbox)


async def _copy_inside(source: str, target: str, sandbox: ResidentSandbox) -> None:
    """Copy a folder's content by the system's own program, whatever the environment holds."""
    copy = Command(argv=("/bin/cp", "-a", f"{source}/.", target), timeout_s=_COPY_S)
    completed = await sandbox.run(copy)
    if completed.status is not Status.OK:
        said = one_line(completed.stderr.text or completed.status.value, 200)
        raise UserError(
            f"what the setup installed cannot be kept: {said}",
            hint="give it more room: `sandbox: {limits: {disk: 4GB}}`",
        )


async def _make_environment(stage: Stage, sandbox: ResidentSandbox, site: Site) -> None:
    """A virtual environment with pip in it, whatever of that the sandbox's python brings."""
    wheel = await anyio.to_thread.run_sync(bundled_pip)
    script = f"python3 -m venv {ENVIRONMENT}"
    if wheel is not None:
        name, data = wheel
        await sandbox.write_file(name, data)
        bare = f"python3 -m venv --without-pip {ENVIRONMENT}"
        pip = f"{ENVIRONMENT}/bin/python3 {name}/pip install --no-index ./{name}"
        script = f"if python3 -c 'import ensurepip' 2>/dev/null; then {script}; else"
        script = f"{script} {bare} && {pip}; fi && rm {name}"
    await _run(script, stage, sandbox, site, shown=f"python3 -m venv {ENVIRONMENT}")


def pip_command(requirements: Sequence[str]) -> str:
    """The shell line that installs requirements into the environment."""
    return f"pip install {shlex.join(requirements)}"


async def _run(
    line: str, stage: Stage, sandbox: ResidentSandbox, site: Site, *, shown: str | None = None
) -> None:
    site.tell(SetupStarted(what=stage.what, command=shown or line))
    spoken = _Spoken(site)
    command = Command(
        line=line, cwd=WORKSPACE, env={**_SETTINGS, **site.settings}, timeout_s=stage.timeout_s
    )
    completed = await sandbox.run(command, lambda _, text: spoken.hear(text))
    spoken.finish()
    if completed.status is not Status.OK:
        raise _failure(shown or line, stage, completed, spoken.tail, site.spec)


class _Spoken:
    """What a command says: told line by line without secrets, and its end remembered."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._secrets = secrets_in(site.settings)
        self._pending = ""
        self.tail = ""

    def hear(self, text: str) -> None:
        """Take a piece of output. A secret that is cut by its end is still found."""
        self._pending += text
        whole, newline, rest = self._pending.rpartition("\n")
        if newline or len(rest) > _PIECE_CHARACTERS:
            self._tell(whole + newline if newline else rest)
            self._pending = rest if newline else ""

    def finish(self) -> None:
        """Tell what had no end of line."""
        if self._pending:
            self._tell(self._pending)
            self._pending = ""

    def _tell(self, text: str) -> None:
        shown = redacted(text, self._secrets)
        self.tail = (self.tail + shown)[-_TAIL_CHARACTERS:]
        self._site.tell(SetupOutput(text=shown))


def _failure(
    line: str, stage: Stage, completed: Completed, tail: str, spec: SandboxSpec
) -> TaskError:
    how, hint = _how(stage, completed, spec)
    if "No space left on device" in tail:
        hint = "give it more room: `sandbox: {limits: {disk: 4GB}}`"
    lines = sanitise(tail).splitlines()[-_SHOWN_LINES:]
    excerpt = "\n".join(f"       | {row}" for row in lines)
    what = f"`{one_line(line, 200)}` {how}"
    return TaskError(what, where=stage.what, hint=hint, excerpt=excerpt or None)


def _how(stage: Stage, completed: Completed, spec: SandboxSpec) -> tuple[str, str]:
    match completed.status:
        case Status.TIMEOUT:
            limit = f"ran longer than {stage.timeout_s:g} s and was ended"
            return limit, "give it more time: `setup: {run: […], timeout: 30m}`"
        case Status.OOM:
            limit = f"needed more memory than {spec.limits.memory_bytes:,} bytes"
            return limit, "give it more: `sandbox: {limits: {memory: 4GB}}`"
        case Status.OUTPUT_LIMIT:
            limit = f"printed more than {spec.limits.kept_bytes:,} bytes and was ended"
            return limit, "make it say less, such as by `--quiet`"
        case Status.FAILED:
            return f"failed with exit code {completed.exit_code}", _AGAIN
        case _:
            return f"was ended by signal {completed.signal}", _AGAIN


_AGAIN = "no model was asked; mend the command, or see whether its package index answers"


async def _files_kept(stage: Stage, layer: Layer, sandbox: ResidentSandbox, site: Site) -> Layer:
    """The layer with the changes of the workspace's files."""
    if stage.files is None:
        return layer
    present = await sandbox.scan()
    _refuse_too_much(present, stage)
    with site.scratch("result") as result:
        refused = await sandbox.copy_out(result, stage.max_bytes, stage.max_files)
        gone = await anyio.to_thread.run_sync(keep_changes, stage.files, result, layer.files)
    # What was refused is missing in the copy, not deleted.
    deleted = tuple(path for path in gone if path not in present)
    return dataclasses.replace(layer, deleted=deleted, notes=refused)


def _refuse_too_much(present: Mapping[str, FileStamp], stage: Stage) -> None:
    """Half of what a setup made would be worse than none."""
    size = sum(stamp.size for stamp in present.values())
    if len(present) > stage.max_files or size > stage.max_bytes:
        raise UserError(
            f"the setup left {len(present):,} files of {size:,} bytes in the workspace; at most "
            f"{stage.max_files:,} files of {stage.max_bytes:,} bytes can be kept",
            where=stage.what,
            hint="raise `workspace: {max_files: …, max_size: …}`, or install into `$VIRTUAL_ENV`",
        )


def _refuse_empty(layer: Layer) -> None:
    """A sandbox that is begun anew has lost what was installed: that must not pass for a layer."""
    if not os.path.lexists(layer.environment / "pyvenv.cfg"):
        raise SandboxLost(
            f"the setup left no environment at {ENVIRONMENT}",
            hint="a command removed it, or the sandbox ended meanwhile and was begun anew",
        )


async def _environment_kept(layer: Layer, sandbox: ResidentSandbox, site: Site) -> Layer:
    """The layer with everything that was installed."""
    limits = site.spec.limits
    await _copy_inside(ENVIRONMENT, WORKSPACE, sandbox)
    refused = await sandbox.copy_out(
        layer.environment, limits.disk_bytes, limits.inodes, any_links=True
    )
    _refuse_empty(layer)
    return dataclasses.replace(layer, notes=(*layer.notes, *refused))
