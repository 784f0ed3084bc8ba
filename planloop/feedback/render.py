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
from planloop.plan import Flow, Plan, Statement
from planloop.state import CallResult, CheckResult, Execution, StatementResult, Told
from planloop.text import bounded_repr, one_line, sanitise

_SHOWN = 8_000
"""Characters of one value or stream in a feedback, half from each end."""
_PREVIEW = 160
_MOST_DETAILS = 40
"""Calls of one statement that are shown one by one."""


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

    def told(self) -> Told:
        """Both forms."""
        return Told("\n".join(self._sent), "\n".join(self._stable))


def statements(plan: Plan, execution: Execution) -> list[Told]:
    """What each statement of a flow came to, in the order of the text."""
    if not isinstance(plan, Flow) or execution.rejected is not None:
        return []
    calls: dict[int, list[CallResult]] = {}
    for call in execution.calls:
        calls.setdefault(call.place[0], []).append(call)
    return [
        _statement(statement, result, calls.get(statement.index, []), execution)
        for statement, result in zip(plan.statements, execution.statements, strict=True)
    ]


def _statement(
    statement: Statement,
    result: StatementResult,
    calls: Sequence[CallResult],
    execution: Execution,
) -> Told:
    draft = Draft()
    draft.say(f"line {statement.line}: {one_line(statement.source, 100)}  -> {result.status}")
    if result.error is not None and not _told_by_a_call(result, calls):
        draft.say(f"  {result.error.type}: {one_line(result.error.message, 600)}")
        for name, shown in result.error.values:
            draft.show(f"{name} = {shown}")
    for call in _worth_showing(statement, calls):
        _call(draft, call, alone=len(calls) == 1)
    if len(calls) > 1:
        _counts(draft, calls)
    if result.status is Status.OK:
        for name in statement.binds:
            if name in execution.bound:
                draft.show(f"{name} = {bounded_repr(execution.bound[name], _PREVIEW)}")
    return draft.told()


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
    bare = isinstance(statement.node, ast.Expr)
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
    _stream(draft, "stdout", seen.stdout)
    _stream(draft, "stderr", seen.stderr)


def _is_in_output(seen: Observation) -> bool:
    return seen.status is Status.FAILED and bool(seen.exit_code)


def _status_text(seen: Observation) -> str:
    if seen.status is Status.UNKNOWN:
        return "unknown: it ended without a result, and may or may not have been done"
    return seen.status.value


def _stream(draft: Draft, name: str, output: Output | None) -> None:
    if output is not None and output.total_bytes:
        draft.say(f"  {name}:")
        draft.show(output.text)


def checks(results: Sequence[CheckResult]) -> Told:
    """What the checks said."""
    draft = Draft()
    draft.say("Checks:")
    for found in results:
        draft.say(f"- {'passed' if found.passed else 'FAILED'}: {one_line(found.label, 120)}")
        if found.detail and not found.passed:
            draft.show(found.detail)
        if found.restored:
            draft.say(f"  put back for the check (pins): {', '.join(found.restored)}")
        if found.removed:
            draft.say(f"  not seen by the check (pins): {', '.join(found.removed)}")
    return draft.told()


def what_now(execution: Execution) -> Told:
    """What a failure left, and what may be sent next (R7)."""
    draft = Draft()
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
        counts = Counter(result.status.value for result in execution.statements)
        parts = [f"{counts[status]} {status}" for status in counts]
        of = f" of {self.rounds}" if self.rounds else ""
        mode = {"first": "", "rest": ", the rest of the plan", "whole": ", the whole again"}
        line = (
            f"Round {self.number}{of}{mode[execution.mode]}: {', '.join(parts) or 'no statement'}"
        )
        if execution.went_back:
            line += f"\nThe files went back to the beginning of the plan: {execution.went_back}"
        return Told(line, line)
