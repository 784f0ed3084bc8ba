"""Where packages come from: the user's own settings, shown to setup commands and to nobody else."""

from __future__ import annotations

import configparser
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

_OPTIONS = ("index-url", "extra-index-url", "trusted-host")
"""Of pip; each is also a variable: `PIP_INDEX_URL`."""
_VARIABLES = (
    *("UV_DEFAULT_INDEX", "UV_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL"),
    *("NPM_CONFIG_REGISTRY", "npm_config_registry"),
    *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"),
)
_SECTIONS = ("global", "install")
_MAX_BYTES = 1_000_000


def index_settings(environ: Mapping[str, str]) -> dict[str, str]:
    """Variables that lead installers to the user's package indexes.

    A variable of the user's counts before pip's files, as for pip itself.
    """
    files = dict(_of_pip_files(_pip_files(environ)))
    found = {}
    for option in _OPTIONS:
        variable = f"PIP_{option.upper().replace('-', '_')}"
        value = environ.get(variable) or files.get(option)
        if value:
            found[variable] = value
    if "PIP_INDEX_URL" in found:
        found.setdefault("UV_DEFAULT_INDEX", found["PIP_INDEX_URL"])
    return found | {name: environ[name] for name in _VARIABLES if environ.get(name)}


def _pip_files(environ: Mapping[str, str]) -> tuple[Path, ...]:
    """Files of pip's configuration, the ones that count more later."""
    named = environ.get("PIP_CONFIG_FILE")
    home = Path(environ.get("HOME") or Path.home())
    base = Path(environ.get("XDG_CONFIG_HOME") or home / ".config")
    own = (home / ".pip" / "pip.conf", base / "pip" / "pip.conf")
    system = Path("/etc/pip.conf")
    if named == "/dev/null":
        return ()
    return (system, *own, Path(named)) if named else (system, *own)


def _of_pip_files(paths: Iterable[Path]) -> Iterator[tuple[str, str]]:
    for path in paths:
        parser = configparser.RawConfigParser()
        try:
            if path.is_file() and path.stat().st_size <= _MAX_BYTES:
                parser.read_string(path.read_text("utf-8"))
        except (OSError, ValueError, configparser.Error):
            continue
        for section in _SECTIONS:
            for option in _OPTIONS:
                if parser.has_option(section, option):
                    yield option, " ".join(parser.get(section, option).split())


def secrets_in(settings: Mapping[str, str]) -> tuple[str, ...]:
    """Passwords that stand in addresses among the settings, to be kept out of what is shown."""
    found: set[str] = set()
    for value in settings.values():
        for word in value.split():
            try:
                address = urlsplit(word)
            except ValueError:
                continue
            secret = address.password or address.username  # a token may stand alone
            found |= {secret} if secret else set()
    return tuple(sorted(found, key=len, reverse=True))


def redacted(text: str, secrets: Iterable[str]) -> str:
    """A text without these secrets."""
    for secret in secrets:
        text = text.replace(secret, "****")
    return text
