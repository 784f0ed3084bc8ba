"""Where models are served: the one table of providers and local servers."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True, kw_only=True)
class Provider:
    """A server of the OpenAI chat-completions form that a name can stand for."""

    name: str
    base_url: str
    key_variable: str | None = None
    """The environment variable of its key; None for a local server."""
    default_model: str | None = None
    """Taken where only a key was found."""
    prices: str | None = None
    """What the price list calls it."""
    limit_field: str = "max_tokens"

    @property
    def is_local(self) -> bool:
        """Whether it is the user's own server, which costs nothing."""
        return self.key_variable is None


def _hosted(
    name: str, base_url: str, model: str, prices: str, limit_field: str = "max_tokens"
) -> Provider:
    return Provider(
        name=name,
        base_url=base_url,
        key_variable=f"{name.upper()}_API_KEY",
        default_model=model,
        prices=prices,
        limit_field=limit_field,
    )


def _local(name: str, port: int) -> Provider:
    return Provider(name=name, base_url=f"http://127.0.0.1:{port}/v1")


HOSTED = (
    _hosted(
        "openai",
        "https://api.openai.com/v1",
        "gpt-5.4-mini",
        "openai",
        limit_field="max_completion_tokens",
    ),
    _hosted("anthropic", "https://api.anthropic.com/v1", "claude-sonnet-5", "anthropic"),
    _hosted(
        "gemini",
        "https://generativelanguage.googleapis.com/v1beta/openai",
        "gemini-3.6-flash",
        "google",
    ),
    _hosted("openrouter", "https://openrouter.ai/api/v1", "openai/gpt-5.4-mini", "openrouter"),
    _hosted("groq", "https://api.groq.com/openai/v1", "openai/gpt-oss-120b", "groq"),
    _hosted("together", "https://api.together.xyz/v1", "openai/gpt-oss-120b", "together"),
    _hosted("mistral", "https://api.mistral.ai/v1", "mistral-medium-latest", "mistral"),
    _hosted("deepseek", "https://api.deepseek.com/v1", "deepseek-v4-pro", "deepseek"),
    _hosted("xai", "https://api.x.ai/v1", "grok-4.3", "x-ai"),
    _hosted(
        "fireworks",
        "https://api.fireworks.ai/inference/v1",
        "accounts/fireworks/models/gpt-oss-120b",
        "fireworks",
    ),
)
"""In the order in which their keys are looked for."""

LOCAL = (
    _local("ollama", 11434),
    _local("vllm", 8000),
    _local("lmstudio", 1234),
    _local("llamacpp", 8080),
)
"""In the order in which their ports are tried."""

PROVIDERS = {one.name: one for one in (*HOSTED, *LOCAL)}
