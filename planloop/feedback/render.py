"""Feedback as text: what each statement came to, what changed, what the checks said.

Every text has two forms: the one that is sent, and a stable one without call outputs and
durations, by which two runs can be compared.
"""

from __future__ import annotations

import ast
import dataclasses
from collections import Counter
from collections.abc import Iterable, Sequence

from planloop.observation import Observation, Output, Status
from planloop.plan import Answer, Plan, Statement
from planloop.sandbox import ServiceState
from planloop.state import CallResult, CheckResult, Execution, StatementResult, Told
from planloop.text import bounded_repr, one_line, sanitise

_SHOWN = 8_000
"""Characters of one value or stream in a feedback, half from each end."""
_PREVIEW = 160
_MOST_DETAILS = 40
"""Calls of one statement that are shown one by one."""
_MOST_PATHS = 50
"""Of one kind that a check is told of by name."""
_MOST_CUT = 5
"""Streams of one statement that are said to be longer than the value that holds them."""


class Draft:
    """Lines of a feedback, in both forms."""

    def __init__(self) -> None:
        self._sent: list[str] = []
        self._stable: list[str] = []

    def say(self, text: str) -> None:
        """A line that is the same in every run."""
        self._sent.append(text)
        self._stable.append(text)

    def show(self, text: str) -> None:
        """Output of a call: quoted line by line, so that it cannot pass for our own words."""
        lines = sanitise(_bounded(text)).splitlines()
        self._sent.extend(f"  | {line}" for line in lines)
        self._stable.append("  | …")

    def remark(self, text: str) -> None:
        """A line of our own that hangs on what calls wrote: it is in the sent form only."""
        self._sent.append(text)

    def told(self) -> Told:
        """Both forms."""
        return Told("\n".join(self._sent), "\n".join(self._stable))


def statements(plan: Plan, execution: Execution) -> list[Told]:
    """What each statement of a plan came to, in the order of the text."""
    if isinstance(plan, Answer) or execution.rejected is not None:
        return []
    calls: dict[int, list[CallResult]] = {}
    for call in execution.calls:
        calls.setdefault(call.place[0], []).append(call)
    return [
        _statement(statement, result, calls.get(statement.index, []), execution)
        for statement, result in zip(plan.statements, execution.statements, strict=True)
        if not result.kept
    ]


def _statement(
    statement: Statement,
    result: StatementResult,
    calls: Sequence[CallResult],
    execution: Execution,
) -> Told:
    draft = Draft()
    draft.say(f"line {statement.line}: {one_line(statement.source, 100)}  -> {result.status}")
    if result.error is not None:
        told = _told_by_a_call(result, calls)
        if not told:
            draft.say(f"  {result.error.type}: {one_line(result.error.message, 600)}")
        for name, shown in result.error.values if not told or result.duration_s else ():
            draft.show(f"{name} = {shown}")
    for call in _worth_showing(statement, calls):
        _call(draft, call, alone=len(calls) == 1)
    _other_notes(draft, statement, calls)
    _program_output(draft, result, calls)
    if len(calls) > 1:
        _counts(draft, calls)
    _cut_values(draft, statement, calls)
    if result.status is Status.OK:
        for name in statement.binds:
            if name in execution.bound:
                draft.show(f"{name} = {bounded_repr(execution.bound[name], _PREVIEW)}")
    return draft.told()


def _program_output(draft: Draft, result: StatementResult, calls: Sequence[CallResult]) -> None:
    """What a program's statement printed, and what a bare expression came to."""
    for name, output in (("stdout", result.stdout), ("stderr", result.stderr)):
        if output is not None:
            draft.say(f"  {name}:")
            draft.show(output.text)
    shown = len(calls) == 1 and calls[0].observation.stdout is not None
    if result.value is not None and not shown:
        draft.show(result.value)


def _told_by_a_call(result: StatementResult, calls: Sequence[CallResult]) -> bool:
    if result.error is None:
        return True
    return any(
        call.observation.error is not None
        and call.observation.error.message == result.error.message
        for call in calls
    )


