"""The floor: a tool loop of about 40 lines on httpx alone."""

from __future__ import annotations

import inspect
import json

import httpx
from measured import add, main, wait_async, wait_blocking

TOOLS = {tool.__name__: tool for tool in (add, wait_async, wait_blocking)}
NUMBER = {"type": "integer"}
DECLARED = [
    {
        "type": "function",
        "function": {
            "name": name,
            "description": inspect.getdoc(tool),
            "parameters": {"type": "object", "properties": {"a": NUMBER, "b": NUMBER}},
        },
    }
    for name, tool in TOOLS.items()
]


async def ask(url: str) -> str:
    """Ask, call, tell, until the model answers in prose."""
    messages = [{"role": "user", "content": "Add up the numbers."}]
    async with httpx.AsyncClient(timeout=30, trust_env=False, verify=False) as client:
        while True:
            body = {"model": "scripted", "messages": messages, "tools": DECLARED}
            response = await client.post(f"{url}/chat/completions", json=body)
            message = response.raise_for_status().json()["choices"][0]["message"]
            messages.append(message)
            if not message.get("tool_calls"):
                return str(message["content"])
            for call in message["tool_calls"]:
                function = call["function"]
                result = TOOLS[function["name"]](**json.loads(function["arguments"]))
                if inspect.isawaitable(result):
                    result = await result
                messages.append(
                    {"role": "tool", "tool_call_id": call["id"], "content": json.dumps(result)}
                )


if __name__ == "__main__":
    main(lambda url: lambda: ask(url))
