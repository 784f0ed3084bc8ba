"""From what a task asks to have ready to the sandbox that its run opens: made, or found made."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping
from pathlib import Path

import anyio.to_thread

from planloop.errors import UserError
from planloop.events import SetupEnded
from planloop.layers.apt import apt_command, with_packages
from planloop.layers.index import index_settings
from planloop.layers.key import files_part, host_part, layer_key, limits_part, settings_part
from planloop.layers.making import Scratch, Site, Stage, Tell, fill, pip_command
from planloop.layers.store import Hold, Layer, Store, layers_folder
from planloop.layers.suggest import suggested
from planloop.sandbox import SandboxSpec
from planloop.sandboxes import default_image, probe
from planloop.task import PackagesSpec, SetupSpec, WorkspaceSpec

NETWORK = "full"
"""What setup commands have, in words of the trace."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Preparing:
    """What is to be made ready, and where."""

    spec: SandboxSpec
    """The run's own sandbox; a setup has the same limits."""
    setup: SetupSpec
    packages: PackagesSpec
    files: Path
    """A private copy of the user's folder."""
    workspace: WorkspaceSpec
    environ: Mapping[str, str]
    """The user's own: it says where layers lie and where packages come from."""
    run_id: str
    scratch: Scratch
    tell: Tell


@dataclasses.dataclass(frozen=True, kw_only=True)
class Prepared:
    """What a run's sandboxes are opened with."""

    spec: SandboxSpec
    ended: tuple[SetupEnded, ...]
    """What was done, or found done, for the trace."""
    layers: tuple[Layer, ...] = ()
    """The newest last; it holds the changes of the files."""
    holds: tuple[Hold, ...] = ()
    """Nobody removes these layers before they are closed."""

    def close(self) -> None:
        """Let go of the layers. Safe to call twice."""
        for hold in self.holds:
            hold.close()


async def prepare(wanted: Preparing) -> Prepared:
    """Make what a task asks to have ready, unless it is there.

    Raises:
        TaskError: a command failed; nothing of it is kept.
        UserError: there is no sandbox here that could do it.
        SandboxLost: the sandbox or the engine died meanwhile.
    """
    spec = await _settled(wanted)
    ended: list[SetupEnded] = []
    base = await _base(spec)
    if wanted.packages.apt:
        spec, base, done = await _system_packages(wanted, spec, base)
        ended.append(done)
    works = _Works(wanted, spec, base, index_settings(wanted.environ))
    try:
        await works.add(works.packages())
        if wanted.setup:
            await works.add(works.commands(_commands(wanted)))
    except BaseException:
        works.close()
        raise
    spec = dataclasses.replace(spec, environment=works.layers[-1].environment)
    return Prepared(
        spec=spec,
        ended=(*ended, *works.ended),
        layers=tuple(works.layers),
        holds=tuple(works.holds),
    )


def _commands(wanted: Preparing) -> tuple[str, ...]:
    if not wanted.setup.suggested:
        return wanted.setup.commands
    found = suggested(wanted.files)
    if not found:
        raise UserError(
            "`setup: auto` finds no file that says what to install",
            hint="list the commands under `setup`, or leave it out",
        )
    return tuple(command for commands in found.values() for command in commands)


async def _settled(wanted: Preparing) -> SandboxSpec:
    """The run's sandbox with its kind decided: a layer fits only the kind that made it."""
    spec = wanted.spec
    if spec.kind == "auto":
        in_engine = bool(spec.image or spec.runtime or wanted.packages.apt)
        found = not in_engine and (await probe("bubblewrap")).works
        spec = dataclasses.replace(spec, kind="bubblewrap" if found else "docker")
    if spec.kind not in ("bubblewrap", "docker"):
        raise UserError(
            f"sandbox `{spec.kind}` has no setup: nothing there keeps it apart from this machine",
            hint="choose `bubblewrap` or `docker`, or leave `setup` and `packages` out",
        )
    if wanted.packages.apt and spec.kind != "docker":
        raise UserError(
            f"`packages: {{apt: …}}` needs the docker sandbox, and this is `{spec.kind}`",
            hint="write `sandbox: docker`, or install them on this machine",
        )
    return spec


