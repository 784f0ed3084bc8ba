"""A scripted model behind the OpenAI chat-completions form, which answers at once.

Runs as a process of its own: prints its port, serves until its standard input closes. What it
says is decided by the address, so that it needs to read no request:

    /RUN/FORM/ROUNDS/WIDTH/TOOL/v1/chat/completions

The first ROUNDS requests of a RUN get WIDTH calls of TOOL each, every later one the answer `ready`.
FORM is `native` (tool calls), `python` (a plan in a fenced block) or `final` (tool calls, and the
answer by a call of `final_answer`).
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from typing import Any, cast

_USAGE = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}


class Connection(asyncio.Protocol):
    """One connection that is kept alive."""

    def __init__(self, asked: Counter[str]) -> None:
        self._asked = asked
        self._read = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Answer every whole request."""
        self._read += data
        while (end := self._read.find(b"\r\n\r\n")) >= 0:
            head = self._read[:end]
            whole = end + 4 + _content_length(head)
            if len(self._read) < whole:
                return
            body, self._read = self._read[end + 4 : whole], self._read[whole:]
            self._transport.write(self._response(head.split(b" ", 2)[1].decode(), body))

    def _response(self, path: str, body: bytes) -> bytes:
        run, form, rounds, width, tool = path.lstrip("/").split("/")[:5]
        self._asked[run] += 1
        message = _message(form, self._asked[run], int(rounds), int(width), tool)
        streams = b'"stream":true' in body or b'"stream": true' in body
        return _stream(message) if streams else _whole(message)


def _content_length(head: bytes) -> int:
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0


def _message(form: str, number: int, rounds: int, width: int, tool: str) -> dict[str, Any]:
    """The reply to a run's request of this number, counted from 1."""
    calls = [(tool, {"a": number, "b": place}) for place in range(width)]
    if number > rounds:
        if form != "final":
            return {"role": "assistant", "content": "ready"}
        calls = [("final_answer", {"answer": "ready"})]
    if form == "python":
        lines = [f"{name}(a={args['a']}, b={args['b']})" for name, args in calls]
        return {"role": "assistant", "content": "```python\n" + "\n".join(lines) + "\n```"}
    return {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {
                "id": f"call_{number}_{place}",
                "type": "function",
                "function": {"name": name, "arguments": json.dumps(args)},
            }
            for place, (name, args) in enumerate(calls)
        ],
    }


def _finish(message: dict[str, Any]) -> str:
    return "tool_calls" if "tool_calls" in message else "stop"


def _envelope(kind: str, choice: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": "chatcmpl-1",
        "object": kind,
        "created": 1,
        "model": "scripted",
        "choices": [{"index": 0, **choice}],
    }


def _whole(message: dict[str, Any]) -> bytes:
    choice = {"message": message, "finish_reason": _finish(message)}
    body = json.dumps({**_envelope("chat.completion", choice), "usage": _USAGE}).encode()
    head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    return (head % len(body)).encode() + body


def _stream(message: dict[str, Any]) -> bytes:
    calls = [{"index": place, **call} for place, call in enumerate(message.get("tool_calls", ()))]
    delta = {**message, "tool_calls": calls} if calls else message
    last = _envelope("chat.completion.chunk", {"delta": {}, "finish_reason": _finish(message)})
    chunks = [
        _envelope("chat.completion.chunk", {"delta": delta, "finish_reason": None}),
        {**last, "usage": _USAGE},
    ]
    events = [f"data: {json.dumps(chunk)}\n\n" for chunk in chunks] + ["data: [DONE]\n\n"]
    pieces = "".join(f"{len(event):x}\r\n{event}\r\n" for event in events)
    head = (
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    return f"{head}{pieces}0\r\n\r\n".encode()


async def main() -> None:
    """Serve until standard input closes."""
    loop = asyncio.get_running_loop()
    asked: Counter[str] = Counter()
    server = await loop.create_server(lambda: Connection(asked), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


if __name__ == "__main__":
    asyncio.run(main())
