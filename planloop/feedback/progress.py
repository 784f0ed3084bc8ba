"""Whether a run gets anywhere (R9), round by round: what a round costs does not grow."""

from __future__ import annotations

from collections import deque

from planloop.state import Execution, Verdict
from planloop.text import bounded_repr
from planloop.values import digest

_SAME_RESULT_ROUNDS = 3
_IDLE_ROUNDS = 5

STUCK_NOTE = (
    "You are going in circles: the last rounds brought nothing new. Do something different, or "
    'end with give_up("why"). If the next round brings nothing new either, the run ends.'
)


class Progress:
    """What the rounds of one run have brought so far."""

    def __init__(self) -> None:
        self._recent: deque[dict[tuple[str, str], str]] = deque(maxlen=_SAME_RESULT_ROUNDS)
        self._seen: set[str] = set()
        self._most_passed = 0
        self._rounds = 0
        self._idle = 0

    def add(self, execution: Execution, verdict: Verdict | None) -> str | None:
        """Take a round in; why the run gets nowhere, or None."""
        calls = _calls(execution)
        self._recent.append(calls)
        self._rounds += 1
        self._idle = 0 if self._is_new(execution, verdict, calls) else self._idle + 1
        if repeated := self._repeated_call():
            return f"the same call with the same result in {_SAME_RESULT_ROUNDS} rounds: {repeated}"
        if self._idle >= _IDLE_ROUNDS < self._rounds:
            refused = f"; not approved: {execution.rejected}" if execution.rejected else ""
            return (
                f"{_IDLE_ROUNDS} rounds with no new call, changed file or better check count"
                + refused
            )
        return None

    def _is_new(
        self, execution: Execution, verdict: Verdict | None, calls: dict[tuple[str, str], str]
    ) -> bool:
        """Whether a round brought something: a change, a poll, a new call, a better count."""
        made = {call for call, _ in calls}
        passed = sum(found.passed for found in verdict.checks) if verdict else 0
        better, unseen = passed > self._most_passed, not made <= self._seen
        self._seen |= made
        self._most_passed = max(passed, self._most_passed)
        polled = any(call.poll for call in execution.calls)
        return bool(execution.changed_files) or polled or unseen or better

    def _repeated_call(self) -> str | None:
        if len(self._recent) < _SAME_RESULT_ROUNDS:
            return None
        common = set.intersection(*(set(calls) for calls in self._recent))
        return min(self._recent[-1][one] for one in common) if common else None


def _calls(execution: Execution) -> dict[tuple[str, str], str]:
    """Each call of a round that is no poll, with its result → the call as people read it."""
    return {
        (f"{call.tool}:{digest(call.arguments)}", call.result_hash): (
            f"{call.tool}({bounded_repr(dict(call.arguments))})"
        )
        for call in execution.calls
        if not call.poll and not call.observation.served
    }
