"""Suites by which authors of their own sandboxes can test them. Needs pytest."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from planloop.testing.sandboxes import sandbox_contract
else:

    def __getattr__(name: str) -> object:
        if name != "sandbox_contract":
            raise AttributeError(f"module 'planloop.testing' has no attribute {name!r}")
        from planloop.testing.sandboxes import sandbox_contract

        return sandbox_contract


__all__ = ["sandbox_contract"]
