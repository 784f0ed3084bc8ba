"""Counts tokens: asks a server on this machine, or gives the bound."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from planloop.messages import Model, token_bound

_DEADLINE_S = 2.0
BOUND = "bytes are the bound: no server counts them"


@dataclasses.dataclass(frozen=True)
class Counter:
    """A way to count the tokens of a text, and what to say of it."""

    count: Callable[[str], int]
    how: str
    is_bound: bool = False
    """What it says is never too small, and mostly too large."""

    def shown(self, *texts: str) -> str:
        """The tokens of these texts, in words."""
        total = sum(self.count(text) for text in texts if text)
        return f"at most {total} tokens" if self.is_bound and total else f"{total} tokens"


def counter_for(model: Model) -> Counter:
    """The server's own count if it is local and has `/tokenize`, else the bound.

    A text goes to no other machine: what would be sent is shown, not sent.
    """
    from planloop.models.address import is_loopback

    base_url = getattr(model, "base_url", None)
    if not isinstance(base_url, str) or not is_loopback(base_url):
        return Counter(token_bound, BOUND, is_bound=True)
    parts = urlsplit(base_url)
    address = f"{parts.scheme}://{parts.netloc}/tokenize"
    name = model.name
    if _ask(address, name, "one") is None:
        return Counter(token_bound, BOUND, is_bound=True)
    return Counter(
        lambda text: (
            found if (found := _ask(address, name, text)) is not None else token_bound(text)
        ),
        f"counted by {address}",
    )


def _ask(address: str, model: str, text: str) -> int | None:
    """A count: vLLM takes `prompt` and gives `count`; llama.cpp takes `content`, gives `tokens`."""
    import httpx

    body = {"model": model, "prompt": text, "content": text}
    try:
        answer = httpx.post(address, json=body, timeout=_DEADLINE_S, trust_env=False)
        found: Any = answer.json() if answer.status_code == 200 else None
    except (httpx.HTTPError, ValueError):
        return None
    if not isinstance(found, dict):
        return None
    count, tokens = found.get("count"), found.get("tokens")
    if isinstance(count, int) and not isinstance(count, bool):
        return count
    return len(tokens) if isinstance(tokens, list) else None
