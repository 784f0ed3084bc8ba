"""A Python callable as a model: for tests, and for clients that planloop does not know."""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import TypeAlias

from planloop.errors import ModelUnavailable, UserError
from planloop.messages import OnText, Profile, Reply, Request
from planloop.models.replay_format import FREE
from planloop.models.wellformed import well_formed

Answer: TypeAlias = str | Reply
Writing: TypeAlias = AsyncGenerator[str, None]
ModelFunction: TypeAlias = Callable[[Request], Answer | Awaitable[Answer] | Writing]


class FunctionModel:
    """A model behind `function(request) -> str | Reply`, sync or async.

    A sync function runs in a worker thread, so that one that waits holds up nothing else. An
    async generator is a model that streams: the pieces of text that it yields are one reply.
    What it raises goes to the caller as it is. It is free, unless it says a `Reply.cost_usd`.
    """

    def __init__(
        self, function: ModelFunction, name: str = "function", profile: Profile = FREE
    ) -> None:
        self.name = name
        self.profile = profile
        self._function = function
        self._is_async = _is_async(function)

    def __repr__(self) -> str:
        return f"FunctionModel(name={self.name!r})"

    async def complete(self, request: Request, on_text: OnText | None = None) -> Reply:
        """Ask the function.

        Raises:
            ModelUnavailable: it took longer than `request.deadline_s`.
            UserError: it returned something else than text or a `Reply`.
        """
        import anyio

        answer: object = None
        with anyio.move_on_after(request.deadline_s) as scope:
            answer = await self._call(request)
            if isinstance(answer, AsyncGenerator):
                answer, on_text = await self._written(answer, on_text), None
        if scope.cancelled_caught:
            raise ModelUnavailable(
                f"the model function `{self.name}` took longer than {request.deadline_s:g} s"
            )
        reply = self._reply(answer)
        if on_text is not None and reply.text:
            on_text(reply.text)
        return reply

    async def close(self) -> None:
        """Nothing to release."""

    async def _call(self, request: Request) -> object:
        import anyio.to_thread

        if self._is_async:
            answer: object = self._function(request)
        else:
            answer = await anyio.to_thread.run_sync(self._function, request, abandon_on_cancel=True)
        return await answer if inspect.isawaitable(answer) else answer

    async def _written(self, pieces: Writing, on_text: OnText | None) -> str:
        """The text of a reply that comes in pieces, each passed on as it comes."""
        text: list[str] = []
        async with aclosing(pieces) as coming:
            async for piece in coming:
                if not isinstance(piece, str):
                    raise self._misfit(piece, "yielded", "str")
                text.append(well_formed(piece))
                if on_text is not None and piece:
                    on_text(text[-1])
        return "".join(text)

    def _reply(self, answer: object) -> Reply:
        if isinstance(answer, Reply):
            return answer
        if isinstance(answer, str):
            return Reply(text=well_formed(answer), cost_usd=0.0)
        raise self._misfit(answer, "returned", "str or `planloop.Reply`")

    def _misfit(self, answer: object, did: str, expected: str) -> UserError:
        what = f"the model function `{self.name}` {did} {type(answer).__name__}"
        return UserError(f"{what}; expected {expected}")


def _is_async(function: object) -> bool:
    while isinstance(function, functools.partial):
        function = function.func
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004 - asks about the method, not whether
    )
