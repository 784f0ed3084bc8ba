"""A Python callable as a model."""

from __future__ import annotations

import functools
import threading
from collections.abc import AsyncGenerator
from typing import Any

import anyio
import pytest

from planloop.errors import ModelUnavailable, UserError
from planloop.messages import Message, Model, Reply, Request
from planloop.models import FunctionModel

REQUEST = Request(messages=(Message(role="user", text="hello"),))


def ask(model: FunctionModel, request: Request = REQUEST, heard: Any = None) -> Reply:
    async def main() -> Reply:
        return await model.complete(request, heard)

    return anyio.run(main)


async def async_answer(request: Request) -> str:
    return request.messages[-1].text.upper()


class Answering:
    async def __call__(self, request: Request) -> Reply:
        return Reply(text="object", cost_usd=0.5)


def test_text_is_a_reply_that_is_streamed_and_costs_nothing() -> None:
    pieces: list[str] = []
    reply = ask(FunctionModel(lambda request: request.messages[0].text), heard=pieces.append)
    assert (reply.text, reply.cost_usd, pieces) == ("hello", 0.0, ["hello"])


def test_async_functions_partials_and_objects_work() -> None:
    assert ask(FunctionModel(async_answer)).text == "HELLO"
    assert ask(FunctionModel(functools.partial(async_answer))).text == "HELLO"
    assert ask(FunctionModel(Answering())).cost_usd == 0.5


def test_it_is_a_model() -> None:
    assert isinstance(FunctionModel(async_answer), Model)


def test_a_function_that_waits_holds_up_nothing_else() -> None:
    gate = threading.Event()

    def waits(_: Request) -> str:
        assert gate.wait(5)
        return "released"

    async def main() -> list[str]:
        texts: list[str] = []

        async def one(model: FunctionModel) -> None:
            texts.append((await model.complete(REQUEST)).text)

        async def opens(_: Request) -> str:
            gate.set()
            return "opened"

        async with anyio.create_task_group() as group:
            group.start_soon(one, FunctionModel(waits))
            group.start_soon(one, FunctionModel(opens))
        return texts

    assert sorted(anyio.run(main)) == ["opened", "released"]


@pytest.mark.parametrize("is_async", [True, False])
def test_a_function_past_the_deadline_is_unavailable(is_async: bool) -> None:
    gate = threading.Event()

    async def sleeps(_: Request) -> str:
        await anyio.sleep(5)
        return ""

    model = FunctionModel(sleeps if is_async else lambda _: str(gate.wait(5)), name="slow")
    try:
        with pytest.raises(ModelUnavailable, match=r"`slow` took longer than 0\.1 s"):
            ask(model, Request(messages=(), deadline_s=0.1))
    finally:
        gate.set()


@pytest.mark.parametrize("deadline_s", [None, 5.0])
def test_what_the_function_raises_goes_to_the_caller(deadline_s: float | None) -> None:
    def fails(_: Request) -> str:
        raise TimeoutError("its own")

    with pytest.raises(TimeoutError, match="its own"):
        ask(FunctionModel(fails), Request(messages=(), deadline_s=deadline_s))


def test_another_type_is_an_error_that_names_it() -> None:
    wrong: Any = lambda _: 7  # noqa: E731
    with pytest.raises(UserError, match="returned int"):
        ask(FunctionModel(wrong))


def test_lone_surrogates_become_replacement_characters() -> None:
    assert ask(FunctionModel(lambda _: "a\ud800")).text == "a\ufffd"


async def in_pieces(request: Request) -> AsyncGenerator[Any, None]:
    yield "hel"
    yield ""
    yield "lo"


def test_an_async_generator_streams_its_pieces() -> None:
    pieces: list[str] = []
    reply = ask(FunctionModel(in_pieces), heard=pieces.append)
    assert (reply.text, reply.cost_usd, pieces) == ("hello", 0.0, ["hel", "lo"])
    assert ask(FunctionModel(functools.partial(in_pieces))).text == "hello"


def test_a_stream_that_yields_something_else_is_told() -> None:
    async def odd(request: Request) -> AsyncGenerator[Any, None]:
        yield "text"
        yield Reply(text="whole")

    with pytest.raises(UserError, match="yielded Reply; expected str"):
        ask(FunctionModel(odd))


def test_a_stream_that_takes_too_long_or_breaks_gives_no_reply_and_is_closed() -> None:
    closed: list[str] = []

    async def slow(request: Request) -> AsyncGenerator[str, None]:
        try:
            yield "begin"
            await anyio.sleep_forever()
        finally:
            closed.append("slow")

    async def broken(request: Request) -> AsyncGenerator[str, None]:
        yield "begin"
        raise ModelUnavailable("cut")

    pieces: list[str] = []
    request = Request(messages=REQUEST.messages, deadline_s=0.05)
    with pytest.raises(ModelUnavailable, match="took longer"):
        ask(FunctionModel(slow), request, pieces.append)
    assert (pieces, closed) == (["begin"], ["slow"])
    with pytest.raises(ModelUnavailable, match="cut"):
        ask(FunctionModel(broken))
