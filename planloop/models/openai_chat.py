"""Models behind the OpenAI chat-completions form: hosted providers and local servers alike."""

from __future__ import annotations

import dataclasses
import time

import anyio

from planloop.errors import ModelUnavailable, PlanloopError, UserError
from planloop.messages import OnText, Profile, Reply, Request, ToolCall, token_bound
from planloop.models.address import checked_base_url
from planloop.models.intake import Intake, Listener, Patience, Timer
from planloop.models.openai_reply import ServerError, error_text
from planloop.models.openai_wire import Encoder, Quirks, adapted
from planloop.models.retry import AttemptFailed, Failure, of_status, retrying
from planloop.models.secret import Secret, shown
from planloop.models.transport import Response, Transport

_MAX_ERROR_BYTES = 65_536


class ContextTooLong(UserError):
    """The conversation is longer than the model's context."""


class OpenAIChat:
    """One model of one server.

    Args:
        name: what the server calls the model.
        base_url: the address before `/chat/completions`.
        key: sent as a bearer token; shown nowhere.
        profile: what the model can do, and its price.
        key_variable: what errors tell the user to set.
        quirks: where the server differs from the form; what its refusals teach is added.
        patience: deadlines and bounds.

    Raises:
        UserError: the address or the key cannot be used.
    """

    def __init__(
        self,
        name: str,
        base_url: str,
        key: str | None = None,
        profile: Profile | None = None,
        *,
        key_variable: str = "PLANLOOP_API_KEY",
        quirks: Quirks | None = None,
        patience: Patience | None = None,
    ) -> None:
        self.name = name
        self.base_url = checked_base_url(base_url)
        self.profile = profile or Profile()
        self.patience = patience or Patience()
        self._secret = None if key is None else Secret(key, f"`{key_variable}`")
        self._key_variable = key_variable
        self._quirks = quirks or Quirks()
        self._encoder = Encoder(name)
        self._answered = False
        self._transport = Transport(self.base_url, self._secret, connect_s=self.patience.connect_s)

    def __repr__(self) -> str:
        return f"OpenAIChat({self.name!r}, {self.base_url!r})"

    async def complete(self, request: Request, on_text: OnText | None = None) -> Reply:
        """Ask for one reply, again where that can help.

        Pieces go to `on_text` while they arrive. If that attempt is cut, no later one streams:
        what was streamed is then the start of a reply that never came, and the returned reply
        counts. A refusal is a reply with the finish `content_filter`.

        Raises:
            ModelUnavailable: no whole reply came within the deadline and the retries.
            ContextTooLong: the conversation does not fit the model.
            UserError: the server refuses the key, the model or the request, and has never
                answered one before.
        """
        deadline = anyio.current_time() + self._total_s(request)
        listener = Listener(on_text)
        attempts = retrying(deadline, self.patience.backoff_s, listener.attempt_failed)
        try:
            reply: Reply = await attempts(self._adapting, request, listener, deadline)
            return reply
        except AttemptFailed as error:
            raise self._error(error.failure, error.reason) from None

    async def close(self) -> None:
        """Release connections. Safe to call twice."""
        await self._transport.close()

    async def _adapting(self, request: Request, listener: Listener, deadline: float) -> Reply:
        """One attempt; begun anew where the server turns out to want another form of request."""
        while True:
            try:
                return await self._attempt(request, listener, deadline)
            except AttemptFailed as error:
                if not self._adapts_to(error.failure):
                    raise

    async def _attempt(self, request: Request, listener: Listener, deadline: float) -> Reply:
        body = self._encoder.body(request, self._quirks)
        timer = Timer(self.patience, deadline, streams=self._quirks.stream)
        intake = Intake(self.patience, timer, listener)
        with timer.scope:
            await self._exchange(body, intake)
        if timer.scope.cancelled_caught and not intake.complete:
            raise AttemptFailed(timer.failure())
        reply = intake.reply()
        self._answered = True
        return self._masked(dataclasses.replace(reply, cost_usd=self._cost_usd(reply, len(body))))

    async def _exchange(self, body: bytes, intake: Intake) -> None:
        async with self._transport.post(f"{self.base_url}/chat/completions", body) as response:
            if response.status != 200:
                raise AttemptFailed(await self._refusal(response))
            try:
                await intake.read(response)
            except ServerError as error:
                said = shown(error.message, self._secret)
                failure = of_status(error.status or 500, error.message, said)
                raise AttemptFailed(failure) from None

    async def _refusal(self, response: Response) -> Failure:
        text = error_text(await response.start(_MAX_ERROR_BYTES))
        said = shown(text, self._secret)
        if 300 <= response.status < 400:
            target = shown(response.headers.get("location", ""), self._secret)
            said = f"it redirects to `{target}`, which is not followed"
        after = response.headers.get("retry-after")
        return of_status(response.status, text, said, after, time.time())

    def _total_s(self, request: Request) -> float:
        if request.deadline_s is None:
            return self.patience.total_s
        return min(self.patience.total_s, request.deadline_s)

    def _adapts_to(self, failure: Failure) -> bool:
        quirks = adapted(self._quirks, failure.message) if failure.status in (400, 422) else None
        self._quirks = quirks or self._quirks
        return quirks is not None

    def _cost_usd(self, reply: Reply, request_bytes: int) -> float | None:
        """The price of a reply; where the server counts no tokens, an upper bound of it."""
        profile, tokens = self.profile, reply.tokens
        if profile.input_usd_per_million is None or profile.output_usd_per_million is None:
            return None
        given = request_bytes if tokens.input_tokens is None else tokens.input_tokens
        made = _bound(reply) if tokens.output_tokens is None else tokens.output_tokens
        total = given * profile.input_usd_per_million + made * profile.output_usd_per_million
        return total / 1_000_000

    def _masked(self, reply: Reply) -> Reply:
        if self._secret is None or not self._secret.echoed_in(reply):
            return reply
        mask = self._secret.masked_in
        return dataclasses.replace(
            reply,
            text=mask(reply.text),
            reasoning=mask(reply.reasoning or "") or None,
            tool_calls=tuple(
                ToolCall(mask(call.id), mask(call.name), mask(call.arguments))
                for call in reply.tool_calls
            ),
        )

    def _error(self, failure: Failure, reason: str) -> PlanloopError:
        what = f"`{self.name}` at {self.base_url}: {failure.message}"
        what += f" ({reason})" if reason else ""
        hint = self._hint(failure)
        if failure.kind == "context":
            return ContextTooLong(what, hint=hint)
        if failure.kind == "refused" and not self._answered:
            return UserError(what, hint=hint)
        return ModelUnavailable(what, hint=hint)

    def _hint(self, failure: Failure) -> str:
        variable = f"`{self._key_variable}`"
        if failure.kind == "context":
            return "give the task less text, or use a model with a longer context"
        if failure.kind == "connection":
            return "is the server running, and the address right?"
        if failure.kind == "refused" and failure.status is None:
            return "set `SSL_CERT_FILE` to its certificate authority, if you trust this server"
        if failure.status in (401, 403):
            return f"check the key in {variable}" if self._secret else f"set {variable} to a key"
        if failure.status in (402, 429):
            return f"check the plan and the balance of the account whose key is in {variable}"
        if failure.status == 404:
            return f"check the model's name and the address; {self.base_url}/models lists names"
        if failure.kind == "refused":
            return "check the model's name, the address and what this server supports"
        return "try again later, or use another model"


def _bound(reply: Reply) -> int:
    texts = [reply.text, reply.reasoning or "", *(call.arguments for call in reply.tool_calls)]
    return sum(token_bound(text) for text in texts)