async def _base(spec: SandboxSpec) -> str:
    """What a layer is made upon: an image, or this machine's own system."""
    if spec.kind == "bubblewrap":
        from planloop.sandboxes.rootfs import python_inside

        return f"host {await anyio.to_thread.run_sync(host_part, python_inside())}"
    from planloop.sandboxes.engine import Engine

    engine = await Engine.connect()
    try:
        return f"image {(await engine.image(spec.image or default_image()))['Id']}"
    finally:
        await engine.close()


async def _system_packages(
    wanted: Preparing, spec: SandboxSpec, base: str
) -> tuple[SandboxSpec, str, SetupEnded]:
    """The image with system packages, instead of the image that the run names."""
    names, began = wanted.packages.apt, time.monotonic()
    key = layer_key("apt", base, *sorted(names))
    image, cached = await with_packages(
        spec.image or default_image(),
        names,
        key=key,
        limits=spec.limits,
        tell=wanted.tell,
        timeout_s=wanted.setup.timeout_s,
    )
    done = SetupEnded(
        what="apt",
        commands=(apt_command(names),),
        network=NETWORK,
        layer=key,
        cached=cached,
        duration_s=time.monotonic() - began,
    )
    return dataclasses.replace(spec, image=image), f"image {key}", done


class _Works:
    """The layers of one run, one upon the other."""

    def __init__(
        self, wanted: Preparing, spec: SandboxSpec, base: str, settings: Mapping[str, str]
    ) -> None:
        self._wanted = wanted
        self._site = Site(
            spec=spec,
            run_id=wanted.run_id,
            scratch=wanted.scratch,
            settings=settings,
            tell=wanted.tell,
        )
        self._store = Store(layers_folder(wanted.environ))
        self._key = layer_key(base, limits_part(spec.limits), settings_part(settings))
        self.layers: list[Layer] = []
        self.holds: list[Hold] = []
        self.ended: list[SetupEnded] = []

    def packages(self) -> Stage:
        """The environment, with the packages that the task lists."""
        pip = self._wanted.packages.pip
        return Stage(
            what="packages",
            commands=(pip_command(pip),) if pip else (),
            timeout_s=self._wanted.setup.timeout_s,
        )

    def commands(self, commands: tuple[str, ...]) -> Stage:
        """The setup commands, which see the files."""
        return Stage(
            what="setup",
            commands=commands,
            timeout_s=self._wanted.setup.timeout_s,
            base=self.layers[-1],
            files=self._wanted.files,
            max_bytes=self._wanted.workspace.max_bytes,
            max_files=self._wanted.workspace.max_files,
        )

    async def add(self, stage: Stage) -> None:
        """Make one more layer, unless it is there."""
        began = time.monotonic()
        seen = ""
        if stage.files is not None:
            seen = await anyio.to_thread.run_sync(files_part, stage.files)
        key = self._key = layer_key(self._key, stage.what, *stage.commands, seen)
        layer, hold = await self._store.use(key)
        self.holds.append(hold)
        cached = layer is not None
        if layer is None:
            layer = await self._made(stage, key)
            hold.share()
        self.layers.append(layer)
        self.ended.append(
            SetupEnded(
                what=stage.what,
                commands=stage.commands,
                network=NETWORK,
                layer=key,
                cached=cached,
                duration_s=time.monotonic() - began,
                notes=layer.notes,
            )
        )

    async def _made(self, stage: Stage, key: str) -> Layer:
        empty = await anyio.to_thread.run_sync(self._store.begin, key)
        try:
            filled = await fill(stage, empty, self._site)
        except BaseException:
            self._store.give_up(empty)
            raise
        return await anyio.to_thread.run_sync(self._store.publish, filled)

    def close(self) -> None:
        """Let go of every layer."""
        for hold in self.holds:
            hold.close()
