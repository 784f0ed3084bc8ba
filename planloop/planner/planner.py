"""The planner: keeps the conversation, asks within the budget, answers invalid replies."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence

from planloop.budget import Account, Reservation, Usage
from planloop.errors import (
    BudgetSpent,
    InfrastructureError,
    ModelUnavailable,
    NoPlan,
    PlanInvalid,
    UserError,
)
from planloop.events import ModelAsked, ModelReplied, ReplyProgress, ReplyRefused
from planloop.messages import Message, Model, Reply, Request, ToolSpec, token_bound
from planloop.plan import Plan
from planloop.planner.incoming import Incoming
from planloop.planner.reply import read_reply
from planloop.roles import HeadStartRole
from planloop.state import Feedback, State, Told
from planloop.text import sanitise
from planloop.tool import Tool
from planloop.trace.journal import Journal

_MOST_INVALID = 6
"""Invalid replies in a row, after which more of them will not help."""
_LEAST_USEFUL_TOKENS = 256
_WRAP_UP_TOKENS = 512


class Planner:
    """One conversation with one model. Messages are only ever appended."""

    def __init__(
        self,
        model: Model,
        tools: dict[str, Tool],
        history: Sequence[Message],
        declared: tuple[ToolSpec, ...],
        *,
        account: Account,
        journal: Journal,
        conversation: str = "main",
        programs: bool = False,
        head_start: HeadStartRole | None = None,
    ) -> None:
        self._model = model
        self._tools = tools
        self._declared = declared
        self._messages = list(history)
        self._account = account
        self._journal = journal
        self._conversation = conversation
        self._programs = programs
        self._head_start = head_start
        self._incoming: Incoming | None = None
        self._told_rounds = 0
        self._known_tokens = 0
        self._new_bytes = sum(map(_bound, history)) + sum(map(_declared_bound, declared))
        self._unanswered: list[str] = []
        """Ids of the newest reply's native calls; each must be answered before anything else."""

    async def plan(self, state: State) -> Plan:
        """Ask for the next plan; invalid replies are answered here, and are no round.

        Raises:
            NoPlan: too many replies in a row were no valid plan.
            BudgetSpent: another request would pass a limit.
            ModelUnavailable, UserError: the model cannot be used.
        """
        self._tell_new_rounds(state)
        for _ in range(_MOST_INVALID):
            reply = await self._ask_for_plan(state)
            try:
                return read_reply(
                    reply,
                    self._tools,
                    state.known,
                    lost=state.lost,
                    living=state.living,
                    programs=self._programs,
                    bare_goals=self._model.profile.bare_goal_lists,
                )
            except PlanInvalid as error:
                self._refuse(reply, error)
                last = error
        raise NoPlan(_MOST_INVALID, last)

    async def ask(self, text: str) -> Reply:
        """Say something, and get the reply as it is: what is no plan is asked for like this.

        Raises:
            BudgetSpent: the request would pass a limit.
            ModelUnavailable, UserError: the model cannot be used.
        """
        self._say(text)
        return await self._ask()

    async def wrap_up(self, state: State, why: str) -> str | None:
        """One last word when a limit is reached; None if that is not to be had."""
        self._tell_new_rounds(state)
        self._answer_rest()
        self._say(
            f"The budget is spent ({why}). Nothing more will run. Say in prose, in a few "
            "sentences, what is done and what is not."
        )
        try:
            reply = await self._ask(most_tokens=_WRAP_UP_TOKENS)
        except (BudgetSpent, InfrastructureError, UserError):
            return None  # the run is over already, and its end is not the model's to change
        return reply.text.strip() or None

    def hear(self, text: str, checks: Sequence[str] = ()) -> None:
        """Add what the user says next, and the labels of the checks that will prove it."""
        self._answer_rest()
        proof = "".join(f"\n- {label}" for label in checks)
        told = f"\n\nThe work is proved by these checks now:\n{proof}" if checks else ""
        self._say(sanitise(f"The user says:\n\n{text.strip()}{told}"))

    def history(self, state: State) -> tuple[Message, ...]:
        """The whole conversation, the newest round included."""
        self._tell_new_rounds(state)
        self._answer_rest()
        return tuple(self._messages)

    def _tell_new_rounds(self, state: State) -> None:
        for done in state.rounds[self._told_rounds :]:
            self._tell(done.feedback)
        self._told_rounds = len(state.rounds)

    def _tell(self, feedback: Feedback) -> None:
        for call_id, told in feedback.by_call:
            self._answer(call_id, told)
        if feedback.summary.text:
            told = feedback.summary
            self._append(Message(role="user", text=told.text, stable=told.stable))

    def _refuse(self, reply: Reply, error: PlanInvalid) -> None:
        self._journal.emit(
            ReplyRefused(message=error.message, line=error.line, column=error.column)
        )
        text = f"This is no valid plan, and nothing of it ran: {error}"
        if not reply.tool_calls:
            return self._say(text)
        for call in reply.tool_calls:
            self._answer(call.id, Told(text, text))
        return None

    def _answer(self, call_id: str, told: Told) -> None:
        self._unanswered.remove(call_id)
        self._append(Message(role="tool", text=told.text, stable=told.stable, tool_call_id=call_id))

    def _answer_rest(self) -> None:
        """Servers refuse a conversation with a call that was never answered."""
        text = "The run ended before this call did; what it came to is not known here."
        for call_id in tuple(self._unanswered):
            self._answer(call_id, Told(text, text))

    def _say(self, text: str) -> None:
        self._append(Message(role="user", text=text))

    def _append(self, message: Message) -> None:
        self._messages.append(message)
        self._new_bytes += _bound(message)

    async def _ask_for_plan(self, state: State) -> Reply:
        """Ask, and let the plan's statements begin as they come, if somebody wants them early."""
        if self._head_start is None:
            return await self._ask()
        self._head_start.begin(state)
        self._incoming = incoming = Incoming(self._tools, state.known, self._head_start)
        try:
            reply = await self._ask()
        except BaseException:
            self._stop_head_start()
            raise
        finally:
            self._incoming = None
        if not incoming.began(reply.text):  # another attempt at the request was answered
            self._stop_head_start()
        return reply

    def _stop_head_start(self) -> None:
        if self._head_start is not None:
            self._head_start.stop()

    async def _ask(self, most_tokens: int | None = None) -> Reply:
        reservation, allowed = self._reserve(most_tokens)
        request = Request(
            messages=tuple(self._messages),
            tools=self._declared,
            conversation=self._conversation,
            max_output_tokens=allowed,
            deadline_s=self._account.wall_left_s,
        )
        self._journal.emit(
            ModelAsked(conversation=self._conversation, messages=len(self._messages))
        )
        started = time.monotonic()
        try:
            reply = await self._model.complete(request, self._progress)
        except BaseException as error:
            self._account.release(reservation)
            if isinstance(error, ModelUnavailable):
                self._account.check()  # the time it had was what was left of the run's
            raise
        usage = self._usage(reply)
        self._account.settle(reservation, usage)
        self._append(Message(role="assistant", text=reply.text, tool_calls=reply.tool_calls))
        self._unanswered = [call.id for call in reply.tool_calls]
        self._known_tokens = usage.input_tokens + usage.output_tokens
        self._new_bytes = 0
        self._record(reply, usage, time.monotonic() - started)
        return reply

    def _record(self, reply: Reply, usage: Usage, duration_s: float) -> None:
        event = ModelReplied(
            conversation=self._conversation,
            text=reply.text,
            tool_calls=tuple((call.id, call.name, call.arguments) for call in reply.tool_calls),
            finish=reply.finish,
            usage=usage,
            duration_s=duration_s,
        )
        self._journal.emit(event, sync=True)

    def _progress(self, text: str) -> None:
        self._journal.emit(ReplyProgress(conversation=self._conversation, text=text))
        if self._incoming is not None:
            self._incoming.hear(text)

    def _reserve(self, most_tokens: int | None) -> tuple[Reservation, int | None]:
        """Hold the most that a request can use; the output it may have, or None if unbounded."""
        profile, budget, used = self._model.profile, self._account.budget, self._account.usage
        prompt = self._known_tokens + self._new_bytes
        allowed = most_tokens or profile.max_output_tokens
        bounded = most_tokens is not None
        if budget.tokens is not None:
            bounded = True
            allowed = min(allowed, budget.tokens - used.input_tokens - used.output_tokens - prompt)
        input_price = (profile.input_usd_per_million or 0.0) / 1e6
        output_price = (profile.output_usd_per_million or 0.0) / 1e6
        if budget.cost_usd is not None and output_price:
            bounded = True
            left = budget.cost_usd - (used.cost_usd or 0.0) - prompt * input_price
            allowed = min(allowed, int(left / output_price))
        least = min(_LEAST_USEFUL_TOKENS, most_tokens or _LEAST_USEFUL_TOKENS)
        wanted = max(allowed, least)
        reservation = self._account.reserve(
            tokens=prompt + wanted, cost_usd=prompt * input_price + wanted * output_price
        )
        return reservation, allowed if bounded else None

    def _usage(self, reply: Reply) -> Usage:
        """What a reply used; where the server did not count, the bound counts."""
        tokens = reply.tokens
        prompt = self._known_tokens + self._new_bytes
        return Usage(
            cost_usd=reply.cost_usd,
            input_tokens=prompt if tokens.input_tokens is None else tokens.input_tokens,
            output_tokens=_bound(reply) if tokens.output_tokens is None else tokens.output_tokens,
            cached_tokens=tokens.cached_tokens or 0,
            model_requests=1,
        )


def _bound(said: Message | Reply) -> int:
    calls = (call.name + call.arguments for call in said.tool_calls)
    return token_bound(said.text) + sum(map(token_bound, calls))


def _declared_bound(tool: ToolSpec) -> int:
    return token_bound(tool.name + tool.description + json.dumps(tool.parameters))
