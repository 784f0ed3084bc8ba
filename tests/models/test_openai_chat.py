"""The OpenAI dialect against a real server on loopback."""

from __future__ import annotations

import gc
import itertools
import json
import threading
import weakref
from typing import Any

import anyio
import pytest

from planloop.errors import UserError
from planloop.messages import Message, Profile, Reply, Request, ToolCall, ToolSpec
from planloop.models import OpenAIChat
from planloop.models.openai_wire import Encoder, Quirks
from tests.models.openai_server import Answer, Handler, OpenAIServer, Refusal, Step

KEY = "sk-test-0123456789abcdef"
SEARCH = ToolSpec("search", "Look something up.", {"type": "object", "properties": {"q": {}}})


def user(text: str = "hello") -> Message:
    return Message(role="user", text=text)


def ask(model: OpenAIChat, *messages: Message, **options: Any) -> tuple[Reply, list[str]]:
    """One request on an event loop of its own; the reply and the pieces that were streamed."""
    pieces: list[str] = []

    async def main() -> Reply:
        try:
            request = Request(messages=messages or (user(),), **options)
            return await model.complete(request, pieces.append)
        finally:
            await model.close()

    return anyio.run(main), pieces


@pytest.fixture(params=[True, False], ids=["stream", "whole"])
def quirks(request: pytest.FixtureRequest) -> Quirks:
    return Quirks(stream=request.param)


def test_a_reply_comes_whole_with_usage_finish_and_reasoning(quirks: Quirks) -> None:
    answer = Answer("Grüße, 世界 🎈", reasoning="thinking", usage=(12, 34), cached=8)
    with OpenAIServer([answer]) as server:
        reply, pieces = ask(OpenAIChat("m", server.base_url, quirks=quirks))
    assert (reply.text, reply.reasoning, reply.finish) == ("Grüße, 世界 🎈", "thinking", "stop")
    assert vars(reply.tokens) == {"input_tokens": 12, "output_tokens": 34, "cached_tokens": 8}
    assert "".join(pieces) == reply.text
    assert server.requests[0].body.get("stream", False) is quirks.stream


def test_text_is_streamed_in_the_pieces_in_which_it_comes() -> None:
    with OpenAIServer([Answer("one two three", piece=4)]) as server:
        _, pieces = ask(OpenAIChat("m", server.base_url))
    assert pieces == ["one ", "two ", "thre", "e"]


def test_pieces_arrive_before_the_reply_is_complete() -> None:
    heard = threading.Event()
    seen: list[bool] = []

    def slow(handler: Handler) -> None:
        handler.start_events()
        handler.piece("first")
        seen.append(heard.wait(10))
        handler.event({"choices": [{"delta": {"content": " last"}, "finish_reason": "stop"}]})

    with OpenAIServer([slow]) as server:
        model = OpenAIChat("m", server.base_url)

        async def main() -> Reply:
            reply = await model.complete(Request(messages=(user(),)), lambda _: heard.set())
            await model.close()
            return reply

        assert anyio.run(main).text == "first last"
    assert seen == [True]


def test_tool_calls_are_assembled_by_index(quirks: Quirks) -> None:
    calls = [("search", {"q": "é" * 20}), ("read", {"path": "a.txt"}), ("now", {})]
    with OpenAIServer([Answer(tool_calls=calls)]) as server:
        reply, _ = ask(OpenAIChat("m", server.base_url, quirks=quirks), tools=(SEARCH,))
    assert [(c.name, json.loads(c.arguments)) for c in reply.tool_calls] == calls
    assert [c.id for c in reply.tool_calls] == ["call_0", "call_1", "call_2"]
    assert reply.finish == "tool_calls"
    assert server.requests[0].body["tools"][0]["function"]["parameters"] == SEARCH.parameters


