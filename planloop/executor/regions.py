"""Who waits for whom: the places of a flow where calls may happen, and their order.

A region is a piece of a flow that Python would evaluate without a break: a statement, a
sub-expression, an iteration. It knows which tools it may still call. A call whose arguments are
ready waits for earlier regions only, so waiting can never go in a circle.
"""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Protocol

import anyio

from planloop.plan import Place
from planloop.tool import BoundCall, Effect, Tool


class Ordered(Protocol):
    """What is known of a call once its arguments are."""

    @property
    def call(self) -> BoundCall:
        """The bound call."""
        ...


_END = 1 << 30
"""A position after all others."""


class Barred(Exception):
    """Internal: a call may not start any more, since something before it went wrong."""


@dataclasses.dataclass(frozen=True, slots=True)
class Summary:
    """What a piece of a flow may do, known before it runs."""

    tools: frozenset[str] = frozenset()
    """Names of the tools that it may call."""
    touches: frozenset[str] = frozenset()
    """Resources of the calls with an effect."""
    unknown: bool = False
    """It has a call with an effect whose resources depend on its arguments."""
    files: bool = False
    """It has a call with a workspace effect."""

    def may_touch(self, resources: frozenset[str]) -> bool:
        """Whether a call with an effect on one of these resources may come."""
        return self.unknown or not self.touches.isdisjoint(resources)

    @staticmethod
    def of_tool(name: str, tool: Tool) -> Summary:
        """What one call of a tool may do."""
        if not tool.effect.is_effect:
            return Summary(frozenset({name}))
        files = tool.effect is Effect.WORKSPACE
        if callable(tool.resources):
            return Summary(frozenset({name}), unknown=True, files=files)
        touched, _ = tool.resources_of({})
        return Summary(frozenset({name}), touched, files=files)

    @staticmethod
    def union(summaries: Iterable[Summary]) -> Summary:
        """What any of the pieces may do."""
        found = list(summaries)
        if len(found) == 1:
            return found[0]
        return Summary(
            frozenset().union(*(one.tools for one in found)),
            frozenset().union(*(one.touches for one in found)),
            any(one.unknown for one in found),
            any(one.files for one in found),
        )


def summarise(
    node: ast.AST, tools: Mapping[str, Tool], found: dict[ast.AST, Summary]
) -> Summary | None:
    """Fill `found` with the summary of every node at or below `node` that holds a call."""
    below = [
        summary
        for child in ast.iter_child_nodes(node)
        if (summary := summarise(child, tools, found)) is not None
    ]
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in tools:
        below.append(Summary.of_tool(node.func.id, tools[node.func.id]))
    if not below:
        return None
    found[node] = Summary.union(below)
    return found[node]


class Region:
    """A piece of a flow that holds a call, while the flow runs."""

    __slots__ = (
        "_changed", "apart", "bare", "begun", "children", "index", "ok", "own", "parent", "place",
        "prepared", "settled", "summary",
    )  # fmt: skip

    def __init__(self, place: Place, summary: Summary, *, bare: bool = False) -> None:
        self.place = place
        self.summary = summary
        self.bare = bare
        """Once its calls are prepared, nothing of it but their outcome can fail."""
        self.parent: Region | None = None
        self.index = 0
        self.children: list[Region] | None = None
        self.settled = 0
        """So many children, from the first on, have finished well."""
        self.own: Summary | None = None
        """Its own call, after those of its children."""
        self.prepared: Ordered | None = None
        self.apart: frozenset[str] | None = None
        """The declared resources of its own call, if that has an effect and is prepared."""
        self.begun = False
        """Its own call had its turn, and what it comes to is decided."""
        self.ok: bool | None = None
        self._changed: anyio.Event | None = None

    def expand(self, children: list[Region]) -> None:
        """Say of which regions it consists, in evaluation order."""
        for index, child in enumerate(children):
            child.parent, child.index = self, index
        self.children = children
        self._notify()

    def prepare(self, prepared: Ordered) -> None:
        """Its own call has its arguments; nothing else is outstanding in it."""
        self.prepared = prepared
        call = prepared.call
        if call.declared and call.tool.effect.is_effect:
            self.apart = call.resources
        self._notify()

    def begin(self) -> None:
        """Its own call has its turn now."""
        self.begun = True
        self._notify()

    def finish(self, ok: bool) -> None:
        """It is over, and so is all in it. Said more than once, the first time counts."""
        if self.ok is not None:
            return
        self.ok = ok
        for child in (self.children or ())[self.settled :]:
            child.finish(ok)
        if ok and self.parent is not None:
            self.parent._advance(self.index)
        self._notify()

    async def changed(self) -> None:
        """Wait until it expands, prepares or begins its call, or finishes."""
        if self._changed is None:
            self._changed = anyio.Event()
        await self._changed.wait()

    def _advance(self, index: int) -> None:
        children = self.children
        if children is None or index != self.settled:
            return
        while index < len(children) and children[index].ok:
            index += 1
        self.settled = index

    def _notify(self) -> None:
        if self._changed is not None:
            self._changed.set()
            self._changed = None


