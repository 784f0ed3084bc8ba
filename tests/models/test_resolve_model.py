"""From a name to a model, and which key may go where."""

from __future__ import annotations

import socket
import threading
import time
from pathlib import Path
from typing import Any

import anyio
import pytest

from planloop.errors import UserError
from planloop.messages import Message, Request
from planloop.models import FunctionModel, OpenAIChat, ReplayModel, Resolved, resolve_model
from planloop.models.keys import key_for
from planloop.models.local_servers import listed_models
from planloop.models.prices import listed_price
from planloop.models.providers import HOSTED, LOCAL, PROVIDERS, Provider
from planloop.task import ModelSpec
from tests.models.openai_server import Answer, Handler, Misbehaviour, OpenAIServer

OPENAI_KEY = "sk-openai-0123456789"
OWN_KEY = "own-key-0123456789"


def sent_key(found: Resolved, server: OpenAIServer) -> str | None:
    async def main() -> None:
        await found.model.complete(Request(messages=(Message(role="user", text="hello"),)))
        await found.model.close()

    anyio.run(main)
    return server.requests[-1].headers.get("authorization")


def test_a_provider_and_a_model_are_named_together() -> None:
    found = resolve_model("openai:gpt-4o-mini", environ={"OPENAI_API_KEY": OPENAI_KEY})
    assert isinstance(found.model, OpenAIChat)
    assert (found.name, found.model.name) == ("openai:gpt-4o-mini", "gpt-4o-mini")
    assert found.model.base_url == "https://api.openai.com/v1"
    assert found.price == "$0.15 in, $0.60 out per million tokens"
    assert OPENAI_KEY not in repr(found)


def test_a_models_own_name_may_hold_colons() -> None:
    found = resolve_model("ollama:llama3.2:3b", environ={})
    assert found.model.name == "llama3.2:3b"
    assert found.price == "free (local server)"
    assert found.model.profile.price_known


@pytest.mark.parametrize("provider", HOSTED, ids=[one.name for one in HOSTED])
def test_each_provider_can_be_named_and_its_missing_key_is_named(provider: Provider) -> None:
    variable = provider.key_variable or ""
    with pytest.raises(UserError, match=variable):
        resolve_model(f"{provider.name}:some-model", environ={})
    found = resolve_model(f"{provider.name}:some-model", environ={variable: "k" * 20})
    assert found.price == "unknown"


@pytest.mark.parametrize("provider", HOSTED, ids=[one.name for one in HOSTED])
def test_a_key_in_the_environment_is_enough_and_the_price_of_its_model_is_known(
    provider: Provider,
) -> None:
    found = resolve_model(None, environ={provider.key_variable or "": "k" * 20})
    assert found.name == f"{provider.name}:{provider.default_model}"
    assert provider.key_variable in found.why
    assert "per million tokens" in found.price
    assert found.model.profile.price_known


def test_an_unknown_provider_names_the_known_ones_and_the_near_one() -> None:
    with pytest.raises(UserError) as caught:
        resolve_model("opnai:gpt-4o", environ={})
    assert "`openai:`" in str(caught.value)
    assert all(name in str(caught.value) for name in PROVIDERS)


@pytest.mark.parametrize("name", ["gpt-4o", "", "openai:", "replay:", "nonsense:x"])
def test_a_name_that_means_nothing_says_how_names_are_written(name: str) -> None:
    with pytest.raises(UserError) as caught:
        resolve_model(name, environ={"OPENAI_API_KEY": OPENAI_KEY})
    assert ":" in (caught.value.hint or "")


def test_where_nothing_is_found_the_error_lists_what_would_work() -> None:
    with pytest.raises(UserError) as caught:
        resolve_model(None, environ={}, local_servers=())
    text = str(caught.value)
    for word in ("OPENAI_API_KEY", "GROQ_API_KEY", "--model", "replay:FILE"):
        assert word in text


def test_a_server_that_listens_here_is_found_last() -> None:
    with OpenAIServer([Answer("hello")], models=["first-model", "second"]) as server:
        here = Provider(name="vllm", base_url=server.base_url)
        silent = Provider(name="ollama", base_url="http://127.0.0.1:1/v1")
        servers = (silent, here)
        found = resolve_model(None, environ={}, local_servers=servers)
        assert (found.name, found.price) == ("vllm:first-model", "free (local server)")
        assert server.base_url in found.why
        assert sent_key(found, server) is None
        second = resolve_model("local:second", environ={}, local_servers=servers)
        assert second.model.name == "second"
        any_one = resolve_model("local", environ={}, local_servers=servers)
        assert any_one.model.name == "first-model"
        with pytest.raises(UserError, match="lists `third`"):
            resolve_model("local:third", environ={}, local_servers=servers)


