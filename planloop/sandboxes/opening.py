"""Names of sandboxes to sandboxes; the only place that knows the names."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio

from planloop.errors import PlanloopError, UserError
from planloop.sandbox import Command, Sandbox, SandboxSpec
from planloop.text import one_line

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
    with tempfile.TemporaryDirectory(prefix="planloop-probe-") as folder:
        try:
            spec = SandboxSpec(kind=kind)
            sandbox = await open_sandbox(
                spec, run_id="probe", state_dir=Path(folder), unsafe_local=True
            )
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
    if spec.kind not in KINDS:
        known = ", ".join(f"`{kind}`" for kind in KINDS)
        raise UserError(f"unknown sandbox `{one_line(spec.kind, 60)}`", hint=f"choose from {known}")
    if spec.network != "none":
        raise UserError(
            f"sandbox network `{one_line(str(spec.network), 60)}` is not available yet",
            hint="leave `network` out: sandboxes have none",
        )


async def _open_named(kind: str, spec: SandboxSpec, run_id: str, state_dir: Path) -> Sandbox:
    open_kind: Callable[..., Awaitable[Sandbox]]
    if kind == "bubblewrap" and spec.image:
        raise UserError(
            f"sandbox `bubblewrap` has no images, and `{one_line(spec.image, 80)}` is asked for",
            hint="use `docker`, or leave `image` out",
        )
    if kind == "bubblewrap":
        from planloop.sandboxes.bubblewrap import open_bubblewrap as open_kind
    else:
        from planloop.sandboxes.docker import open_docker as open_kind
    return await open_kind(spec, run_id=run_id, state_dir=state_dir)


async def _open_first(spec: SandboxSpec, run_id: str, state_dir: Path) -> Sandbox:
    """Bubblewrap if it works, unless an image is asked for; else docker; else say what to do."""
    reasons = []
    for kind in ("docker",) if spec.image else ("bubblewrap", "docker"):
        try:
            return await _open_named(kind, spec, run_id, state_dir)
        except UserError as error:
            reasons.append(error.what)
    raise UserError(f"no sandbox can run here: {'; '.join(reasons)}", hint=_INSTALL)


def _open_local(spec: SandboxSpec, run_id: str, state_dir: Path, allowed: bool) -> Sandbox:
    if not allowed:
        raise UserError(
            "sandbox `unsafe-local` runs the model's code on the bare host",
            hint="only the flag `--unsafe-local` allows it; better is `--sandbox auto`",
        )
    from planloop.sandboxes.local import open_local

    return open_local(spec, run_id=run_id, state_dir=state_dir)
