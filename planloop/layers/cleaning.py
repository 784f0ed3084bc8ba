"""Layers that may go: half-made ones whose maker died, and on request all that nobody uses."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping, Set
from typing import TYPE_CHECKING, Any

import anyio.to_thread

from planloop.errors import UserError
from planloop.layers.store import Store, layers_folder
from planloop.marks import Owner, State, parse_owner, state, this_process
from planloop.sandboxes.cleaning import Sweep, Tell
from planloop.sandboxes.engine import Engine
from planloop.sandboxes.leavings import Leaving
from planloop.sandboxes.leavings_engine import LAYER_LABEL, OWNER_LABEL, remove_from_engine
from planloop.text import one_line

if TYPE_CHECKING:
    from docker import APIClient


async def clean_layers(tell: Tell, *, whole: bool, dry_run: bool) -> None:
    """Remove layers of this user.

    Args:
        tell: told of each one, as by `planloop.sandboxes.cleaning.clean`.
        whole: also complete ones, and their images in the engine.
    """
    store = Store(layers_folder(os.environ))
    await Sweep(
        look=lambda: anyio.to_thread.run_sync(_found, store, whole),
        remove=lambda leaving: anyio.to_thread.run_sync(_remove, store, leaving),
        tell=tell,
        dry_run=dry_run,
    ).all()
    if whole:
        await _clean_images(tell, dry_run)


def _found(store: Store, whole: bool) -> list[Leaving]:
    keys = {*store.half_made(), *((layer.key for layer in store.layers()) if whole else ())}
    return [_leaving(key, "alive" if store.held(key) else "dead") for key in sorted(keys)]


def _leaving(key: str, state: State) -> Leaving:
    return Leaving(kind="layer", id=key, name=key, run="setup", state=state)


def _remove(store: Store, leaving: Leaving) -> None:
    if not store.remove(leaving.id):
        raise OSError(errno.EBUSY, "a run has begun to use it")


async def _clean_images(tell: Tell, dry_run: bool) -> None:
    try:
        engine = await Engine.connect()
    except UserError:
        return  # said already, by whoever looked for containers
    try:
        await Sweep(
            look=lambda: engine.ask(_images),
            remove=lambda leaving: remove_from_engine(engine, leaving),
            tell=tell,
            dry_run=dry_run,
        ).all()
    finally:
        await engine.close()


def _images(client: APIClient) -> list[Leaving]:
    known: Any = client  # the stubs lack types
    found = known.images(filters={"label": [LAYER_LABEL]})
    used = {one["ImageID"] for one in known.containers(all=True)}
    here = this_process()
    return [
        Leaving(
            kind="image",
            id=one["Id"],
            name=one_line(next(iter(one.get("RepoTags") or ()), one["Id"])),
            run="setup",
            state=_state(one, used, here),
        )
        for one in found
    ]


def _state(image: Mapping[str, Any], used: Set[str], here: Owner) -> State:
    """Whether an image may go: this user made it on this machine, and nobody is at it."""
    maker = parse_owner((image.get("Labels") or {}).get(OWNER_LABEL, ""))
    if maker is None:
        return "elsewhere"
    found = state(maker, here)
    return "alive" if found == "dead" and image["Id"] in used else found
