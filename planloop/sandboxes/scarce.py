"""When this machine has nothing left to give: no fault of a plan, nor the end of a sandbox."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeVar

import anyio

from planloop.errors import InfrastructureError

T = TypeVar("T")

_RETRIES_S = (0.02, 0.05, 0.1, 0.3, 1.0, 2.0)
"""Calls that end meanwhile give theirs back."""
_DESCRIPTORS = (errno.EMFILE, errno.ENFILE)
_DISK = (errno.ENOSPC, errno.EDQUOT)


@contextlib.contextmanager
def descriptors_are_ours() -> Iterator[None]:
    """A lack of descriptors must not pass for an error of a file or a program.

    Raises:
        InfrastructureError: there is none left.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _DESCRIPTORS:
            raise
        hint = "raise `ulimit -n`, or run less at once"
        raise InfrastructureError("this machine has no descriptor left", hint=hint) from None


@contextlib.contextmanager
def room_is_ours() -> Iterator[None]:
    """As `descriptors_are_ours`, and for a full disk, where nothing of the inside is written.

    Raises:
        InfrastructureError: there is no descriptor or no room left.
    """
    with descriptors_are_ours():
        try:
            yield
        except OSError as error:
            if error.errno not in _DISK:
                raise
            hint = "make room where planloop keeps its runs, and for temporary files"
            raise InfrastructureError("this machine's disk is full", hint=hint) from None


async def with_descriptors(make: Callable[[], Awaitable[T]]) -> T:
    """What `make` returns, tried again for some seconds while no descriptor is left.

    Raises:
        InfrastructureError: there is still none.
    """
    for delay in _RETRIES_S:
        try:
            return await make()
        except OSError as error:
            if error.errno not in _DESCRIPTORS:
                raise
        await anyio.sleep(delay)
    with descriptors_are_ours():
        return await make()