def test_arguments_that_are_no_json_and_unknown_tools_are_the_planners_to_judge(
    quirks: Quirks,
) -> None:
    with OpenAIServer([Answer(tool_calls=[("rm_rf", "{bad")])]) as server:
        reply, _ = ask(OpenAIChat("m", server.base_url, quirks=quirks))
    assert reply.tool_calls == (ToolCall("call_0", "rm_rf", "{bad"),)


def test_tool_call_deltas_without_index_or_id_are_still_put_together() -> None:
    deltas: list[dict[str, Any]] = [
        {"id": "a", "function": {"name": "search", "arguments": '{"q":'}},
        {"function": {"arguments": " 1}"}},
        {"id": "b", "function": {"name": "read", "arguments": {"path": "x"}}},
    ]

    def gemini(handler: Handler) -> None:
        handler.start_events()
        for delta in deltas:
            handler.event({"choices": [{"delta": {"tool_calls": [delta]}}]})
        handler.event({"choices": [{"delta": {}, "finish_reason": "stop"}]})

    with OpenAIServer([gemini]) as server:
        reply, _ = ask(OpenAIChat("m", server.base_url))
    assert reply.tool_calls == (
        ToolCall("a", "search", '{"q": 1}'),
        ToolCall("b", "read", '{"path": "x"}'),
    )
    assert reply.finish == "tool_calls"


def test_a_server_that_answers_a_stream_request_with_one_document_works() -> None:
    with OpenAIServer([Answer("plain", plain=True)]) as server:
        reply, pieces = ask(OpenAIChat("m", server.base_url))
    assert (reply.text, pieces) == ("plain", ["plain"])
    assert server.requests[0].body["stream"] is True


def test_events_under_a_wrong_content_type_are_still_events() -> None:
    def mislabelled(handler: Handler) -> None:
        handler.send_json(
            200, b'data: {"choices":[{"delta":{"content":"x"},"finish_reason":"stop"}]}\r\n\r\n'
        )

    with OpenAIServer([mislabelled]) as server:
        assert ask(OpenAIChat("m", server.base_url))[0].text == "x"


@pytest.mark.parametrize(
    ("said", "meant"),
    [("length", "length"), ("content_filter", "content_filter"), ("eos", "stop")],
)
def test_how_a_reply_ended_is_passed_on(quirks: Quirks, said: str, meant: str) -> None:
    with OpenAIServer([Answer("cut off he", finish=said)]) as server:
        reply, _ = ask(OpenAIChat("m", server.base_url, quirks=quirks))
    assert (reply.text, reply.finish) == ("cut off he", meant)


def test_a_refusal_is_a_filtered_reply_with_the_refusals_text(quirks: Quirks) -> None:
    with OpenAIServer([Answer(refusal="I cannot do that")]) as server:
        reply, _ = ask(OpenAIChat("m", server.base_url, quirks=quirks))
    assert (reply.text, reply.finish) == ("I cannot do that", "content_filter")


@pytest.mark.parametrize("text", [None, "", " \n"])
def test_an_empty_reply_is_a_reply(quirks: Quirks, text: str | None) -> None:
    with OpenAIServer([Answer(text)]) as server:
        reply, _ = ask(OpenAIChat("m", server.base_url, quirks=quirks))
    assert reply.text == (text or "")


def test_limits_are_sent_only_where_they_are_given() -> None:
    with OpenAIServer([Answer("a"), Answer("b")]) as server:
        model = OpenAIChat("m", server.base_url)
        ask(model)
        ask(model, max_output_tokens=77, temperature=0.5)
    first, second = (one.body for one in server.requests)
    assert set(first) == {"model", "messages", "stream", "stream_options"}
    assert (second["max_tokens"], second["temperature"]) == (77, 0.5)


