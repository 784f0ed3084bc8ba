"""What a nested run is told of attempts before it."""

from __future__ import annotations

from collections.abc import Sequence

from planloop.ledger import Entry, Ledger
from planloop.text import bounded_repr, one_line

_MOST = 20


def left_over_text(left: Sequence[Entry], ledger: Ledger) -> str:
    """What earlier attempts have done outside, to stand below the goal; empty if nothing is."""
    done = [one for entry in left for one in (entry, *ledger.done_within(entry.serial))]
    lines = [f"- {_entry_text(one)}" for one in done[:_MOST]]
    if len(done) > _MOST:
        lines.append(f"- … and {len(done) - _MOST} more")
    if not lines:
        return ""
    head = (
        "An earlier attempt at this goal has made these calls outside. An equal call takes its "
        "result from there, and is not made again; begin a plan with `keep()` to go on from them:"
    )
    return "\n\n" + "\n".join((head, *lines))


def _entry_text(entry: Entry) -> str:
    call = one_line(entry.key, 200)
    seen = entry.observation
    if seen is None or not seen.ok:
        return f"{call}: whether it was done is unknown" if entry.unknown else f"{call}: it failed"
    return f"{call} -> {one_line(bounded_repr(seen.value, 200), 200)}"