def _worth_showing(statement: Statement, calls: Sequence[CallResult]) -> Iterable[CallResult]:
    """Failed calls, and the call of a bare expression; assigned values show by their names."""
    bare = isinstance(statement.node, ast.Expr) and bool(statement.calls)
    ran = [call for call in calls if call.observation.status is not Status.SKIPPED]
    shown = [call for call in ran if not call.observation.ok or bare]
    return shown[:_MOST_DETAILS]


def _counts(draft: Draft, calls: Sequence[CallResult]) -> None:
    counts = Counter(
        (call.tool, "served" if call.observation.served else call.observation.status.value)
        for call in calls
    )
    parts = [f"{count} of {tool} {status}" for (tool, status), count in sorted(counts.items())]
    draft.say(f"  calls: {', '.join(parts)}")


def _call(draft: Draft, call: CallResult, *, alone: bool) -> None:
    seen = call.observation
    if not alone or not seen.ok:
        draft.say(f"  {call.tool}: {_status_text(seen)}")
        if not alone:
            draft.show(f"with {bounded_repr(dict(call.arguments), _PREVIEW)}")
    for note in seen.notes:
        draft.say(f"  note: {one_line(note, 700)}")
    if seen.served:
        draft.say("  served from the ledger: nothing ran again")
    if seen.error is not None and not _is_in_output(seen):
        draft.show(f"{seen.error.type}: {seen.error.message}")
    if seen.stdout is None and seen.stderr is None:
        if seen.ok and seen.value is not None:
            draft.show(
                seen.value if isinstance(seen.value, str) else bounded_repr(seen.value, _SHOWN)
            )
        return
    if seen.exit_code:
        draft.say(f"  exit {seen.exit_code}")
    for name, output in _streams(seen):
        draft.say(f"  {name}:")
        draft.show(output.text)
        if output.elided_bytes or len(output.text) > _SHOWN:
            draft.remark(_how_to_read_on(call, name, output))


def _other_notes(draft: Draft, statement: Statement, calls: Sequence[CallResult]) -> None:
    """Notes of calls that are not shown one by one."""
    shown = {id(call) for call in _worth_showing(statement, calls)}
    noted = [
        (call, note)
        for call in calls
        if call.observation.ok and not call.observation.served and id(call) not in shown
        for note in call.observation.notes
    ]
    for call, note in noted[:_MOST_DETAILS]:
        draft.say(f"  {call.tool}: note: {one_line(note, 700)}")


def _is_in_output(seen: Observation) -> bool:
    return seen.status is Status.FAILED and bool(seen.exit_code)


def _status_text(seen: Observation) -> str:
    if seen.status is Status.UNKNOWN:
        return "unknown: it ended without a result, and may or may not have been done"
    return seen.status.value


def _cut_values(draft: Draft, statement: Statement, calls: Sequence[CallResult]) -> None:
    """Calls whose output is not whole in the value that a name now holds."""
    shown = {id(call) for call in _worth_showing(statement, calls)}
    cut = [
        _how_to_read_on(call, name, output)
        for call in calls
        if call.observation.ok and id(call) not in shown
        for name, output in _streams(call.observation)
        if output.elided_bytes
    ]
    for text in cut[:_MOST_CUT]:
        draft.remark(text)


def _streams(seen: Observation) -> list[tuple[str, Output]]:
    """What was written, by stream; nothing for a stream that was not written to."""
    both = (("stdout", seen.stdout), ("stderr", seen.stderr))
    return [(name, output) for name, output in both if output is not None and output.total_bytes]


def _how_to_read_on(call: CallResult, name: str, output: Output) -> str:
    size = f"  {call.tool}: {name} of call {call.serial} has {output.total_bytes:,} bytes"
    if output.elided_bytes and output.blob is None:
        return f"{size}; what is elided was not kept"
    read_on = f'output_of({call.serial}, "{name}", start={_SHOWN // 2})'
    search = f'output_of({call.serial}, "{name}", containing="…")'
    return f"{size}: {read_on} reads on, {search} finds lines"


