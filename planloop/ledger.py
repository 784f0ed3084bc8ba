"""The ledger: every call of a run, in order, with its result; and what a revision may reuse.

The rules are those of `docs/semantics.md`; their ids stand beside the code that holds them.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections import defaultdict
from collections.abc import Mapping
from typing import TypeAlias

from planloop.observation import Observation, Status
from planloop.plan import Place
from planloop.tool import BoundCall, Effect


@dataclasses.dataclass(frozen=True, kw_only=True)
class Entry:
    """One call that ran, or is running. Serial numbers count from 1 over the whole run."""

    serial: int
    lineage: int
    round: int
    place: Place
    tool: str
    key: str
    effect: Effect
    resources: frozenset[str]
    version: str
    """Of its resources when it ran: a hash over the effects on them before, in that pass."""
    again: bool
    idempotent: bool
    idempotency_key: str
    observation: Observation | None = None
    """None while it runs, and for ever if the process died."""
    settled: bool = False
    """The statement that made it finished; only a whole again reopens it."""
    void: bool = False
    """Its effect on the workspace was undone."""

    @property
    def finished(self) -> bool:
        """It succeeded, and what it did still stands."""
        return self.observation is not None and self.observation.ok and not self.void

    @property
    def unknown(self) -> bool:
        """An external call that may or may not have been done (L5)."""
        if self.effect is not Effect.EXTERNAL:
            return False
        return self.observation is None or self.observation.status is Status.UNKNOWN


class Ledger:
    """The entries of a run. Grows only; an entry changes by being replaced."""

    def __init__(self) -> None:
        self._entries: dict[int, Entry] = {}
        self._external: dict[str, list[int]] = defaultdict(list)
        self._lineages: dict[int, list[int]] = defaultdict(list)
        self._last_external = 0
        self._wanted: dict[str, set[tuple[int, Place]]] = defaultdict(set)

    def __len__(self) -> int:
        """How many calls there were."""
        return len(self._entries)

    def __getitem__(self, serial: int) -> Entry:
        """The entry with this serial number."""
        return self._entries[serial]

    @property
    def next_serial(self) -> int:
        """The serial number of the next call."""
        return len(self._entries) + 1

    @property
    def last_lineage(self) -> int:
        """The number of the newest lineage; 0 before the first call."""
        return max(self._lineages, default=0)

    @property
    def has_effects(self) -> bool:
        """Whether a file has changed, or an external call has run."""
        return any(
            entry.effect is Effect.EXTERNAL
            or (entry.observation is not None and bool(entry.observation.changed_files))
            for entry in self._entries.values()
        )

    def add(self, entry: Entry) -> None:
        """Enter a call that starts now."""
        self._entries[entry.serial] = entry
        self._lineages[entry.lineage].append(entry.serial)
        if entry.effect is Effect.EXTERNAL:
            self._external[entry.key].append(entry.serial)
            self._last_external = entry.serial

    def end(self, serial: int, observation: Observation) -> None:
        """Record how a call ended."""
        self._change(serial, observation=observation)

    def settle(self, serials: frozenset[int]) -> None:
        """The statements that made these calls finished (L2)."""
        for serial in serials:
            if not self._entries[serial].settled:
                self._change(serial, settled=True)

    def want(self, key: str, round: int, place: Place) -> None:
        """A plan asks for an external call; it is wanted until it is served or one succeeds."""
        self._wanted[key].add((round, place))

    def served(self, key: str, round: int, place: Place) -> None:
        """A call that was wanted here was done before."""
        self._wanted[key].discard((round, place))

    def granted(self, key: str) -> None:
        """A call has succeeded: the first one in each round that wanted it."""
        self._wanted[key] -= set(dict(sorted(self._wanted[key], reverse=True)).items())

    def wanted_before(self, key: str, done: Entry) -> bool:
        """Whether the plan that did a call asked above it for one that has not succeeded."""
        return any(round == done.round and place < done.place for round, place in self._wanted[key])

    def reopen(self, lineage: int) -> None:
        """A whole again opens all entries of its lineage anew (L2)."""
        for entry in self.of_lineage(lineage):
            if entry.settled:
                self._change(entry.serial, settled=False)

    def undo_workspace(self, serials: frozenset[int]) -> None:
        """These workspace effects were taken back by restoring files."""
        for serial in serials:
            if self._entries[serial].effect is Effect.WORKSPACE:
                self._change(serial, void=True)

    def of_lineage(self, lineage: int) -> list[Entry]:
        """The entries of one lineage, oldest first."""
        return [self._entries[serial] for serial in self._lineages.get(lineage, ())]

    def equal_external(self, key: str) -> list[Entry]:
        """External calls with this key, in any lineage, oldest first."""
        return [self._entries[serial] for serial in self._external.get(key, ())]

    def resolved(self, entry: Entry) -> bool:
        """Whether a call of unknown end was done once more, on purpose, and succeeded (L5)."""
        return any(
            later.finished and later.serial > entry.serial
            for later in self.equal_external(entry.key)
        )

    def external_since(self, serial: int) -> bool:
        """Whether an external call started after this entry."""
        return self._last_external > serial

    def _change(self, serial: int, **fields: object) -> None:
        self._entries[serial] = dataclasses.replace(
            self._entries[serial],
            **fields,  # type: ignore[arg-type]
        )


@dataclasses.dataclass(frozen=True)
class Serve:
    """Take the result of this entry; nothing runs."""

    entry: Entry


@dataclasses.dataclass(frozen=True)
class Run:
    """It is a new call. `idempotency_key` is that of an attempt to repeat, if there was one."""

    idempotency_key: str | None = None


@dataclasses.dataclass(frozen=True)
class Diverge:
    """It contradicts or repeats what is done; the planner must say what it means (L3-L5)."""

    entry: Entry
    why: str


@dataclasses.dataclass(frozen=True)
class GoBack:
    """The workspace must go back to the lineage's snapshot, and the pass start again (R1)."""

    why: str


