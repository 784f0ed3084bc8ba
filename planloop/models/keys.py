"""Which key may go where."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from planloop.models.providers import HOSTED, Provider

OWN_KEY = "PLANLOOP_API_KEY"
OWN_BASE_URL = "PLANLOOP_BASE_URL"


def environment_base_url(provider: Provider, environ: Mapping[str, str]) -> str | None:
    """The base URL that the user's environment gives a provider, as `OPENAI_BASE_URL` does."""
    variable = f"{provider.name.upper()}_BASE_URL"
    return None if provider.is_local else environ.get(variable) or None


def key_for(
    base_url: str, environ: Mapping[str, str], user_config: Mapping[str, Any]
) -> tuple[str, str] | None:
    """The key that may be sent to an address, and what the user calls it; None if none may.

    A provider's key goes to the provider's own address, and to the one that the user's
    environment names beside it. `PLANLOOP_API_KEY`, and `api_key` of the user's own
    configuration, go to any other address, unless a base URL beside them names a different one.
    """
    for provider in HOSTED:
        own = (provider.base_url, environment_base_url(provider, environ))
        variable = provider.key_variable or ""
        if any(_same_server(base_url, one) for one in own) and environ.get(variable):
            return environ[variable], variable
    own_key = (
        (environ.get(OWN_KEY), environ.get(OWN_BASE_URL), OWN_KEY),
        (user_config.get("api_key"), user_config.get("base_url"), "api_key"),
    )
    for key, address, name in own_key:
        if isinstance(key, str) and key and (not address or _same_server(base_url, address)):
            return key, name
    return None


def _same_server(base_url: str, other: object) -> bool:
    """Whether scheme, host and port are the same, so that a key meets the same reader."""
    return isinstance(other, str) and bool(other) and _origin(base_url) == _origin(other)


def _origin(address: str) -> tuple[str, str, int | None]:
    try:
        parts = urlsplit(address.strip())
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError:
        return ("", "", None)
    return (parts.scheme, (parts.hostname or "").rstrip("."), port)
