"""The scripted model of `shapes.py` on loopback: tokens at the pace of a real one.

Runs as a process of its own: prints its port, serves until its standard input closes. What it
says is decided by the address, so that it needs to read no request:

    /RUN/FORM/SHAPE/v1/chat/completions

FORM is `flow`, `program` or `code` (everything in one reply, then the answer), `native` (the tool
calls of one level a turn, then the answer) or `final` (the answer by a call of `final_answer`).
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter
from typing import Any, cast

import shapes_model as model

_HEAD = b"HTTP/1.1 200 OK\r\n"


class Connection(asyncio.Protocol):
    """One connection that is kept alive; its requests come one after the other."""

    def __init__(self, asked: Counter[str]) -> None:
        self._asked = asked
        self._read = b""
        self._tasks: set[asyncio.Task[None]] = set()

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
            path = head.split(b" ", 2)[1].decode()
            task = asyncio.get_running_loop().create_task(self._answer(path, body))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _answer(self, path: str, body: bytes) -> None:
        asked_at = time.monotonic()
        run, form, shape = path.lstrip("/").split("/")[:3]
        self._asked[run] += 1
        deltas = list(_deltas(form, shape, self._asked[run]))
        finish = "tool_calls" if any("tool_calls" in delta for delta in deltas) else "stop"
        if b'"stream":true' in body or b'"stream": true' in body:
            await self._stream(deltas, finish, asked_at)
        else:
            await _until(asked_at, len(deltas) - 1)
            self._transport.write(_whole(deltas, finish))

    async def _stream(self, deltas: list[dict[str, Any]], finish: str, asked_at: float) -> None:
        kind = b"Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        self._transport.write(_HEAD + kind)
        for number, delta in enumerate(deltas):
            await _until(asked_at, number)
            self._send({"delta": delta, "finish_reason": None})
        self._send({"delta": {}, "finish_reason": finish}, _usage(len(deltas)))
        self._write("data: [DONE]\n\n")
        self._transport.write(b"0\r\n\r\n")

    def _send(self, choice: dict[str, Any], usage: dict[str, int] | None = None) -> None:
        chunk = _envelope("chat.completion.chunk", choice)
        if usage is not None:
            chunk["usage"] = usage
        self._write(f"data: {json.dumps(chunk)}\n\n")

    def _write(self, event: str) -> None:
        self._transport.write(f"{len(event):x}\r\n{event}\r\n".encode())


async def _until(asked_at: float, token: int) -> None:
    """Wait for the moment of a token, counted from 0; late ones make no later one later."""
    due = asked_at + model.FIRST_TOKEN_S + model.TOKEN_S * token
    await asyncio.sleep(max(0.0, due - time.monotonic()))


def _deltas(form: str, shape: str, number: int) -> list[dict[str, Any]]:
    """A reply, token by token."""
    if form in ("flow", "program", "code"):
        text = getattr(model, form)(shape) if number == 1 else model.ANSWER
        return [{"role": "assistant", "content": piece} for piece in model.tokens(text)]
    calls = model.turn(shape, number, form)
    if calls is None:
        return [{"role": "assistant", "content": piece} for piece in model.tokens(model.ANSWER)]
    return _call_deltas(calls, number)


def _call_deltas(calls: list[tuple[str, dict[str, Any]]], turn: int) -> list[dict[str, Any]]:
    """Tool calls, each its name and then its arguments."""
    found: list[dict[str, Any]] = []
    for index, (name, arguments) in enumerate(calls):
        call = {"index": index, "id": f"call_{turn}_{index}", "type": "function"}
        begin = {**call, "function": {"name": name, "arguments": ""}}
        found.append({"role": "assistant", "tool_calls": [begin]})
        found += [
            {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}
            for piece in model.tokens(json.dumps(arguments))
        ]
    return found


def _whole(deltas: list[dict[str, Any]], finish: str) -> bytes:
    message: dict[str, Any] = {"role": "assistant", "content": None}
    text = "".join(delta.get("content", "") for delta in deltas)
    calls: dict[int, dict[str, Any]] = {}
    for piece in (one for delta in deltas for one in delta.get("tool_calls", ())):
        call = calls.setdefault(piece["index"], {**piece, "function": {"arguments": ""}})
        call["function"]["name"] = piece["function"].get("name") or call["function"].get("name")
        call["function"]["arguments"] += piece["function"]["arguments"]
    if calls:
        message["tool_calls"] = [
            {key: value for key, value in call.items() if key != "index"} for call in calls.values()
        ]
    else:
        message["content"] = text
    choice = {"message": message, "finish_reason": finish}
    document = {**_envelope("chat.completion", choice), "usage": _usage(len(deltas))}
    body = json.dumps(document).encode()
    head = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return _HEAD + head.encode() + body


def _usage(tokens: int) -> dict[str, int]:
    return {"prompt_tokens": 100, "completion_tokens": tokens, "total_tokens": 100 + tokens}


def _envelope(kind: str, choice: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": "chatcmpl-1",
        "object": kind,
        "created": 1,
        "model": "scripted",
        "choices": [{"index": 0, **choice}],
    }


def _content_length(head: bytes) -> int:
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0


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
