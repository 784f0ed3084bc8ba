"""Checks that the planner proposes: pinned before any effect, or refused."""

from __future__ import annotations

from planloop.errors import CallFailed
from planloop.events import ChecksPinned
from planloop.feedback.checks import Checks
from planloop.ledger import Ledger
from planloop.state import PinnedCheck
from planloop.task import Check, FileCheck, PythonCheck, RunCheck
from planloop.trace.journal import Journal
from planloop.values import Value

_FORMS: dict[str, tuple[type[RunCheck] | type[FileCheck] | type[PythonCheck], frozenset[str]]] = {
    "run": (RunCheck, frozenset({"run"})),
    "file": (FileCheck, frozenset({"file", "contains", "equals"})),
    "python": (PythonCheck, frozenset({"python"})),
}


class Proposals:
    """Decides whether a proposed check may be pinned."""

    def __init__(
        self, checks: Checks, ledger: Ledger, journal: Journal, *, decided: bool, files: bool
    ) -> None:
        self._checks = checks
        self._ledger = ledger
        self._journal = journal
        self._decided = decided
        self._files = files
        self._pinned: dict[Check, PinnedCheck] = {}

    async def pin(self, arguments: dict[str, Value]) -> PinnedCheck:
        """Pin one; one that is pinned already stays as it is, so that a whole may come again.

        Raises:
            CallFailed: the user decided already, work has begun, or it is no check.
        """
        if self._decided:
            raise CallFailed("CheckRefused", "the task names its own checks; they decide")
        check = _check(arguments)
        if check in self._pinned:
            return self._pinned[check]
        if self._ledger.has_effects:
            raise CallFailed("CheckRefused", "work has begun; checks are proposed before it")
        if not self._files:
            raise CallFailed("CheckRefused", "this run has no files that a check could look at")
        pinned = self._pinned[check] = await self._checks.pin_proposed(check)
        self._journal.emit(ChecksPinned(labels=(pinned.check.label,), proposed=True))
        return pinned


def _check(arguments: dict[str, Value]) -> Check:
    forms = [name for name in _FORMS if arguments.get(name) is not None]
    if len(forms) != 1:
        raise CallFailed("CheckRefused", "write check(run=…), check(file=…) or check(python=…)")
    kind, allowed = _FORMS[forms[0]]
    given = {name: value for name, value in arguments.items() if value is not None}
    wrong = [n for n, v in given.items() if n not in allowed or not isinstance(v, str)]
    if wrong:
        raise CallFailed("CheckRefused", f"`{wrong[0]}` does not fit check({forms[0]}=…)")
    return kind(**given)
