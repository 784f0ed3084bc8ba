"""A real HTTP server on loopback that speaks the OpenAI chat-completions form, from a script.

    with OpenAIServer([Answer("hello"), Answer(tool_calls=[("search", {"q": "x"})])]) as server:
        model = OpenAIChat("test-model", server.base_url)
        ...
        assert server.requests[0].body["messages"][0]["content"] == "..."

An answer is streamed if the request asks for it. What the script does not hold is a 400.
"""

from __future__ import annotations

import dataclasses
import json
import socket
import struct
import threading
from collections.abc import Callable, Iterable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeAlias


@dataclasses.dataclass(frozen=True)
class Answer:
    """One scripted reply."""

    text: str | None = None
    tool_calls: Iterable[tuple[str, Any]] = ()
    """Names and arguments; arguments that are text are sent as they are."""
    _: dataclasses.KW_ONLY
    finish: str | None = None
    reasoning: str | None = None
    refusal: str | None = None
    usage: tuple[int, int] | None = (10, 5)
    """Tokens of request and reply; None to say nothing."""
    cached: int | None = None
    piece: int = 7
    """Characters in each event of a stream."""
    plain: bool = False
    """Answer with one JSON document although a stream was asked for."""
    wait_for: threading.Event | None = None
    """Answer when it is set, or after ten seconds."""


@dataclasses.dataclass(frozen=True)
class Refusal:
    """One scripted error response."""

    status: int
    message: str = ""
    code: str | None = None
    headers: dict[str, str] = dataclasses.field(default_factory=dict)
    body: bytes | None = None


@dataclasses.dataclass(frozen=True)
class Received:
    """A request as it came. Header names are in lower case."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]
    raw: bytes
    connection: tuple[str, int]
    """The client's address: equal for requests over one connection."""


Misbehaviour: TypeAlias = Callable[["Handler"], None]
"""Writes whatever it likes to the connection."""

Step: TypeAlias = Answer | Refusal | Misbehaviour