def services(states: Sequence[ServiceState]) -> Told:
    """What runs in the background; one that ended says how."""
    draft = Draft()
    if states:
        draft.say("Services:")
    for one in states:
        draft.say(f"- {one.name}: {'runs' if one.alive else 'ENDED'}")
        draft.show(one.detail if not one.alive else f"{one.detail}: {one.what}")
    return draft.told()


def checks(results: Sequence[CheckResult]) -> Told:
    """What the checks said."""
    draft = Draft()
    draft.say("Checks:")
    for found in results:
        draft.say(f"- {'passed' if found.passed else 'FAILED'}: {one_line(found.label, 120)}")
        if found.detail and not found.passed:
            draft.show(found.detail)
        if found.restored:
            draft.say(f"  put back for the check (pins): {_paths(found.restored)}")
        if found.removed:
            draft.say(f"  not seen by the check (pins): {_paths(found.removed)}")
    return draft.told()


def _paths(paths: Sequence[str]) -> str:
    """Paths on one line: the result made them, so that they may hold anything."""
    more = f" and {len(paths) - _MOST_PATHS} more" if len(paths) > _MOST_PATHS else ""
    return ", ".join(one_line(path, 200) for path in paths[:_MOST_PATHS]) + more


def what_now(execution: Execution) -> Told:
    """What a failure left, and what may be sent next (R7)."""
    draft = Draft()
    if execution.replayed:
        draft.say(f"Note: {execution.replayed}.")
    if execution.lost:
        draft.say("These names are lost, and must be made again before they are read:")
        draft.show(", ".join(f"{name} ({what})" for name, what in execution.lost.items()))
    if execution.rejected is not None:
        draft.say(f"The plan was not approved, and nothing of it ran: {execution.rejected}")
    failed = execution.failures
    if failed:
        _after_failure(draft, execution, failed[0])
    if execution.unmatched:
        serials = ", ".join(map(str, execution.unmatched))
        draft.say(f"Calls {serials} are done, and this plan did not repeat them: they stay done.")
    return draft.told()


def _after_failure(draft: Draft, execution: Execution, first: StatementResult) -> None:
    changed = [
        path
        for call in execution.calls
        if call.observation.status is not Status.OK
        for path in call.observation.changed_files
    ]
    if changed and not execution.undone:
        draft.say("The failed call changed these files, and they stay changed:")
        draft.show(", ".join(sorted(set(changed))[:50]))
    elif first.status is not Status.DIVERGED:
        draft.say("The failed statement has left no effect on names and files.")
    if execution.open_external:
        serials = ", ".join(map(str, execution.open_external))
        draft.say(
            f"External calls {serials} of it are done, and are served when the same calls come "
            "again: send that whole statement again, or begin with keep() and go on by hand."
        )
    draft.say("What finished stays done, its names too. Send the rest only.")


def join(parts: Iterable[Told]) -> Told:
    """Several texts as one, a blank line between them."""
    kept = [part for part in parts if part.text]
    return Told("\n\n".join(p.text for p in kept), "\n\n".join(p.stable for p in kept))


def _bounded(text: str) -> str:
    if len(text) <= _SHOWN:
        return text
    half = _SHOWN // 2
    return f"{text[:half]}\n… {len(text) - 2 * half} characters elided …\n{text[-half:]}"


@dataclasses.dataclass(frozen=True)
class Heading:
    """The first line of a feedback."""

    number: int
    rounds: int | None

    def told(self, execution: Execution) -> Told:
        """How the plan went, in one line."""
        counts = Counter(
            "kept" if result.kept else result.status.value for result in execution.statements
        )
        parts = [f"{counts[status]} {status}" for status in counts]
        of = f" of {self.rounds}" if self.rounds else ""
        mode = {"first": "", "rest": ", the rest of the plan", "whole": ", the whole again"}
        line = (
            f"Round {self.number}{of}{mode[execution.mode]}: {', '.join(parts) or 'no statement'}"
        )
        if execution.went_back:
            line += f"\nThe files went back to the beginning of the plan: {execution.went_back}"
        return Told(line, line)
