"""What model families can do. A small table: what it does not know gets careful defaults."""

from __future__ import annotations

import re
from typing import Literal

from planloop.messages import Profile

_PYTHON: Literal["python"] = "python"
_NATIVE: Literal["native"] = "native"

# Tokens of context and of the longest reply, as far as every member of the family has them.
_FAMILIES: tuple[tuple[str, int, int, Literal["python", "native"]], ...] = (
    # Tuned for function calls, at the expense of everything else.
    (r"functionary|xlam|hammer|watt-tool|gorilla", 8_000, 2_048, _NATIVE),
    (r"gpt-oss", 128_000, 16_384, _PYTHON),
    (r"gpt-4\.1|gpt-[56]", 400_000, 32_768, _PYTHON),
    (r"gpt-4o|gpt-4-turbo", 128_000, 16_384, _PYTHON),
    (r"gpt-3\.5|gpt-4", 8_000, 4_096, _PYTHON),
    (r"\bo[134]\b", 128_000, 32_768, _PYTHON),
    (r"claude-[123]\b", 200_000, 4_096, _PYTHON),
    (r"claude", 200_000, 32_000, _PYTHON),
    (r"gemini-(1|flash|pro)", 1_000_000, 8_192, _PYTHON),
    (r"gemini", 1_000_000, 32_768, _PYTHON),
    (r"gemma", 8_000, 4_096, _PYTHON),
    (r"deepseek", 64_000, 8_192, _PYTHON),
    (r"grok", 128_000, 16_384, _PYTHON),
    (r"kimi|glm-[45]|minimax", 128_000, 16_384, _PYTHON),
    (r"llama-?(3\.[123]|4)", 128_000, 8_192, _PYTHON),
    (r"qwen-?[23]", 32_000, 8_192, _PYTHON),
    (r"mistral-(large|medium)|codestral|devstral", 128_000, 8_192, _PYTHON),
    (r"mi[sx]tral|ministral", 32_000, 4_096, _PYTHON),
    (r"smollm|tinyllama", 2_048, 1_024, _PYTHON),
)
"""Patterns anywhere in the lower-case name; the first that is found counts."""


def profile_for(name: str, context_tokens: int | None = None) -> Profile:
    """The profile of a model, by its name; its price is left open.

    Args:
        name: as a provider or a server calls it.
        context_tokens: what the server itself says, which counts more than the table.
    """
    lowered = name.lower()
    known = Profile()
    for pattern, context, reply, plans_in in _FAMILIES:
        if re.search(pattern, lowered):
            known = Profile(plans_in=plans_in, context_tokens=context, max_output_tokens=reply)
            break
    if context_tokens is None:
        return known
    return Profile(
        plans_in=known.plans_in,
        context_tokens=context_tokens,
        max_output_tokens=max(1, min(known.max_output_tokens, context_tokens // 4)),
    )