class OpenAIServer:
    """Serves a script, one step a request; a single callable answers every request instead.

    Args:
        script: the steps, or `answer(body) -> Step`.
        models: what `/v1/models` lists.
        port: 0 for a free one.
    """

    def __init__(
        self,
        script: Iterable[Step] | Callable[[dict[str, Any]], Step] = (),
        *,
        models: Iterable[str] = ("test-model",),
        port: int = 0,
    ) -> None:
        self.requests: list[Received] = []
        self.models = tuple(models)
        self._lock = threading.Lock()
        self._answer: Callable[[dict[str, Any]], Step] | None = None
        self._steps: Iterator[Step] = iter(())
        if callable(script):
            self._answer = script
        else:
            self._steps = iter(tuple(script))
        self._server = _Server(("127.0.0.1", port), Handler)
        self._server.owner = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def __enter__(self) -> OpenAIServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stopping.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def next_step(self, received: Received) -> Step:
        with self._lock:
            self.requests.append(received)
            if self._answer is not None:
                return self._answer(received.body)
            return next(self._steps, Refusal(400, "the script of the test server is at its end"))


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    # Threads of connections that a client keeps open would be waited for.
    block_on_close = False
    request_queue_size = 128
    owner: OpenAIServer

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.stopping = threading.Event()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is no news."""


class Handler(BaseHTTPRequestHandler):
    """One connection. Misbehaviours use its methods."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def log_message(self, *_: object) -> None:
        """Quiet."""

    def do_GET(self) -> None:
        if not self.path.endswith("/models"):
            self.send_json(404, {"error": {"message": "not found"}})
            return
        listed = [{"id": name, "object": "model"} for name in self.server.owner.models]
        self.send_json(200, {"object": "list", "data": listed})

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        body = json.loads(raw)
        received = Received(self.path, headers, body, raw, self.client_address)
        step = self.server.owner.next_step(received)
        if isinstance(step, Answer):
            self._answer(step, body)
        elif isinstance(step, Refusal):
            self._refuse(step)
        else:
            step(self)

    def send_json(self, status: int, document: Any, headers: dict[str, str] | None = None) -> None:
        """A whole response; bytes are sent as they are."""
        content = document if isinstance(document, bytes) else json.dumps(document).encode()
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def start_events(self) -> None:
        """Begin a stream that ends with the connection."""
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True

    def event(self, document: Any) -> None:
        """One event; bytes are sent as they are."""
        data = document if isinstance(document, bytes) else json.dumps(document).encode()
        self.wfile.write(b"data: " + data + b"\n\n")

    def piece(self, text: str) -> None:
        """One event with a piece of text."""
        self.event({"choices": [{"index": 0, "delta": {"content": text}}]})

    def reset(self) -> None:
        """End the connection as a crash does."""
        linger = struct.pack("ii", 1, 0)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.connection.close()
        self.close_connection = True

    def hang(self) -> None:
        """Say nothing until the test is over."""
        self.server.stopping.wait(30)
        self.close_connection = True

    def _refuse(self, step: Refusal) -> None:
        error = {"message": step.message, "type": "error", "code": step.code}
        self.send_json(
            step.status, {"error": error} if step.body is None else step.body, step.headers
        )

    def _answer(self, answer: Answer, body: dict[str, Any]) -> None:
        if answer.wait_for is not None:
            answer.wait_for.wait(10)
        if body.get("stream") and not answer.plain:
            self._stream(answer, body)
        else:
            self.send_json(200, _document(answer))

    def _stream(self, answer: Answer, body: dict[str, Any]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        with_usage = (body.get("stream_options") or {}).get("include_usage", False)
        for event in _events(answer, with_usage):
            data = b"data: " + json.dumps(event).encode() + b"\n\n"
            self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))
        self.wfile.write(b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n")


_HEAD = {"id": "chatcmpl-1", "created": 1, "model": "test-model"}


def _finish(answer: Answer) -> str:
    return answer.finish or ("tool_calls" if tuple(answer.tool_calls) else "stop")


def _usage(answer: Answer) -> dict[str, Any]:
    if answer.usage is None:
        return {}
    given, made = answer.usage
    usage: dict[str, Any] = {
        "prompt_tokens": given,
        "completion_tokens": made,
        "total_tokens": given + made,
    }
    if answer.cached is not None:
        usage["prompt_tokens_details"] = {"cached_tokens": answer.cached}
    return {"usage": usage}


def _calls(answer: Answer) -> list[dict[str, Any]]:
    return [
        {
            "id": f"call_{index}",
            "type": "function",
            "function": {
                "name": name,
                "arguments": given if isinstance(given, str) else json.dumps(given),
            },
        }
        for index, (name, given) in enumerate(answer.tool_calls)
    ]


def _document(answer: Answer) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": answer.text}
    if answer.reasoning is not None:
        message["reasoning_content"] = answer.reasoning
    if answer.refusal is not None:
        message["refusal"] = answer.refusal
    if calls := _calls(answer):
        message["tool_calls"] = calls
    choice = {"index": 0, "finish_reason": _finish(answer), "message": message}
    return {**_HEAD, "object": "chat.completion", "choices": [choice], **_usage(answer)}


def _events(answer: Answer, with_usage: bool) -> Iterator[dict[str, Any]]:
    yield _event({"role": "assistant", "content": ""})
    for piece in _pieces(answer.reasoning, answer.piece):
        yield _event({"reasoning_content": piece})
    for piece in _pieces(answer.refusal, answer.piece):
        yield _event({"refusal": piece})
    for piece in _pieces(answer.text, answer.piece):
        yield _event({"content": piece})
    for index, call in enumerate(_calls(answer)):
        function = call["function"]
        opening = {**call, "index": index, "function": {**function, "arguments": ""}}
        yield _event({"tool_calls": [opening]})
        for piece in _pieces(function["arguments"], answer.piece):
            yield _event({"tool_calls": [{"index": index, "function": {"arguments": piece}}]})
    yield _event({}, _finish(answer))
    if with_usage and answer.usage is not None:
        yield {**_HEAD, "object": "chat.completion.chunk", "choices": [], **_usage(answer)}


def _event(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return {**_HEAD, "object": "chat.completion.chunk", "choices": [choice]}


def _pieces(text: str | None, size: int) -> Iterator[str]:
    for start in range(0, len(text or ""), size):
        yield (text or "")[start : start + size]