def end_of(region: Region) -> Place:
    """Where Python does the last step of a region, after all that it consists of."""
    return (*region.place, _END)


async def wait_for_earlier(region: Region, blocker: Callable[[Region], Region | None]) -> None:
    """Wait until no earlier region blocks.

    `blocker` names the region whose next change is worth another look. What has stopped
    blocking never blocks again, so each earlier region is looked at once, nearest first.

    Raises:
        Barred: from `blocker`.
    """
    for earlier in _earlier(region):
        while (watched := blocker(earlier)) is not None:
            await watched.changed()


def _earlier(region: Region) -> Iterator[Region]:
    here = region
    while (above := here.parent) is not None:
        index = here.index - 1
        while index >= above.settled:
            assert above.children is not None  # `here` is one of them
            yield above.children[index]
            index -= 1
        here = above


def not_begun(region: Region, tool: str) -> Region | None:
    """What must still change before all calls of `tool` in a region have had their turn."""
    if region.ok is not None or region.begun or tool not in region.summary.tools:
        return None
    if region.children is None or (region.own is not None and tool in region.own.tools):
        return region
    return _first(region, lambda child: not_begun(child, tool))


def blocks_look(region: Region, resources: frozenset[str]) -> Region | None:
    """What a look at these resources must still wait for in an earlier region.

    Raises:
        Barred: a call that changes one of them went wrong or was skipped.
    """
    if region.ok or not region.summary.may_touch(resources):
        return None
    if region.prepared is not None:
        call = region.prepared.call
        if not call.tool.effect.is_effect or call.resources.isdisjoint(resources):
            return None
    elif region.children is not None and not (region.own and region.own.may_touch(resources)):
        return _first(region, lambda child: blocks_look(child, resources))
    return _pending(region)


def blocks_effect(
    region: Region, call: BoundCall | None, *, one_call: bool = False
) -> Region | None:
    """What a call with an effect, or the end of the plan (None), must wait for.

    Args:
        region: an earlier one.
        call: what waits.
        one_call: its statement is this one call.

    Raises:
        Barred: something in the earlier region went wrong.
    """
    if region.ok:
        return None
    if call is None or not call.declared or not region.bare:
        return _pending(region)
    # A statement of several calls may be undone: nothing else may change files meanwhile (R6).
    shared = call.tool.effect is Effect.WORKSPACE and region.summary.files
    if shared and len(region.place) == 1 and not (one_call and region.own is not None):
        return _pending(region)
    return _blocks_apart(region, call.resources)


def _blocks_apart(region: Region, resources: frozenset[str]) -> Region | None:
    """What a call must wait for in a region of which only outcomes are outstanding."""
    if region.ok is None:
        if region.apart is not None:
            return None if region.apart.isdisjoint(resources) else region
        if region.bare and region.children is not None and region.own is None:
            return _first(region, lambda child: _blocks_apart(child, resources))
    return None if region.ok else _pending(region)


def _pending(region: Region) -> Region:
    if region.ok is False:
        raise Barred
    return region


def _first(region: Region, blocker: Callable[[Region], Region | None]) -> Region | None:
    assert region.children is not None
    for child in reversed(region.children[region.settled :]):
        if (watched := blocker(child)) is not None:
            return watched
    return None
