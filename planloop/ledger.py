"""The ledger: every call of a run, in order, with its result; and what a revision may reuse.

The rules are those of `docs/semantics.md`; their ids stand beside the code that holds them.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping
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
    parent: int | None = None
    """Serial number of the call in whose nested run it was made; None outside of one."""

    @property
    def finished(self) -> bool:
        """It succeeded, and what it did still stands."""
        return self.observation is not None and self.observation.ok and not self.void

    @property
    def failed(self) -> bool:
        """Its tool raised, and nothing was undone since."""
        failed = self.observation is not None and self.observation.status is Status.FAILED
        return failed and not self.void

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
        self._wanted: dict[str, set[tuple[tuple[int, int], Place]]] = defaultdict(set)
        self._within: dict[int, list[int]] = defaultdict(list)
        self._opened = 0

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

    def open_lineage(self) -> int:
        """The number of a lineage that begins now: nested ones begin while others go on."""
        self._opened = max(self._opened, self.last_lineage) + 1
        return self._opened

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
        if entry.parent is not None:
            self._within[entry.parent].append(entry.serial)
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

    def want(self, key: str, round: int, place: Place, parent: int | None = None) -> None:
        """A plan asks for an external call; it is wanted until it is served or one succeeds."""
        self._wanted[key].add(((parent or 0, round), place))

    def served(self, key: str, round: int, place: Place, parent: int | None = None) -> None:
        """A call that was wanted here was done before."""
        self._wanted[key].discard(((parent or 0, round), place))

    def granted(self, key: str) -> None:
        """A call has succeeded: the first one in each round that wanted it."""
        self._wanted[key] -= set(dict(sorted(self._wanted[key], reverse=True)).items())

    def wanted_before(self, key: str, done: Entry) -> bool:
        """Whether the plan that did a call asked above it for one that has not succeeded."""
        plan = (done.parent or 0, done.round)
        return any(asked == plan and place < done.place for asked, place in self._wanted[key])

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

    def within(self, serial: int) -> list[Entry]:
        """The entries of the nested run of a call, and of those nested in it, oldest first."""
        found: list[Entry] = []
        for inner in self._within.get(serial, ()):
            found += [self._entries[inner], *self.within(inner)]
        return sorted(found, key=lambda entry: entry.serial)

    def done_within(self, serial: int) -> list[Entry]:
        """What a nested run has done outside, or may have: its calls, but for the goals in it."""
        return [
            entry
            for entry in self.within(serial)
            if entry.effect is Effect.EXTERNAL
            and (entry.finished or entry.unknown)
            and entry.serial not in self._within
        ]

    def left_over(self, serial: int) -> list[Entry]:
        """What earlier attempts at a nested call have done outside, and is open still.

        Those of equal calls, at the same place if there is one; else those of all that failed.
        """
        call = self._entries[serial]
        earlier = [
            one
            for one in self.of_lineage(call.lineage)
            if one.serial in self._within and one.serial != serial and not one.settled
        ]
        equal = [one for one in earlier if one.key == call.key]
        before = [one for one in earlier if one.round < call.round and not one.finished]
        here = [one for one in equal if one.place == call.place]
        tried = here or [one for one in equal if one.round < call.round] or before
        return [entry for one in tried for entry in self._left_by(one.serial)]

    def _left_by(self, serial: int) -> list[Entry]:
        inner = [self._entries[one] for one in self._within.get(serial, ())]
        return [
            entry
            for entry in inner
            if entry.effect is Effect.EXTERNAL
            and (entry.finished or entry.unknown or self.done_within(entry.serial))
        ]

    def adopt(self, entries: Iterable[Entry], lineage: int, parent: int | None = None) -> None:
        """From here on these are open in another lineage of a nested run, as its round 0 (L9)."""
        for entry in entries:
            self._lineages[entry.lineage].remove(entry.serial)
            self._lineages[lineage].append(entry.serial)
            self._change(entry.serial, lineage=lineage, round=0, settled=False)
            if parent is not None and entry.parent is not None:
                self._within[entry.parent].remove(entry.serial)
                self._within[parent].append(entry.serial)
                self._change(entry.serial, parent=parent)

    def adopted(self, lineage: int) -> list[Entry]:
        """What a nested run took over, and no plan of it has asked for yet."""
        return [one for one in self.of_lineage(lineage) if one.round == 0 and not one.settled]

    def equal_external(self, key: str) -> list[Entry]:
        """External calls with this key, in any lineage, oldest first."""
        return [self._entries[serial] for serial in self._external.get(key, ())]

    def failures(self, key: str) -> int:
        """How often an equal call failed."""
        statuses = (Status.FAILED, Status.KILLED)
        return sum(
            one.observation is not None and one.observation.status in statuses
            for one in self._entries.values()
            if one.key == key
        )

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
        handled: serial numbers of failed calls whose failure the program handled (L6).
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
        handled: frozenset[int] = frozenset(),
    ) -> None:
        self._ledger = ledger
        self._lineage = lineage
        self._whole = whole
        self._redo_workspace = redo_workspace
        self._looked_at = looked_at
        self._versions = dict(versions or {})
        ours = ledger.of_lineage(lineage)
        self._open = sorted(
            (
                entry
                for entry in ours
                if not entry.settled
                and (entry.finished or (entry.failed and entry.serial in handled))
            ),
            key=lambda entry: (entry.round, entry.place),
        )
        self._unknown = [entry for entry in ours if entry.unknown and not entry.settled]
        self._goals = [
            entry for entry in ours if not entry.settled and ledger.done_within(entry.serial)
        ]

    def takes_turns(self, call: BoundCall) -> bool:
        """Whether it hangs on earlier calls of its tool what this call comes to (L2, L3)."""
        external = call.tool.effect is Effect.EXTERNAL
        return any(
            self._same(entry, call) or (external and entry.tool == call.tool.name)
            for entry in self._open
        )

    def decide(self, call: BoundCall, place: Place) -> Decision:
        """What this call comes to. Taking an entry is final: no other call gets it."""
        match call.tool.effect:
            case Effect.PURE:
                found = self._take(call, place)
                return Serve(found) if found else Run()
            case Effect.EXTERNAL:
                return self._decide_external(call, place)
            case Effect.READS | Effect.WORKSPACE:
                return self._decide_versioned(call, place)

    @property
    def versions(self) -> dict[str, str]:
        """Of the resources, as this pass has left them so far."""
        return dict(self._versions)

    def effected(self, call: BoundCall) -> None:
        """An effect took place, or was served: its resources have a new version."""
        for resource in call.resources:
            self.changed(resource, call.key)

    def changed(self, resource: str, by: str) -> None:
        """Something changed a resource, which has a new version now."""
        before = self._versions.get(resource, "")
        text = f"{before}\n{by}".encode("utf-8", "surrogatepass")
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
        return [one for one in self._open if one.effect is Effect.EXTERNAL and one.finished]

    def _decide_external(self, call: BoundCall, place: Place) -> Decision:
        found = self._take(call, place)
        if found is not None and self._is_undone(found):
            return Run(found.idempotency_key)
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
            if not entry.finished:
                continue  # nothing was done
            # Calls on disjoint resources run at once: the plan that did this one may have asked for
            # that one above it, and failed or skipped it. The same text again comes to it first.
            if not self._ledger.wanted_before(call.key, entry):
                return Diverge(entry, "that call is done, and this plan has not repeated it")
        return self._nested_contradiction(call) or (None if call.again else self._repetition(call))

    def _nested_contradiction(self, call: BoundCall) -> Diverge | None:
        """What goals of this lineage have done counts as the lineage's own (L9)."""
        for goal in self._goals:
            for entry in self._ledger.done_within(goal.serial):
                if entry.tool == call.tool.name and entry.key != call.key:
                    return Diverge(entry, "a goal has done that call, and this plan has not")
        return None

    def _is_undone(self, entry: Entry) -> bool:
        """Whether a goal changed files that have gone back: it runs again, its calls are served."""
        return self._redo_workspace and any(
            one.effect is Effect.WORKSPACE and one.finished
            for one in self._ledger.within(entry.serial)
        )

    def _repetition(self, call: BoundCall) -> Diverge | None:
        """An equal call that an earlier plan settled (L4). Entries of this pass are not settled."""
        for entry in self._ledger.equal_external(call.key):
            own = entry.lineage == self._lineage
            if (own and not entry.settled) or (entry.unknown and call.tool.idempotent):
                continue
            if entry.unknown:
                return Diverge(entry, "whether an equal call was done is unknown")
            if entry.finished:
                return Diverge(entry, "an equal call is already done")
        return None

    def _decide_versioned(self, call: BoundCall, place: Place) -> Decision:
        in_workspace = "workspace" in call.resources
        found = None
        if not (in_workspace and self._redo_workspace):
            found = self._take(call, place, self.version(call))
        if found:
            return Serve(found)
        if in_workspace and self._open_workspace():
            return GoBack(f"`{call.tool.name}` must see the files as they were at this point")
        return Run()

    def _open_workspace(self) -> bool:
        if not self._whole or self._redo_workspace:
            return False
        return any(entry.effect is Effect.WORKSPACE for entry in self._open)

    def _take(self, call: BoundCall, place: Place, version: str | None = None) -> Entry | None:
        equal = [entry for entry in self._open if self._may_serve(entry, call, version)]
        if not equal:
            return None
        # Branches that run at once may come in any order: each takes what it did itself (L2).
        oldest = equal[0]
        siblings = [entry for entry in equal if _root_of(entry) == _root_of(oldest)]
        found = next((entry for entry in siblings if entry.place[2:] == place[2:]), oldest)
        self._open.remove(found)
        self._goals = [goal for goal in self._goals if goal.serial != found.serial]
        return found

    def _may_serve(self, entry: Entry, call: BoundCall, version: str | None) -> bool:
        if not self._same(entry, call):
            return False
        return version is None or (entry.version == version and not self._look_again(entry))

    def _same(self, entry: Entry, call: BoundCall) -> bool:
        return entry.key == call.key and entry.again == call.again

    def _look_again(self, entry: Entry) -> bool:
        # What failed is looked at again; what an external call was decided on is not.
        looked_at = entry.serial in self._looked_at
        return looked_at and not self._ledger.external_since(entry.serial)


def _root_of(entry: Entry) -> tuple[int, Place]:
    """What the branches that ran at once have in common."""
    return entry.round, entry.place[:2]
