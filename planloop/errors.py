"""The error tree, split by who must act.

PlanloopError
├─ UserError             the caller can fix it: what, where, what next     exit 2
│  ├─ TaskError          in a task file: names file and line
│  └─ ConsentNeeded      a stranger's file asks for more than the defaults
├─ PlanInvalid           the model can fix it: becomes feedback, costs budget
├─ NoPlan                no valid plan in many replies: ends the run as stuck
├─ CallFailed            a tool raised: an observation, never a crash
│  └─ CallDiverged       it does not fit what the ledger says was done
├─ BudgetSpent           ends the run by name                              exit 1
└─ InfrastructureError   nobody's plan is wrong                            exit 3, or 2 before
   ├─ SandboxLost        the sandbox died or cannot be reached             the first model call
   ├─ ModelUnavailable   the model's server cannot be used
   └─ TraceDamaged       the run's own files are not as we left them
"""

from __future__ import annotations


class PlanloopError(Exception):
    """Base of all errors that planloop raises on purpose."""


class UserError(PlanloopError):
    """Something the caller can fix.

    Args:
        what: one sentence without a full stop; names and values in backticks.
        where: file and line, argument or flag, if there is one.
        hint: what to do next.
    """

    def __init__(self, what: str, *, where: str | None = None, hint: str | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.hint = hint

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}" if self.where else self.what
        return f"{text}\n\nhint: {self.hint}" if self.hint else text


class TaskError(UserError):
    """A task file is wrong. `excerpt` is the offending line with a caret under it, if known."""

    def __init__(
        self,
        what: str,
        *,
        where: str | None = None,
        hint: str | None = None,
        excerpt: str | None = None,
    ) -> None:
        super().__init__(what, where=where, hint=hint)
        self.excerpt = excerpt

    def __str__(self) -> str:
        head = f"{self.where}: {self.what}" if self.where else self.what
        parts = [head if self.excerpt is None else f"{head}\n{self.excerpt}"]
        if self.hint:
            parts.append(f"hint: {self.hint}")
        return "\n\n".join(parts)


class ConsentNeeded(UserError):
    """A file from a folder asks for more than the defaults; `asks` lists what."""

    def __init__(self, asks: tuple[str, ...], *, where: str, hint: str) -> None:
        super().__init__("needs your consent: " + "; ".join(asks), where=where, hint=hint)
        self.asks = asks


class PlanInvalid(PlanloopError):
    """A reply that is no valid plan. `line` and `column` count from 1; 0 means the whole reply."""

    def __init__(self, message: str, *, line: int = 0, column: int = 0) -> None:
        super().__init__(message)
        self.message = message
        self.line = line
        self.column = column

    def __str__(self) -> str:
        return (
            f"line {self.line}, column {self.column}: {self.message}" if self.line else self.message
        )


class CallFailed(PlanloopError):
    """A call that raised: `error` is the class name the tool raised, `message` its text."""

    def __init__(self, error: str, message: str) -> None:
        super().__init__(f"{error}: {message}")
        self.error = error
        self.message = message


class CallDiverged(CallFailed):
    """A call that the ledger does not let run: it contradicts, or repeats, a finished one."""


class NoPlan(PlanloopError):
    """Too many replies in a row were no valid plan. `last` says what was wrong with the last."""

    def __init__(self, replies: int, last: PlanInvalid) -> None:
        super().__init__(f"{replies} replies in a row were no valid plan; the last: {last}")
        self.replies = replies
        self.last = last


class BudgetSpent(PlanloopError):
    """A limit would be passed. `limit` names it; amounts are in its own unit.

    `needed` is what the next step could have used; 0 if the limit is passed without it.
    """

    def __init__(self, limit: str, allowed: float, spent: float, needed: float = 0) -> None:
        text = f"{limit} spent: {spent:g} of {allowed:g}"
        if limit == "sandbox_s":
            text = f"sandbox-time spent: {spent:.1f} s of {allowed:g} s"
        if needed and spent < allowed:
            text += f", and the next step could need {needed:g}"
        super().__init__(text)
        self.limit = limit
        self.allowed = allowed
        self.spent = spent


class InfrastructureError(PlanloopError):
    """The world around the run failed. `hint` says what to do next."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class SandboxLost(InfrastructureError):
    """The sandbox died or cannot be reached any more."""


class ModelUnavailable(InfrastructureError):
    """The model's server refused, failed or went silent past every retry."""


class TraceDamaged(InfrastructureError):
    """A run's own files are not as planloop left them."""