def test_the_well_known_ports_are_these() -> None:
    ports = {one.name: int(one.base_url.split(":")[2].removesuffix("/v1")) for one in LOCAL}
    assert ports == {"ollama": 11434, "vllm": 8000, "lmstudio": 1234, "llamacpp": 8080}


def hangs(handler: Handler) -> None:
    handler.hang()


def drips(handler: Handler) -> None:
    handler.send_response(200)
    handler.end_headers()
    while not handler.server.stopping.wait(0.05):
        handler.wfile.write(b" ")


def floods(handler: Handler) -> None:
    handler.send_response(200)
    handler.end_headers()
    while not handler.server.stopping.is_set():
        handler.wfile.write(b"x" * 65_536)


def answers(content: bytes, status: int = 200) -> Misbehaviour:
    return lambda handler: handler.send_json(status, content)


NO_MODEL_SERVERS: list[Misbehaviour] = [
    hangs,
    drips,
    floods,
    answers(b"<html>"),
    answers(b"[]"),
    answers(b"null"),
    answers(b'{"data": 7}'),
    answers(b'{"data": [7, {"id": 7}, {"id": ""}]}'),
    answers(b"[" * 100_000),
    answers(b'{"data": [{"id": "x"}]}', 401),
    lambda handler: handler.wfile.write(b"\x00\xff not HTTP\r\n\r\n"),
    Handler.reset,
]


@pytest.mark.parametrize("misbehave", NO_MODEL_SERVERS)
def test_what_listens_and_is_no_model_server_is_passed_over_in_time(
    misbehave: Misbehaviour, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Handler, "do_GET", misbehave)
    with OpenAIServer() as server:
        began = time.monotonic()
        assert listed_models(server.base_url) == ()
        assert time.monotonic() - began < 1.0


def test_nothing_listening_is_no_model() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    assert listed_models(f"http://127.0.0.1:{port}/v1") == ()


def test_a_servers_own_word_on_its_context_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    listed = b'{"data": [{"id": "qwen3", "max_model_len": 2048}]}'
    monkeypatch.setattr(Handler, "do_GET", answers(listed))
    with OpenAIServer() as server:
        here = Provider(name="vllm", base_url=server.base_url)
        profile = resolve_model(None, environ={}, local_servers=(here,)).model.profile
    assert (profile.context_tokens, profile.max_output_tokens) == (2048, 512)


def test_a_replay_is_relative_to_the_tasks_folder(tmp_path: Path) -> None:
    (tmp_path / "run.jsonl").write_text('{"reply": "hello"}\n')
    found = resolve_model(
        ModelSpec(name="replay:run.jsonl"), environ={}, base=tmp_path, strict_replay=True
    )
    assert isinstance(found.model, ReplayModel)
    assert found.model.strict
    assert (found.name, found.price) == ("replay:run.jsonl", "free (replay)")


def test_a_callable_and_a_model_are_taken_as_they_are() -> None:
    def my_model(_: Request) -> str:
        return "hello"

    found = resolve_model(my_model, environ={})
    assert isinstance(found.model, FunctionModel)
    assert (found.name, found.price) == ("my_model", "free")
    model = FunctionModel(my_model)
    assert resolve_model(model, environ={}).model is model


def test_another_type_is_refused() -> None:
    wrong: Any = 7
    with pytest.raises(UserError, match="`model` is int"):
        resolve_model(wrong, environ={})


def test_the_users_own_price_goes_before_the_list() -> None:
    prices = {"openai:gpt-4o": {"input": 1, "output": 2.5}, "mine": {"input": 0, "output": 3}}
    environ = {"OPENAI_API_KEY": OPENAI_KEY}
    found = resolve_model("openai:gpt-4o", environ=environ, user_config={"prices": prices})
    assert found.price == "$1.00 in, $2.50 out per million tokens"
    spec = ModelSpec(name="mine", base_url="http://models.example/v1")
    assert resolve_model(spec, environ={}).price == "unknown"
    found = resolve_model(spec, environ={}, user_config={"prices": prices})
    assert found.price == "$0.00 in, $3.00 out per million tokens"


@pytest.mark.parametrize(
    "prices",
    [7, {"ollama:m": 3}, {"ollama:m": {"input": 1}}, {"ollama:m": {"input": "a", "output": -1}}],
)
def test_a_price_of_another_form_is_an_error(prices: Any) -> None:
    with pytest.raises(UserError, match=r"prices|price of"):
        resolve_model("ollama:m", environ={}, user_config={"prices": prices})


EVERY_PROVIDERS_KEY = {one.key_variable or "": f"{one.name}-key-0123456789" for one in HOSTED}


def test_no_providers_key_goes_to_another_address() -> None:
    with OpenAIServer(lambda _: Answer("a")) as server:
        spec = ModelSpec(name="openai:gpt-4o", base_url=server.base_url)
        assert sent_key(resolve_model(spec, environ=EVERY_PROVIDERS_KEY), server) is None
        spec = ModelSpec(name="gpt-4o", base_url=server.base_url)
        assert sent_key(resolve_model(spec, environ=EVERY_PROVIDERS_KEY), server) is None