def test_a_conversation_is_sent_as_the_form_wants_it() -> None:
    history = (
        Message(role="system", text="be brief"),
        user("find “it”\x00\ud800"),
        Message(role="assistant", text="", tool_calls=(ToolCall("c1", "search", '{"q": 1}'),)),
        Message(role="tool", text="found", tool_call_id="c1"),
    )
    with OpenAIServer([Answer("done")]) as server:
        ask(OpenAIChat("m", server.base_url), *history)
    assert server.requests[0].body["messages"] == [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "find “it”\x00\ufffd"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {
                    "id": "c1",
                    "type": "function",
                    "function": {"name": "search", "arguments": '{"q": 1}'},
                }
            ],
        },
        {"role": "tool", "content": "found", "tool_call_id": "c1"},
    ]


def test_a_growing_conversation_keeps_its_prefix_byte_for_byte() -> None:
    with OpenAIServer(lambda body: Answer(str(len(body["messages"])))) as server:
        model = OpenAIChat("m", server.base_url)

        async def main() -> None:
            messages: tuple[Message, ...] = ()
            for number in range(6):
                messages += (user(f"round {number}"),)
                reply = await model.complete(Request(messages=messages))
                messages += (Message(role="assistant", text=reply.text),)
            await model.close()

        anyio.run(main)
    bodies = [one.raw for one in server.requests]
    for before, after in itertools.pairwise(bodies):
        prefix = before[: before.rindex(b"]")]
        assert after.startswith(prefix)


def test_each_message_is_read_once_however_often_it_is_sent() -> None:
    reads: list[str] = []

    class Watched(Message):
        def __getattribute__(self, name: str) -> Any:
            if name == "role":
                reads.append(object.__getattribute__(self, "text"))
            return object.__getattribute__(self, name)

    encoder = Encoder("m")
    messages: tuple[Message, ...] = ()
    for number in range(20):
        messages += (Watched(role="user", text=f"round {number}"),)
        encoder.body(Request(messages=messages), Quirks())
    assert sorted(set(reads)) == sorted(one.text for one in messages)
    assert len(reads) <= 2 * len(messages)


def test_messages_are_forgotten_with_their_conversation() -> None:
    with OpenAIServer([Answer("a")]) as server:
        model = OpenAIChat("m", server.base_url)
        message = user("x" * 1000)
        ask(model, message)
        alive = weakref.ref(message)
        del message
        gc.collect()
        assert alive() is None


def test_requests_of_one_run_share_a_connection() -> None:
    with OpenAIServer([Answer("a"), Answer("b"), Answer("c")]) as server:
        model = OpenAIChat("m", server.base_url)

        async def main() -> None:
            for _ in range(3):
                await model.complete(Request(messages=(user(),)))
            await model.close()
            await model.close()

        anyio.run(main)
    assert len({one.connection for one in server.requests}) == 1


def test_one_model_serves_many_requests_at_once() -> None:
    gate = threading.Event()

    def answer(body: dict[str, Any]) -> Step:
        if len(server.requests) == 8:
            gate.set()
        return Answer(body["messages"][0]["content"], wait_for=gate)

    with OpenAIServer(answer) as server:
        model = OpenAIChat("m", server.base_url)
        replies: set[str] = set()

        async def one(text: str) -> None:
            replies.add((await model.complete(Request(messages=(user(text),)))).text)

        async def main() -> None:
            with anyio.fail_after(8):
                async with anyio.create_task_group() as group:
                    for number in range(8):
                        group.start_soon(one, f"request {number}")
            await model.close()

        anyio.run(main)
    assert replies == {f"request {number}" for number in range(8)}


def test_one_model_serves_several_event_loops_in_turn() -> None:
    with OpenAIServer([Answer("a"), Answer("b")]) as server:
        model = OpenAIChat("m", server.base_url)

        async def one() -> str:
            return (await model.complete(Request(messages=(user(),)))).text

        async def last() -> str:
            text = await one()
            await model.close()
            return text

        assert (anyio.run(one), anyio.run(last)) == ("a", "b")


