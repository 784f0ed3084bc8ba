"""The type that an app wants its output to have."""

from __future__ import annotations

from typing import Any

from planloop.state import CheckResult
from planloop.text import type_text
from planloop.values import Value


class OutputType:
    """Checks and converts what `done` was given. Fitting proves nothing; not fitting fails."""

    def __init__(self, hint: Any) -> None:
        self._hint = hint

    @property
    def text(self) -> str:
        """The type as the planner is told of it; empty if anything will do."""
        return "" if self._hint is None else type_text(self._hint)

    def problem(self, output: Value) -> CheckResult | None:
        """A failed check if the output does not fit."""
        import pydantic

        try:
            self.convert(output)
        except pydantic.ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(str(step) for step in first["loc"])
            return self._misfit(f"{where}: {first['msg']}" if where else first["msg"])
        except Exception as error:  # of a validator of the app's own
            return self._misfit(f"{type(error).__name__}: {error}")
        return None

    def _misfit(self, why: str) -> CheckResult:
        return CheckResult(
            label=f"the answer is a {self.text}",
            passed=False,
            by="host",
            detail=f"done(…) was given something else: {why}",
        )

    def convert(self, output: Value) -> Any:
        """The output as that type. Raises `pydantic.ValidationError`."""
        if self._hint is None:
            return output
        import pydantic

        return pydantic.TypeAdapter(self._hint).validate_python(output)
