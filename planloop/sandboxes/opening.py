"""Names of sandboxes to sandboxes; the only place that knows the names."""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING

import anyio

from planloop.errors import PlanloopError, UserError
from planloop.marks import temporary_home
from planloop.sandbox import Command, Sandbox, SandboxSpec
from planloop.sandboxes.scarce import room_is_ours
from planloop.text import one_line

if TYPE_CHECKING:
    from planloop.sandboxes.resident import ResidentSandbox

KINDS = ("auto", "bubblewrap", "docker", "none", "unsafe-local")
_INSTALL = (
    "`pip install 'planloop[sandbox]'` adds bubblewrap (Linux), or start a Docker engine that has "
    "the image; `planloop doctor` shows each check"
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Probe:
    """What a trial of one kind of sandbox found. `fix` is empty where it works."""

    kind: str
    works: bool
    why: str
    fix: str = ""
    unenforced: tuple[str, ...] = ()


def default_image() -> str:
    """The image of docker sandboxes that name none."""
    from planloop.sandboxes.engine import DEFAULT_IMAGE

    return DEFAULT_IMAGE


async def open_sandbox(
    spec: SandboxSpec, *, run_id: str, state_dir: Path, unsafe_local: bool = False
) -> Sandbox | None:
    """Start the sandbox that a task asks for; the caller closes it. None for kind `none`.

    Args:
        run_id: marks what is made, so that it can be found after a crash.
        state_dir: where its files may go; made if missing.
        unsafe_local: whether kind `unsafe-local`, the bare host, is allowed.

    Raises:
        UserError: the kind is unknown, not allowed, or cannot run here.
        InfrastructureError: this machine has no room or descriptor left.
    """
    _check(spec)
    if spec.kind == "none":
        return None
    if spec.kind == "unsafe-local":
        return _open_local(spec, run_id, state_dir, unsafe_local)
    if spec.kind == "auto":
        return await _open_first(spec, run_id, state_dir)
    return await _open_named(spec.kind, spec, run_id, state_dir)


async def probe(kind: str) -> Probe:
    """Try one kind of sandbox by running a command in it; `auto` tries what `auto` would take."""
    with temporary_home("probe") as folder:
        try:
            spec = SandboxSpec(kind=kind)
            sandbox = await open_sandbox(spec, run_id="probe", state_dir=folder, unsafe_local=True)
        except UserError as error:
            return Probe(kind=kind, works=False, why=error.what, fix=error.hint or "")
        if sandbox is None:
            return Probe(kind=kind, works=True, why="no sandbox: tools of the host only")
        return await _tried(kind, sandbox)


async def _tried(kind: str, sandbox: Sandbox) -> Probe:
    try:
        with anyio.fail_after(30):
            completed = await sandbox.run(Command(line="python3 -c 'print(6 * 7)'"))
    except (PlanloopError, OSError) as error:
        return Probe(kind=kind, works=False, why=one_line(str(error), 200), fix=_INSTALL)
    finally:
        await sandbox.close()
    if completed.stdout.text.strip() != "42":
        why = f"python3 inside said `{one_line(completed.stderr.text, 120)}`"
        return Probe(kind=kind, works=False, why=why, fix="python3 must work inside")
    named = kind if kind == sandbox.kind else f"{kind}: {sandbox.kind}"
    return Probe(kind=kind, works=True, why=f"{named} ran a command", unenforced=sandbox.unenforced)


def _check(spec: SandboxSpec) -> None:
    from planloop.sandboxes import egress

    if spec.kind not in KINDS:
        known = ", ".join(f"`{kind}`" for kind in KINDS)
        raise UserError(f"unknown sandbox `{one_line(spec.kind, 60)}`", hint=f"choose from {known}")
    listed = bool(egress.plan(spec.network).listen)
    if spec.kind == "none" and spec.network != "none":
        raise UserError("sandbox `none` has no network to open", hint="leave `network` out")
    if spec.kind == "unsafe-local" and listed:
        raise UserError(
            "sandbox `unsafe-local` cannot hold an allow-list: what runs there has your network",
            hint="use `bubblewrap` or `docker`, or leave `network` out",
        )


async def _open_named(
    kind: str, spec: SandboxSpec, run_id: str, state_dir: Path
) -> ResidentSandbox:
    open_kind: Callable[..., Awaitable[ResidentSandbox]]
    for name, asked in (("image", spec.image), ("runtime", spec.runtime)):
        if kind == "bubblewrap" and asked:
            raise UserError(
                f"sandbox `bubblewrap` has no {name}s, and `{one_line(asked, 80)}` is asked for",
                hint=f"use `docker`, or leave `{name}` out",
            )
    if kind == "bubblewrap":
        from planloop.sandboxes.bubblewrap import open_bubblewrap as open_kind
    else:
        from planloop.sandboxes.docker import open_docker as open_kind
    with room_is_ours():
        return await open_kind(spec, run_id=run_id, state_dir=state_dir)


async def _open_first(spec: SandboxSpec, run_id: str, state_dir: Path) -> Sandbox:
    """Bubblewrap if it works, unless only docker can do what is asked; else docker; else say so."""
    reasons = []
    for kind in ("docker",) if spec.image or spec.runtime else ("bubblewrap", "docker"):
        try:
            sandbox = await _open_named(kind, spec, run_id, state_dir)
        except UserError as error:
            reasons.append(error.what)
        else:
            sandbox.because = "; ".join(reasons)
            return sandbox
    raise UserError(f"no sandbox can run here: {'; '.join(reasons)}", hint=_INSTALL)


def _open_local(spec: SandboxSpec, run_id: str, state_dir: Path, allowed: bool) -> Sandbox:
    if not allowed:
        raise UserError(
            "sandbox `unsafe-local` runs the model's code on the bare host",
            hint="only the flag `--unsafe-local` allows it; better is `--sandbox auto`",
        )
    from planloop.sandboxes.local import open_local

    return open_local(spec, run_id=run_id, state_dir=state_dir)
