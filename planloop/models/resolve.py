"""From what names a model to the model: the one place that knows the names."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from planloop.errors import UserError
from planloop.messages import Model
from planloop.models.address import checked_base_url, is_loopback
from planloop.models.function import FunctionModel
from planloop.models.keys import OWN_BASE_URL, OWN_KEY, environment_base_url, key_for
from planloop.models.local_servers import Listed, listed_models
from planloop.models.openai_chat import OpenAIChat
from planloop.models.openai_wire import Quirks
from planloop.models.prices import FREE, Price, listed_price, own_price, price_text, with_price
from planloop.models.profiles import profile_for
from planloop.models.providers import HOSTED, LOCAL, PROVIDERS, Provider
from planloop.models.replay import ReplayModel
from planloop.task import ModelSpec

Named: TypeAlias = ModelSpec | str | Model | Callable[..., Any] | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Resolved:
    """A model, and what a run says of it before it starts."""

    model: Model
    name: str
    """As the user could name it, such as `openai:gpt-5.4-mini`."""
    price: str
    """In words; `unknown` where it is not known."""
    why: str
    """What led to this model."""


@dataclasses.dataclass(frozen=True)
class _World:
    """What names are looked up in."""

    environ: Mapping[str, str]
    user_config: Mapping[str, Any]
    base: Path
    strict_replay: bool
    local_servers: tuple[Provider, ...]


def resolve_model(
    spec: Named,
    *,
    environ: Mapping[str, str],
    user_config: Mapping[str, Any] | None = None,
    base: Path | None = None,
    strict_replay: bool = False,
    local_servers: tuple[Provider, ...] = LOCAL,
) -> Resolved:
    """Find the model that is meant.

    Args:
        spec: `provider:model`, `replay:FILE`, a name at a base URL, a callable, or a model;
            None to take what is there: a provider whose key is in the environment, or a server
            that listens on a well-known port of this machine.
        environ: the user's environment.
        user_config: the user's own configuration; `api_key`, `base_url` and `prices` count here.
        base: the folder that replay files are relative to.
        strict_replay: whether a replay that differs is an error.
        local_servers: where to look for one that listens.

    Raises:
        UserError: nothing is meant by the name, its key is missing, or nothing was found.
    """
    config = user_config or {}
    world = _World(environ, config, base or Path.cwd(), strict_replay, local_servers)
    if spec is None:
        return _found(world)
    if isinstance(spec, str):
        return _named(ModelSpec(name=spec), world)
    if isinstance(spec, ModelSpec):
        return _named(spec, world)
    if isinstance(spec, Model):
        price = price_text(spec.profile)
        return Resolved(model=spec, name=spec.name, price=price, why="given by the app")
    if callable(spec):
        model = FunctionModel(spec, name=getattr(spec, "__name__", "function"))
        price = price_text(model.profile)
        return Resolved(model=model, name=model.name, price=price, why="given by the app")
    raise UserError(
        f"`model` is {type(spec).__name__}; expected a name, a callable or a model object",
        hint="write `provider:model`, such as `openai:gpt-5.4-mini`",
    )


def _named(spec: ModelSpec, world: _World) -> Resolved:
    name = spec.name.strip()
    prefix, colon, rest = name.partition(":")
    if prefix == "replay" and colon:
        return _replay(rest.strip(), world)
    if not name:
        raise UserError("`model` is empty", hint=_names_hint())
    if spec.base_url is not None:
        return _at(name, checked_base_url(spec.base_url), world, "named with its base URL")
    if prefix == "local":
        return _local(rest.strip(), world)
    if colon and prefix in PROVIDERS:
        return _of_provider(PROVIDERS[prefix], rest.strip(), world, "named")
    if address := world.environ.get(OWN_BASE_URL):
        checked = checked_base_url(address, f"`{OWN_BASE_URL}`")
        return _at(name, checked, world, f"named, at `{OWN_BASE_URL}`")
    raise _unknown(name)


def _replay(file: str, world: _World) -> Resolved:
    if not file:
        raise UserError("`replay:` names no file", hint="write `replay:FILE`")
    model = ReplayModel.load(world.base / file, strict=world.strict_replay)
    price = price_text(model.profile, "free (replay)")
    return Resolved(model=model, name=f"replay:{file}", price=price, why="named")


def _of_provider(provider: Provider, model: str, world: _World, why: str) -> Resolved:
    if not model:
        example = provider.default_model or "MODEL"
        raise UserError(
            f"`{provider.name}:` names no model", hint=f"write `{provider.name}:{example}`"
        )
    address = environment_base_url(provider, world.environ)
    checked = checked_base_url(address or provider.base_url, f"`{provider.name}`'s base URL")
    if not provider.is_local and key_for(checked, world.environ, world.user_config) is None:
        raise UserError(
            f"`{provider.name}:{model}` needs a key, and `{provider.key_variable}` is not set",
            hint=f"set `{provider.key_variable}`, or take a local server: "
            + ", ".join(f"`{one.name}:MODEL`" for one in LOCAL),
        )
    listed = Listed(model)
    return _chat(listed, checked, world, f"{provider.name}:{model}", why, provider)


def _at(name: str, base_url: str, world: _World, why: str) -> Resolved:
    prefix, colon, rest = name.partition(":")
    provider = PROVIDERS.get(prefix) if colon and rest else None
    return _chat(Listed(rest if provider else name), base_url, world, name, why, provider)


def _chat(
    listed: Listed, base_url: str, world: _World, name: str, why: str, provider: Provider | None
) -> Resolved:
    key, variable = key_for(base_url, world.environ, world.user_config) or (None, OWN_KEY)
    if key is None and provider is not None and provider.base_url == base_url:
        variable = provider.key_variable or OWN_KEY
    is_local = is_loopback(base_url) or (provider is not None and provider.is_local)
    price = _price(listed.name, name, base_url, world, provider, is_local)
    profile = with_price(profile_for(listed.name, listed.context_tokens), price)
    model = OpenAIChat(
        listed.name,
        base_url,
        key,
        profile,
        key_variable=variable,
        quirks=Quirks(limit_field=provider.limit_field if provider else "max_tokens"),
    )
    free = "free (local server)" if is_local else "free"
    return Resolved(model=model, name=name, price=price_text(profile, free), why=why)


def _price(
    model: str,
    name: str,
    base_url: str,
    world: _World,
    provider: Provider | None,
    is_local: bool,
) -> Price | None:
    own = own_price(world.user_config.get("prices"), name, model)
    if own is not None or is_local:
        return own or FREE
    if provider is None or provider.prices is None or base_url != provider.base_url:
        return None
    return listed_price(model, provider.prices)


def _found(world: _World) -> Resolved:
    if address := world.environ.get(OWN_BASE_URL):
        return _first_of(checked_base_url(address, f"`{OWN_BASE_URL}`"), world)
    for provider in HOSTED:
        if world.environ.get(provider.key_variable or ""):
            why = f"`{provider.key_variable}` is set"
            return _of_provider(provider, provider.default_model or "", world, why)
    if found := _listening(world):
        return found
    keys = ", ".join(f"`{one.key_variable}`" for one in HOSTED)
    raise UserError(
        "no model is named, no provider's key is set, and no local model server answers",
        hint=f"name one (`--model provider:model`, or `model:` in the task), set a key ({keys}), "
        f"or start a local server ({_ports()}); a replay works without any: "
        "`--model replay:FILE`",
    )


def _local(model: str, world: _World) -> Resolved:
    found = _listening(world, model or None)
    if found is None:
        what = f"lists `{model}`" if model else "answers"
        raise UserError(f"no local model server {what}", hint=f"start one: {_ports()}")
    return found


def _listening(world: _World, model: str | None = None) -> Resolved | None:
    """The first model of a local server, or the one of that name."""
    for provider in world.local_servers:
        for one in listed_models(provider.base_url):
            if model in (None, one.name):
                why = f"a server listens at {provider.base_url}"
                name = f"{provider.name}:{one.name}"
                return _chat(one, provider.base_url, world, name, why, provider)
    return None


def _ports() -> str:
    return ", ".join(f"{one.name} on {urlsplit(one.base_url).port}" for one in LOCAL)


def _first_of(base_url: str, world: _World) -> Resolved:
    models = listed_models(base_url) if base_url.startswith("http://") else ()
    if not models:
        raise UserError(
            f"`{OWN_BASE_URL}` is set, and no model is named or listed there",
            hint="set `PLANLOOP_MODEL` to the model's name at that server",
        )
    why = f"`{OWN_BASE_URL}` lists it first"
    return _chat(models[0], base_url, world, models[0].name, why, None)


def _unknown(name: str) -> UserError:
    prefix, colon, _ = name.partition(":")
    known = [*PROVIDERS, "local", "replay"]
    near = difflib.get_close_matches(prefix.lower(), known, n=1)
    if colon:
        what = f"`{name}` names no known provider"
        did = f"did you mean `{near[0]}:`? " if near else ""
        return UserError(what, hint=f"{did}{_names_hint()}")
    return UserError(f"`{name}` names a model and no provider", hint=_names_hint(name))


def _names_hint(model: str = "MODEL") -> str:
    names = ", ".join(PROVIDERS)
    named = f"write `provider:{model}` with one of {names}, local"
    return f"{named}; `replay:FILE`; or a model with a `base_url`"