@pytest.mark.parametrize(
    "address",
    [
        "http://api.openai.com/v1",
        "https://api.openai.com.evil.example/v1",
        "https://evil.example/api.openai.com/v1",
        "https://api.openai.com:444/v1",
        "https://evil.example/v1",
    ],
)
def test_an_address_that_only_looks_like_the_providers_gets_no_key(address: str) -> None:
    assert key_for(address, EVERY_PROVIDERS_KEY, {}) is None


@pytest.mark.parametrize("provider", HOSTED, ids=[one.name for one in HOSTED])
def test_each_providers_address_gets_its_own_key_only(provider: Provider) -> None:
    expected = (f"{provider.name}-key-0123456789", provider.key_variable)
    assert key_for(provider.base_url, EVERY_PROVIDERS_KEY, {}) == expected


def test_the_users_environment_may_name_another_address_for_a_providers_key() -> None:
    with OpenAIServer([Answer("a")]) as server:
        environ = {"OPENAI_API_KEY": OPENAI_KEY, "OPENAI_BASE_URL": server.base_url}
        found = resolve_model("openai:m", environ=environ)
        assert sent_key(found, server) == f"Bearer {OPENAI_KEY}"


def test_the_own_key_goes_to_a_custom_address() -> None:
    with OpenAIServer(lambda _: Answer("a")) as server:
        spec = ModelSpec(name="m", base_url=server.base_url)
        environ = {"PLANLOOP_API_KEY": OWN_KEY}
        assert sent_key(resolve_model(spec, environ=environ), server) == f"Bearer {OWN_KEY}"
        found = resolve_model(spec, environ={}, user_config={"api_key": OWN_KEY})
        assert sent_key(found, server) == f"Bearer {OWN_KEY}"


def test_the_own_key_goes_nowhere_else_once_it_has_an_address() -> None:
    environ = {"PLANLOOP_API_KEY": OWN_KEY, "PLANLOOP_BASE_URL": "https://mine.example/v1"}
    assert key_for("https://mine.example/v1", environ, {}) == (OWN_KEY, "PLANLOOP_API_KEY")
    assert key_for("https://evil.example/v1", environ, {}) is None
    config = {"api_key": OWN_KEY, "base_url": "https://mine.example/v1"}
    assert key_for("https://mine.example/v1", {}, config) == (OWN_KEY, "api_key")
    assert key_for("https://evil.example/v1", {}, config) is None


def test_a_base_url_in_the_environment_serves_bare_names_and_no_name() -> None:
    with OpenAIServer([Answer("a")], models=["listed"]) as server:
        environ = {"PLANLOOP_BASE_URL": server.base_url, "PLANLOOP_API_KEY": OWN_KEY}
        found = resolve_model("my-model", environ=environ)
        assert found.model.name == "my-model"
        assert sent_key(found, server) == f"Bearer {OWN_KEY}"
        assert resolve_model(None, environ=environ).model.name == "listed"
    with pytest.raises(UserError, match="PLANLOOP_BASE_URL"):
        resolve_model(None, environ=environ)


@pytest.mark.parametrize("address", ["nowhere", "http://user:pw@host/v1", "file:///etc/passwd"])
def test_an_address_that_cannot_be_used_is_refused(address: str) -> None:
    with pytest.raises(UserError):
        resolve_model(ModelSpec(name="m", base_url=address), environ={})
    with pytest.raises(UserError):
        resolve_model("openai:m", environ={"OPENAI_API_KEY": "k" * 20, "OPENAI_BASE_URL": address})


def test_a_local_address_is_free_and_a_strangers_is_unknown() -> None:
    def price(address: str) -> str:
        return resolve_model(ModelSpec(name="m", base_url=address), environ={}).price

    for address in ("http://localhost:8000/v1", "http://127.0.0.2:1/v1", "http://[::1]:8000/v1"):
        assert price(address) == "free (local server)"
    assert price("http://10.0.0.7:8000/v1") == "unknown"
    assert price("http://localhost.evil.example/v1") == "unknown"


def test_the_price_list_knows_models_by_provider_and_nothing_else() -> None:
    known = listed_price("gpt-4o-mini", "openai")
    assert known is not None
    assert (known.input_usd, known.output_usd) == pytest.approx((0.15, 0.60))
    assert listed_price("no-such-model", "openai") is None
    assert listed_price("gpt-4o-mini", "no-such-provider") is None


def test_resolving_works_inside_a_running_event_loop() -> None:
    async def main() -> Resolved:
        return resolve_model("ollama:m", environ={})

    assert anyio.run(main).name == "ollama:m"
    assert threading.active_count() < 50