def test_cancelling_a_request_ends_it_at_once() -> None:
    with OpenAIServer([Handler.hang, Answer("next")]) as server:
        model = OpenAIChat("m", server.base_url)

        async def main() -> str:
            with anyio.move_on_after(0.1) as scope:
                await model.complete(Request(messages=(user(),)))
            assert scope.cancelled_caught
            reply = await model.complete(Request(messages=(user(),)))
            await model.close()
            return reply.text

        assert anyio.run(main) == "next"


@pytest.mark.parametrize(
    ("profile", "usage", "cost"),
    [
        (Profile(), (1000, 100), None),
        (Profile(input_usd_per_million=0.0, output_usd_per_million=0.0), None, 0.0),
        (Profile(input_usd_per_million=2.0, output_usd_per_million=10.0), (1000, 100), 0.003),
    ],
)
def test_the_cost_comes_from_the_profiles_price(
    profile: Profile, usage: tuple[int, int] | None, cost: float | None
) -> None:
    with OpenAIServer([Answer("a", usage=usage)]) as server:
        reply, _ = ask(OpenAIChat("m", server.base_url, profile=profile))
    assert reply.cost_usd == (None if cost is None else pytest.approx(cost))


def test_without_usage_the_cost_is_an_upper_bound_and_not_nothing() -> None:
    profile = Profile(input_usd_per_million=1.0, output_usd_per_million=1.0)
    with OpenAIServer([Answer("a" * 500, usage=None)]) as server:
        reply, _ = ask(OpenAIChat("m", server.base_url, profile=profile), user("b" * 500))
    assert reply.tokens.input_tokens is None
    assert reply.cost_usd is not None
    assert reply.cost_usd >= 1000 / 1_000_000


def test_usage_that_makes_no_sense_is_no_usage() -> None:
    def strange(handler: Handler) -> None:
        usage = {"prompt_tokens": "many", "completion_tokens": -5, "prompt_tokens_details": 3}
        choice = {"message": {"content": "a"}, "finish_reason": "stop"}
        handler.send_json(200, {"choices": [choice], "usage": usage})

    with OpenAIServer([strange]) as server:
        reply, _ = ask(OpenAIChat("m", server.base_url))
    assert set(vars(reply.tokens).values()) == {None}


def test_a_server_that_knows_no_stream_options_is_asked_without_them() -> None:
    refusal = Refusal(400, "Unrecognized request argument supplied: stream_options")
    with OpenAIServer([refusal, Answer("a"), Answer("b")]) as server:
        model = OpenAIChat("m", server.base_url)
        assert ask(model)[0].text == "a"
        assert ask(model)[0].text == "b"
    assert ["stream_options" in one.body for one in server.requests] == [True, False, False]


def test_a_model_that_wants_the_newer_limit_field_gets_it() -> None:
    refusal = Refusal(400, "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens'.")
    with OpenAIServer([refusal, Answer("a")]) as server:
        assert ask(OpenAIChat("m", server.base_url), max_output_tokens=9)[0].text == "a"
    assert server.requests[1].body["max_completion_tokens"] == 9
    assert "max_tokens" not in server.requests[1].body


def test_surrogates_are_joined_or_replaced(quirks: Quirks) -> None:
    def split(handler: Handler) -> None:
        if quirks.stream:
            handler.start_events()
            handler.event(b'{"choices":[{"delta":{"content":"a\\ud83c"}}]}')
            last = b'{"choices":[{"delta":{"content":"\\udf88 \\ud800"},"finish_reason":"stop"}]}'
            handler.event(last)
        else:
            handler.send_json(
                200, b'{"choices":[{"message":{"content":"a\\ud83c\\udf88 \\ud800"}}]}'
            )

    with OpenAIServer([split]) as server:
        reply, pieces = ask(OpenAIChat("m", server.base_url, quirks=quirks))
    assert reply.text == "a🎈 \ufffd"
    "".join(pieces).encode()