Decision: TypeAlias = Serve | Run | Diverge | GoBack


class Pass:
    """One evaluation of one plan against the ledger: decides what each call comes to.

    Args:
        ledger: read only.
        lineage: the plan's lineage.
        whole: the whole again; else the first plan or the rest of one.
        redo_workspace: the workspace was restored, so that what touches it runs again.
        looked_at: serial numbers that the failed statement depends on (R1).
        versions: of the resources, as earlier plans of the lineage left them; a whole again
            begins where the first plan began.
    """

    def __init__(
        self,
        ledger: Ledger,
        *,
        lineage: int,
        whole: bool,
        redo_workspace: bool = False,
        looked_at: frozenset[int] = frozenset(),
        versions: Mapping[str, str] | None = None,
    ) -> None:
        self._ledger = ledger
        self._whole = whole
        self._redo_workspace = redo_workspace
        self._looked_at = looked_at
        self._versions = dict(versions or {})
        ours = ledger.of_lineage(lineage)
        self._open = sorted(
            (entry for entry in ours if entry.finished and not entry.settled),
            key=lambda entry: (entry.round, entry.place),
        )
        self._unknown = [entry for entry in ours if entry.unknown and not entry.settled]

    def takes_turns(self, call: BoundCall) -> bool:
        """Whether it hangs on earlier calls of its tool what this call comes to (L2, L3)."""
        external = call.tool.effect is Effect.EXTERNAL
        return any(
            self._same(entry, call) or (external and entry.tool == call.tool.name)
            for entry in self._open
        )

    def decide(self, call: BoundCall) -> Decision:
        """What this call comes to. Taking an entry is final: no other call gets it."""
        match call.tool.effect:
            case Effect.PURE:
                found = self._take(call)
                return Serve(found) if found else Run()
            case Effect.EXTERNAL:
                return self._decide_external(call)
            case Effect.READS | Effect.WORKSPACE:
                return self._decide_versioned(call)

    @property
    def versions(self) -> dict[str, str]:
        """Of the resources, as this pass has left them so far."""
        return dict(self._versions)

    def effected(self, call: BoundCall) -> None:
        """An effect took place, or was served: its resources have a new version."""
        for resource in call.resources:
            before = self._versions.get(resource, "")
            text = f"{before}\n{call.key}".encode("utf-8", "surrogatepass")
            self._versions[resource] = hashlib.sha256(text).hexdigest()[:16]

    def version(self, call: BoundCall) -> str:
        """The version of everything that the call touches."""
        if call.tool.effect is Effect.PURE:
            return ""
        return ";".join(
            f"{name}={self._versions[name]}"
            for name in sorted(call.resources)
            if name in self._versions
        )

    def unmatched_external(self) -> list[Entry]:
        """Finished external calls that this pass has not asked for again."""
        return [entry for entry in self._open if entry.effect is Effect.EXTERNAL]

    def _decide_external(self, call: BoundCall) -> Decision:
        found = self._take(call)
        if found:
            return Serve(found)
        contradiction = self._contradiction(call)
        if contradiction:
            return contradiction
        if self._open_workspace():
            return GoBack(f"`{call.tool.name}` is new, and recorded file changes come after it")
        for entry in self._ledger.equal_external(call.key):
            if entry.unknown and entry.idempotent:
                return Run(entry.idempotency_key)
        return Run()

    def _contradiction(self, call: BoundCall) -> Diverge | None:
        if not call.tool.idempotent:
            for entry in self._unknown:
                if entry.tool != call.tool.name or self._ledger.resolved(entry):
                    continue
                if not (call.again and entry.key == call.key):
                    return Diverge(entry, "whether that call was done is unknown")
        for entry in self._open:
            if entry.effect is not Effect.EXTERNAL or entry.tool != call.tool.name:
                continue
            # Calls on disjoint resources run at once: the plan that did this one may have asked for
            # that one above it, and failed or skipped it. The same text again comes to it first.
            if not self._ledger.wanted_before(call.key, entry):
                return Diverge(entry, "that call is done, and this plan has not repeated it")
        return None if call.again else self._repetition(call)

    def _repetition(self, call: BoundCall) -> Diverge | None:
        """An equal call that an earlier plan settled (L4). Entries of this pass are not settled."""
        for entry in self._ledger.equal_external(call.key):
            if not entry.settled or (entry.unknown and call.tool.idempotent):
                continue
            if entry.unknown:
                return Diverge(entry, "whether an equal call was done is unknown")
            if entry.finished:
                return Diverge(entry, "an equal call is already done")
        return None

    def _decide_versioned(self, call: BoundCall) -> Decision:
        in_workspace = "workspace" in call.resources
        found = None
        if not (in_workspace and self._redo_workspace):
            found = self._take(call, self.version(call))
        if found:
            return Serve(found)
        if in_workspace and self._open_workspace():
            return GoBack(f"`{call.tool.name}` must see the files as they were at this point")
        return Run()

    def _open_workspace(self) -> bool:
        if not self._whole or self._redo_workspace:
            return False
        return any(entry.effect is Effect.WORKSPACE for entry in self._open)

    def _take(self, call: BoundCall, version: str | None = None) -> Entry | None:
        for index, entry in enumerate(self._open):
            if not self._same(entry, call):
                continue
            if version is not None and (entry.version != version or self._look_again(entry)):
                continue
            return self._open.pop(index)
        return None

    def _same(self, entry: Entry, call: BoundCall) -> bool:
        return entry.key == call.key and entry.again == call.again

    def _look_again(self, entry: Entry) -> bool:
        # What failed is looked at again; what an external call was decided on is not.
        looked_at = entry.serial in self._looked_at
        return looked_at and not self._ledger.external_since(entry.serial)
