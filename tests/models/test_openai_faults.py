"""A server that misbehaves in every way: bounded retries, whole replies or none, no key shown."""

from __future__ import annotations

import json
import logging
import re
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any

import anyio
import pytest

from planloop.errors import ModelUnavailable, PlanloopError, UserError
from planloop.messages import Message, Reply, Request
from planloop.models import ContextTooLong, OpenAIChat, Patience
from planloop.models.openai_wire import Quirks
from planloop.models.secret import Secret, shown
from tests.models.openai_server import Answer, Handler, Misbehaviour, OpenAIServer, Refusal, Step

KEY = "sk-test-0123456789abcdef"
QUICK = Patience(first_byte_s=0.4, idle_s=0.3, total_s=3.0, backoff_s=0.002)


def outcome(
    server: OpenAIServer,
    *,
    patience: Patience = QUICK,
    pieces: list[str] | None = None,
    **more: Any,
) -> Reply | PlanloopError:
    """A reply or the error of one request; never longer than five seconds."""

    async def main() -> Reply | PlanloopError:
        model = OpenAIChat("m", server.base_url, KEY, patience=patience, key_variable="MY_KEY")
        heard = [] if pieces is None else pieces
        try:
            with anyio.fail_after(5):
                request = Request(messages=(Message(role="user", text="hello"),), **more)
                return await model.complete(request, heard.append)
        except PlanloopError as error:
            return error
        finally:
            await model.close()

    return anyio.run(main)


def whole(message: dict[str, Any], finish: str | None = "stop") -> bytes:
    return json.dumps({"choices": [{"finish_reason": finish, "message": message}]}).encode()


def sends(content: bytes, headers: dict[str, str] | None = None) -> Misbehaviour:
    return lambda handler: handler.send_json(200, content, headers)


def streams(*pieces: str, then: Callable[[Handler], None] = lambda _: None) -> Misbehaviour:
    def misbehave(handler: Handler) -> None:
        handler.start_events()
        for piece in pieces:
            handler.piece(piece)
        then(handler)

    return misbehave


def short_body(handler: Handler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "500")
    handler.end_headers()
    handler.wfile.write(b'{"choices"')
    handler.reset()


def stream_error(handler: Handler) -> None:
    handler.start_events()
    handler.piece("par")
    handler.event({"error": {"message": "the worker died", "code": 502}})


def gives_up(handler: Handler) -> None:
    handler.start_events()
    handler.piece("par")
    handler.event({"choices": [{"delta": {}, "finish_reason": "error"}]})


