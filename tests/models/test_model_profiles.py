"""Profiles by name, price texts, and what importing the models may load."""

from __future__ import annotations

import subprocess
import sys

import pytest

from planloop.messages import Profile
from planloop.models.prices import price_text
from planloop.models.profiles import profile_for


@pytest.mark.parametrize(
    ("name", "context_tokens", "plans_in"),
    [
        ("gpt-4o-mini", 128_000, "python"),
        ("openai/gpt-5.4-mini", 400_000, "python"),
        ("gpt-oss-120b", 128_000, "python"),
        ("o3-mini", 128_000, "python"),
        ("anthropic/claude-sonnet-5", 200_000, "python"),
        ("gemini-3.6-flash", 1_000_000, "python"),
        ("meta-llama/Llama-3.3-70B-Instruct-Turbo", 128_000, "python"),
        ("Qwen/Qwen3-32B", 32_000, "python"),
        ("Salesforce/xLAM-7b-fc-r", 8_000, "native"),
        ("SmolLM2-135M-Instruct", 2_048, "python"),
        ("my-own-model", 32_000, "python"),
    ],
)
def test_a_family_is_known_by_its_name(name: str, context_tokens: int, plans_in: str) -> None:
    profile = profile_for(name)
    assert (profile.context_tokens, profile.plans_in) == (context_tokens, plans_in)
    assert 0 < profile.max_output_tokens < profile.context_tokens
    assert not profile.price_known


@pytest.mark.parametrize(
    ("given", "made", "text"),
    [
        (0.15, 0.6, "$0.15 in, $0.60 out per million tokens"),
        (3.0, 15.0, "$3.00 in, $15.00 out per million tokens"),
        (0.0375, 0.15, "$0.0375 in, $0.15 out per million tokens"),
        (0.0, 0.0, "free"),
        (None, 1.0, "unknown"),
        (1.0, None, "unknown"),
    ],
)
def test_a_price_is_said_in_words(given: float | None, made: float | None, text: str) -> None:
    profile = Profile(input_usd_per_million=given, output_usd_per_million=made)
    assert price_text(profile) == text


def test_importing_the_models_loads_nothing_heavy() -> None:
    heavy = ("httpx", "tenacity", "genai_prices", "pydantic", "rich", "yaml", "jinja2", "docker")
    code = f"import sys, planloop.models; print([m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
