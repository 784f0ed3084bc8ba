"""A key that shows itself nowhere."""

from __future__ import annotations

import dataclasses
import re

from planloop.errors import UserError
from planloop.messages import Reply
from planloop.text import one_line

MASK = "***"
_KEY_LIKE = re.compile(r"\b(?:sk|pk|rk|gsk|xai|hf|key|AIza)[-_]?[A-Za-z0-9_*.-]{8,}")
_PIECES = (re.compile(r"""[^\s"'`<>()]{6,}"""), re.compile(r"[A-Za-z0-9_-]{6,}"))
_LEAST_SECRET = 12
"""Shorter ones are the dummies of local servers, and may well be words of a reply."""


class Secret:
    """Wraps a key, so that no repr, traceback or dump of the model's fields holds it.

    Args:
        value: the key; white space around it is dropped.
        source: what the user calls it, such as a variable's name.

    Raises:
        UserError: it cannot be a key; its text is not shown.
    """

    def __init__(self, value: str, source: str = "the key") -> None:
        value = value.strip()
        if not value or not value.isascii() or not value.isprintable() or " " in value:
            raise UserError(
                f"{source} is empty or holds characters that no key has",
                hint="copy the key again, on one line and without quotes",
            )
        self._value = value

    def __repr__(self) -> str:
        return MASK

    def reveal(self) -> str:
        """The key, for a header and nothing else."""
        return self._value

    def masked_in(self, text: str) -> str:
        """`text` of a reply without the key, in case a server echoes it."""
        if len(self._value) < _LEAST_SECRET or self._value not in text:
            return text
        return text.replace(self._value, MASK)

    def echoed_in(self, reply: Reply) -> bool:
        """Whether a server has put the key into its reply."""
        texts = [reply.text, reply.reasoning or ""]
        texts += [text for call in reply.tool_calls for text in dataclasses.astuple(call)]
        return any(self._value in text for text in texts)

    def holds(self, word: str) -> bool:
        """Whether `word` is the key or a piece of it."""
        return word in self._value


def shown(text: str, secret: Secret | None, width: int = 300) -> str:
    """What a server said, for an error: one line, sanitised, without anything like a key."""
    text = text[: width * 8]
    if secret is not None:
        text = text.replace(secret.reveal(), MASK)
        for pattern in _PIECES:
            text = pattern.sub(lambda it: MASK if secret.holds(it.group()) else it.group(), text)
    return one_line(_KEY_LIKE.sub(MASK, text), width)
