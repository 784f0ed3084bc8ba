"""The contract suite of sandboxes, for authors of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from planloop.errors import UserError

try:
    import pytest
except ImportError:
    raise UserError("`planloop.testing` needs pytest", hint="`pip install pytest`") from None

pytest.register_assert_rewrite(
    "planloop.testing.contract_calls",
    "planloop.testing.contract_files",
    "planloop.testing.contract_life",
)

if TYPE_CHECKING:
    from planloop.testing.contract_base import Cases, Lose, Make


def sandbox_contract(make: Make, *, lose: Lose | None = None) -> type[Cases]:
    """The cases that every sandbox must pass, as a class that pytest collects.

    A test file holds no more than this:

        from planloop.testing import sandbox_contract

        async def make(limits, folder):
            return await MySandbox.open(limits)

        TestMySandbox = sandbox_contract(make)

    The sandbox needs `/bin/sh`, the usual small programs, `setsid` and `python3` inside. The
    cases run with anyio's plugin of pytest.

    Args:
        make: makes a sandbox with the limits that it is given. Its own files may go into the
            folder. The cases close it.
        lose: ends a sandbox from outside, as a crash would. Without it, what a lost sandbox
            must do is not looked at.
    """
    from planloop.testing import contract_calls, contract_files, contract_life

    class Contract(
        contract_calls.Outcomes,
        contract_calls.Streams,
        contract_calls.Ends,
        contract_files.Files,
        contract_files.Snapshots,
        contract_life.Processes,
        contract_life.Services,
        contract_life.Life,
    ):
        pass

    Contract.make = staticmethod(make)
    Contract.lose = None if lose is None else staticmethod(lose)
    return Contract
