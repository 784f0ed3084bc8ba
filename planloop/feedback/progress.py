"""Whether a run gets anywhere: pure functions over its rounds (R9)."""

from __future__ import annotations

from collections.abc import Sequence

from planloop.state import Round

_SAME_RESULT_ROUNDS = 3
_IDLE_ROUNDS = 5

STUCK_NOTE = (
    "You are going in circles: the last rounds brought nothing new. Do something different, or "
    'end with give_up("why"). If the next round brings nothing new either, the run ends.'
)


def stuck(rounds: Sequence[Round]) -> str | None:
    """Why a run gets nowhere, or None."""
    repeated = _repeated_call(rounds[-_SAME_RESULT_ROUNDS:])
    if repeated:
        return f"the same call with the same result in {_SAME_RESULT_ROUNDS} rounds: {repeated}"
    if len(rounds) > _IDLE_ROUNDS and not any(
        _brought_something(rounds[:index], rounds[index])
        for index in range(len(rounds) - _IDLE_ROUNDS, len(rounds))
    ):
        return f"{_IDLE_ROUNDS} rounds with no new call, changed file or better check count"
    return None


def _repeated_call(rounds: Sequence[Round]) -> str | None:
    if len(rounds) < _SAME_RESULT_ROUNDS:
        return None
    common = set.intersection(*(_calls(one) for one in rounds))
    return min(common)[0] if common else None


def _calls(one: Round) -> set[tuple[str, str]]:
    """Tool and arguments, with the result, of every call of a round that is no poll."""
    return {
        (f"{call.tool}({call.arguments!r})", call.result_hash)
        for call in one.execution.calls
        if not call.poll and not call.observation.served
    }


def _brought_something(before: Sequence[Round], one: Round) -> bool:
    if one.execution.changed_files or any(call.poll for call in one.execution.calls):
        return True
    seen = {call for earlier in before for call, _ in _calls(earlier)}
    if any(call not in seen for call, _ in _calls(one)):
        return True
    best = max((_passed(earlier) for earlier in before), default=0)
    return _passed(one) > best


def _passed(one: Round) -> int:
    verdict = one.feedback.verdict
    return sum(found.passed for found in verdict.checks) if verdict else 0