def test_the_key_is_sent_as_a_bearer_token_and_none_is_sent_without_one() -> None:
    with OpenAIServer([Answer("a"), Answer("b")]) as server:
        ask(OpenAIChat("m", server.base_url, KEY))
        ask(OpenAIChat("m", server.base_url))
    with_key, without = (one.headers for one in server.requests)
    assert with_key["authorization"] == f"Bearer {KEY}"
    assert "authorization" not in without


def test_a_proxy_for_the_outside_world_is_not_used_for_this_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    with OpenAIServer([Answer("direct")]) as server:
        assert ask(OpenAIChat("m", server.base_url))[0].text == "direct"


@pytest.mark.parametrize(
    "address",
    [
        "ftp://example.org/v1",
        "example.org/v1",
        "http://",
        "http://user:secret-word@example.org/v1",
        "http://example.org:99999/v1",
        "http://example.org/v1?key=secret-word",
        "http://exa mple.org/v1",
        "http://[::1/v1",
    ],
)
def test_an_address_that_cannot_be_used_is_refused_without_showing_a_password(
    address: str,
) -> None:
    with pytest.raises(UserError) as caught:
        OpenAIChat("m", address)
    assert caught.value.hint
    if "@" in address:
        assert "secret-word" not in str(caught.value)


@pytest.mark.parametrize("key", ["", "  ", "two words", "käse", "line\nbreak", "\x00"])
def test_a_key_that_cannot_be_one_is_refused_without_being_shown(key: str) -> None:
    with pytest.raises(UserError) as caught:
        OpenAIChat("m", "http://127.0.0.1:9/v1", key, key_variable="SOME_KEY")
    assert "SOME_KEY" in str(caught.value)
    if key.strip():
        assert key.strip() not in str(caught.value)


def test_white_space_around_a_key_is_dropped() -> None:
    with OpenAIServer([Answer("a")]) as server:
        ask(OpenAIChat("m", server.base_url, f" {KEY}\n"))
    assert server.requests[0].headers["authorization"] == f"Bearer {KEY}"


def test_the_full_address_of_the_endpoint_is_taken_too() -> None:
    with OpenAIServer([Answer("a")]) as server:
        model = OpenAIChat("m", f"{server.base_url}/chat/completions/")
        assert ask(model)[0].text == "a"


@pytest.mark.parametrize("stream", [True, False])
def test_the_official_client_talks_to_the_same_server(stream: bool) -> None:
    from openai import OpenAI

    script = [Answer("Grüße", usage=(3, 4)), Answer(tool_calls=[("search", {"q": "x"})])]
    messages: Any = [{"role": "user", "content": "hello"}]
    with (
        OpenAIServer(script) as server,
        OpenAI(base_url=server.base_url, api_key=KEY, max_retries=0) as client,
    ):
        assert [one.id for one in client.models.list()] == ["test-model"]
        if stream:
            options: Any = {"stream": True, "stream_options": {"include_usage": True}}
            first = list(client.chat.completions.create(model="m", messages=messages, **options))
            text = "".join(c.choices[0].delta.content or "" for c in first if c.choices)
            used = first[-1].usage
            second = list(client.chat.completions.create(model="m", messages=messages, **options))
            deltas = [c.choices[0].delta for c in second if c.choices]
            parts = [call.function for d in deltas for call in d.tool_calls or []]
            name, given = parts[0].name, "".join(part.arguments or "" for part in parts)
        else:
            one = client.chat.completions.create(model="m", messages=messages)
            text, used = one.choices[0].message.content or "", one.usage
            two = client.chat.completions.create(model="m", messages=messages)
            call: Any = (two.choices[0].message.tool_calls or [])[0]
            name, given = call.function.name, call.function.arguments
    assert text == "Grüße"
    assert used is not None
    assert (used.prompt_tokens, used.completion_tokens) == (3, 4)
    assert (name, json.loads(given)) == ("search", {"q": "x"})