PASSING: dict[str, Step] = {
    "429 with Retry-After": Refusal(429, "slow down", headers={"Retry-After": "0.05"}),
    "429 with a date that is past": Refusal(
        429, headers={"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}
    ),
    "429 with a bad Retry-After": Refusal(429, headers={"Retry-After": "soon"}),
    "429 with a negative Retry-After": Refusal(429, headers={"Retry-After": "-5"}),
    "429 with nothing": Refusal(429, body=b""),
    "408": Refusal(408),
    "409": Refusal(409),
    "500 with a page": Refusal(500, body=b"<html>oops"),
    "503": Refusal(503, body=b""),
    "connection reset before": Handler.reset,
    "reset in the stream": streams("par", "tial", then=Handler.reset),
    "stream cut": streams("par"),
    "stream hangs": streams("par", then=Handler.hang),
    "silence": Handler.hang,
    "error in the stream": stream_error,
    "the server gives up": gives_up,
    "body cut": short_body,
    "error with status 200": sends(b'{"error": {"message": "overloaded"}}'),
    "no JSON": sends(b"<html>"),
    "half a document": sends(whole({"content": "hello"})[:30]),
    "null": sends(b"null"),
    "a list": sends(b"[]"),
    "no choices": sends(b'{"choices": []}'),
    "choices of another kind": sends(b'{"choices": {"a": 1}}'),
    "a choice of another kind": sends(b'{"choices": [7]}'),
    "a message of another kind": sends(b'{"choices": [{"message": "x"}]}'),
    "content of another kind": sends(whole({"content": 7})),
    "a nameless tool call": sends(whole({"tool_calls": [{"id": "1", "function": {}}]})),
    "tool calls of another kind": sends(whole({"tool_calls": "x"})),
    "latin-1": sends('{"choices":[{"message":{"content":"é"}}]}'.encode("latin-1")),
    "deeply nested": sends(b"[" * 100_000),
    "a number of 5,000 digits": sends(b'{"choices": ' + b"9" * 5000 + b"}"),
    "a lie about compression": sends(b"not gzip", {"Content-Encoding": "gzip"}),
    "an empty body": sends(b""),
}
"""Faults after which the next attempt may well succeed."""


@pytest.mark.parametrize("fault", PASSING.values(), ids=PASSING.keys())
def test_a_passing_fault_costs_a_retry_and_nothing_else(fault: Step) -> None:
    with OpenAIServer([fault, fault, Answer("whole")]) as server:
        reply = outcome(server)
    assert isinstance(reply, Reply), reply
    assert reply.text == "whole"
    assert len(server.requests) == 3


@pytest.mark.parametrize("fault", PASSING.values(), ids=PASSING.keys())
def test_a_lasting_fault_ends_as_unavailable_after_bounded_retries(fault: Step) -> None:
    with OpenAIServer(lambda _: fault) as server:
        began = time.monotonic()
        error = outcome(server)
    assert isinstance(error, ModelUnavailable), error
    assert server.base_url in error.message
    assert error.hint
    assert 2 <= len(server.requests) <= 8
    assert time.monotonic() - began < 4


FINAL: dict[str, tuple[Refusal, str]] = {
    "quota": (Refusal(429, "spent", "insufficient_quota"), "MY_KEY"),
    "payment required": (Refusal(402, "pay"), "MY_KEY"),
    "unauthorised": (Refusal(401, "who?"), "MY_KEY"),
    "forbidden": (Refusal(403, "no"), "MY_KEY"),
    "not found": (Refusal(404, "no such model"), "/models"),
    "bad request": (Refusal(400, "bad"), "check"),
    "redirect": (Refusal(302, headers={"Location": "http://127.0.0.1:1/"}), "address"),
    "permanent redirect": (Refusal(308, headers={"Location": "/elsewhere"}), "address"),
}


@pytest.mark.parametrize(("refusal", "hint"), FINAL.values(), ids=FINAL.keys())
def test_a_refusal_is_final_and_says_what_to_do(refusal: Refusal, hint: str) -> None:
    with OpenAIServer(lambda _: refusal) as server:
        error = outcome(server)
    assert isinstance(error, UserError), error
    assert str(refusal.status) in error.what or "quota" in error.what
    assert hint in (error.hint or "")
    assert len(server.requests) == 1


def test_a_refusal_in_the_middle_of_a_run_is_no_mistake_of_the_user() -> None:
    async def main() -> BaseException | None:
        model = OpenAIChat("m", server.base_url, KEY, patience=QUICK)
        request = Request(messages=(Message(role="user", text="hello"),))
        await model.complete(request)
        try:
            await model.complete(request)
        except ModelUnavailable as error:
            return error
        finally:
            await model.close()
        return None

    with OpenAIServer([Answer("a"), Refusal(401, "revoked")]) as server:
        assert anyio.run(main) is not None


@pytest.mark.parametrize(
    "refusal",
    [
        Refusal(400, "This model's maximum context length is 4096", "context_length_exceeded"),
        Refusal(400, "the request exceeds the available context size"),
        Refusal(413, "too large"),
    ],
)
def test_a_conversation_that_is_too_long_has_an_error_of_its_own(refusal: Refusal) -> None:
    with OpenAIServer(lambda _: refusal) as server:
        error = outcome(server)
    assert isinstance(error, ContextTooLong)
    assert len(server.requests) == 1


@pytest.mark.parametrize("header", ["999999999", "1e300", "60"])
def test_a_server_that_asks_for_more_time_than_there_is_ends_the_request_at_once(
    header: str,
) -> None:
    with OpenAIServer(lambda _: Refusal(429, headers={"Retry-After": header})) as server:
        began = time.monotonic()
        error = outcome(server)
    assert isinstance(error, ModelUnavailable)
    assert "remain" in error.message
    assert time.monotonic() - began < 1
    assert len(server.requests) == 1


def test_the_deadline_of_the_request_bounds_all_its_attempts() -> None:
    patience = Patience(first_byte_s=60, idle_s=60, total_s=60, backoff_s=0.01)
    with OpenAIServer(lambda _: Handler.hang) as server:
        began = time.monotonic()
        error = outcome(server, patience=patience, deadline_s=0.5)
    assert isinstance(error, ModelUnavailable)
    assert 0.4 < time.monotonic() - began < 1.5


def drip(handler: Handler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    while not handler.server.stopping.wait(0.05):
        handler.wfile.write(b" ")


def keep_alive(line: bytes) -> Misbehaviour:
    def misbehave(handler: Handler) -> None:
        handler.start_events()
        handler.piece("par")
        while not handler.server.stopping.wait(0.05):
            handler.wfile.write(line)

    return misbehave


@pytest.mark.parametrize(
    "fault",
    [drip, keep_alive(b": ping\n\n"), keep_alive(b"data: \n\n"), keep_alive(b"\n")],
    ids=["drip", "comments", "empty events", "empty lines"],
)
def test_a_connection_that_is_only_kept_open_is_silence(fault: Misbehaviour) -> None:
    with OpenAIServer(lambda _: fault) as server:
        began = time.monotonic()
        error = outcome(server, patience=Patience(idle_s=0.3, total_s=1.5, backoff_s=0.01))
    assert isinstance(error, ModelUnavailable)
    assert time.monotonic() - began < 2.5


def endless(handler: Handler) -> None:
    handler.start_events()
    while not handler.server.stopping.is_set():
        handler.piece(" word" * 1000)


def one_endless_line(handler: Handler) -> None:
    handler.start_events()
    handler.wfile.write(b"data: ")
    while not handler.server.stopping.is_set():
        handler.wfile.write(b"x" * 65_536)


@pytest.mark.parametrize(
    "fault", [endless, one_endless_line, sends(whole({"content": "A" * 3_000_000}))]
)
def test_a_reply_past_the_size_limit_is_given_up_and_not_asked_for_again(
    fault: Misbehaviour,
) -> None:
    with OpenAIServer(lambda _: fault) as server:
        error = outcome(server, patience=Patience(max_reply_bytes=1_000_000))
    assert isinstance(error, ModelUnavailable)
    assert "1,000,000 bytes" in error.message
    assert len(server.requests) == 1


def test_an_endless_error_page_is_cut() -> None:
    def page(handler: Handler) -> None:
        handler.send_response(400)
        handler.send_header("Connection", "close")
        handler.end_headers()
        handler.close_connection = True
        while not handler.server.stopping.is_set():
            handler.wfile.write(b"x" * 65_536)

    with OpenAIServer(lambda _: page) as server:
        error = outcome(server)
    assert isinstance(error, UserError)
    assert len(str(error)) < 1000


def test_a_whole_reply_counts_although_the_connection_never_ends() -> None:
    def lingering(handler: Handler) -> None:
        handler.start_events()
        handler.event({"choices": [{"delta": {"content": "all"}, "finish_reason": "stop"}]})
        handler.hang()

    with OpenAIServer([lingering]) as server:
        reply = outcome(server, patience=Patience())
    assert isinstance(reply, Reply)
    assert reply.text == "all"


def test_a_stream_that_says_done_without_a_reason_is_whole() -> None:
    def terse(handler: Handler) -> None:
        handler.start_events()
        handler.piece("all")
        handler.wfile.write(b"data: [DONE]\n\n")

    with OpenAIServer([terse]) as server:
        reply = outcome(server)
    assert isinstance(reply, Reply)
    assert (reply.text, reply.finish) == ("all", "stop")


def test_pieces_of_one_attempt_only_are_streamed() -> None:
    pieces: list[str] = []
    with OpenAIServer([streams("par", "tial"), Answer("another reply")]) as server:
        reply = outcome(server, pieces=pieces)
    assert isinstance(reply, Reply)
    assert reply.text == "another reply"
    assert pieces == ["par", "tial"]


def test_an_attempt_that_failed_before_its_first_piece_leaves_the_next_one_streaming() -> None:
    pieces: list[str] = []
    with OpenAIServer([Refusal(503), Answer("reply")]) as server:
        outcome(server, pieces=pieces)
    assert "".join(pieces) == "reply"


def test_nobody_listening_is_said_with_the_address() -> None:
    with OpenAIServer() as server:
        pass
    error = outcome(server)
    assert isinstance(error, ModelUnavailable)
    assert server.base_url in error.message
    assert "running" in (error.hint or "")


def echo_everywhere(handler: Handler) -> None:
    handler.send_json(401, {"error": {"message": f"bad key {KEY} or {KEY[:10]}… sk-OTHER1234567"}})


ECHOES: dict[str, Step] = {
    "401": echo_everywhere,
    "a redirect": Refusal(302, headers={"Location": f"http://127.0.0.1:1/?key={KEY}"}),
    "a page": Refusal(500, body=f"<html>Authorization: Bearer {KEY}".encode()),
    "an error of status 200": sends(f'{{"error": "{KEY}"}}'.encode()),
    "a code": Refusal(400, "bad", code=KEY),
}


@pytest.mark.parametrize("fault", ECHOES.values(), ids=ECHOES.keys())
def test_a_key_that_the_server_echoes_is_in_no_error_and_no_log(
    fault: Step, caplog: pytest.LogCaptureFixture
) -> None:
    # At DEBUG the HTTP library writes every header of a response, as wire logs do.
    with caplog.at_level(logging.INFO), OpenAIServer(lambda _: fault) as server:
        error = outcome(server)
    assert isinstance(error, PlanloopError)
    shown = [str(error), repr(error), *traceback.format_exception(error), caplog.text]
    for text in shown:
        assert KEY not in text
        assert KEY[:10] not in text
        assert "sk-OTHER1234567" not in text


@pytest.mark.parametrize("stream", [True, False])
def test_a_key_that_the_server_puts_into_its_reply_is_masked(stream: bool) -> None:
    answer = Answer(f"your key is {KEY}", [("search", {"q": KEY})], reasoning=KEY, plain=not stream)
    with OpenAIServer([answer]) as server:
        reply = outcome(server)
    assert isinstance(reply, Reply)
    assert KEY not in repr(reply)
    assert reply.text == "your key is ***"


@pytest.mark.parametrize("key", ["plainLettersOnly0123456789", "with.dots:and/slashes+0123456789"])
@pytest.mark.parametrize("cut", [slice(None), slice(0, 12), slice(-12, None)])
def test_a_key_of_any_form_is_masked_in_errors_whole_or_in_part(key: str, cut: slice) -> None:
    secret = Secret(key)
    said = shown(f"invalid key '{key[cut]}' given", secret)
    assert said.startswith("invalid key '")
    assert said.endswith("' given")
    longest = max(re.split(r"[^A-Za-z0-9_-]", key[cut]), key=len)
    assert longest not in said


def test_a_key_is_in_no_representation_of_the_model() -> None:
    model = OpenAIChat("m", "http://127.0.0.1:9/v1", KEY)
    assert KEY not in repr(model)
    assert KEY not in repr(vars(model))


def test_control_characters_of_an_error_reach_nobody() -> None:
    refusal = Refusal(400, "\x1b]52;c;eA==\x07[red]\u202eevil")
    with OpenAIServer([refusal]) as server:
        error = outcome(server)
    assert not {"\x1b", "\x07", "\u202e"} & set(str(error))


def test_a_slow_server_that_does_not_stream_has_until_the_deadline() -> None:
    late = threading.Timer(0.8, lambda: gate.set())
    gate = threading.Event()

    async def main() -> Reply:
        model = OpenAIChat("m", server.base_url, patience=QUICK, quirks=Quirks(stream=False))
        request = Request(messages=(Message(role="user", text="hello"),))
        try:
            return await model.complete(request)
        finally:
            await model.close()

    with OpenAIServer([Answer("late", wait_for=gate)]) as server:
        late.start()
        assert anyio.run(main).text == "late"
    assert len(server.requests) == 1
