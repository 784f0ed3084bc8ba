"""What runs have left in a Docker engine: containers, volumes, networks, half-made images.

An engine may serve many users and machines. Only what carries the label of a dead owner of this
user and this machine is taken away.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import anyio

from planloop.marks import Owner, parse_mark, parse_owner, state, this_process
from planloop.sandboxes.engine import Engine
from planloop.sandboxes.leavings import Kind, Leaving
from planloop.text import one_line

if TYPE_CHECKING:
    from docker import APIClient

OWNER_LABEL = "planloop.owner"
RUN_LABEL = "planloop.run"
LAYER_LABEL = "planloop.layer"
"""Of an image that was made whole and is kept."""
_FILTERS = {"label": [RUN_LABEL]}
_DEADLINE_S = 20.0
_PAUSE_S = 0.05


async def left_in_engine(engine: Engine) -> list[Leaving]:
    """Everything in the engine that has an owner, dead or alive, in the order of removal.

    Raises:
        docker.errors.APIError, SandboxLost: the engine refuses, or does not answer.
    """
    here = this_process()
    return await engine.ask(lambda client: list(_all(client, here)))


async def remove_from_engine(engine: Engine, leaving: Leaving) -> None:
    """Remove something that `left_in_engine` found, and wait until the engine forgot it.

    Raises:
        docker.errors.APIError: it is still there, and why.
        SandboxLost: the engine does not answer.
    """
    from docker.errors import APIError, NotFound

    deadline = anyio.current_time() + _DEADLINE_S
    while True:
        try:
            await engine.ask(lambda client: _remove(client, leaving))
        except NotFound:
            return
        except APIError:  # its removal may have begun: by itself, or by another `clean`
            if anyio.current_time() > deadline:
                raise
        await anyio.sleep(_PAUSE_S)


def _all(client: APIClient, here: Owner) -> Iterator[Leaving]:
    known: Any = client  # the stubs lack types
    for one in known.containers(all=True, filters=_FILTERS):
        yield from _owned("container", one["Id"], one["Names"][0].lstrip("/"), one, here)
    for one in known.volumes(filters=_FILTERS).get("Volumes") or ():
        yield from _owned("volume", one["Name"], one["Name"], one, here)
    for one in known.networks(filters=_FILTERS):
        yield from _owned("network", one["Id"], one["Name"], one, here)
    for one in known.images(filters=_FILTERS):
        if LAYER_LABEL not in (one.get("Labels") or {}):
            yield from _owned("image", one["Id"], _image_name(one), one, here)


def _owned(
    kind: Kind, identity: str, name: str, described: Mapping[str, Any], here: Owner
) -> Iterator[Leaving]:
    labels = described.get("Labels") or {}
    mark = parse_mark(name)
    owner = mark.owner if mark is not None else parse_owner(labels.get(OWNER_LABEL, ""))
    if owner is not None:
        yield Leaving(
            kind=kind,
            id=identity,
            name=one_line(name),
            run=one_line(labels.get(RUN_LABEL, ""), 40),
            state=state(owner, here),
        )


def _image_name(described: Mapping[str, Any]) -> str:
    return next(iter(described.get("RepoTags") or ()), str(described["Id"]))


def _remove(client: APIClient, leaving: Leaving) -> None:
    known: Any = client
    match leaving.kind:
        case "container":
            known.remove_container(leaving.id, v=True, force=True)
        case "volume":
            known.remove_volume(leaving.id)
        case "network":
            known.remove_network(leaving.id)
        case "image":
            known.remove_image(leaving.id, noprune=False)
        case _:
            raise ValueError(f"a {leaving.kind} is not the engine's")
