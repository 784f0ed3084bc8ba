"""What models cost, from a list that comes with planloop's dependencies and from the user's own."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from planloop.errors import UserError
from planloop.messages import Profile

_TYPICAL_TOKENS = 10_000
"""The price of a request of this size is taken: some lists have steps."""


@dataclasses.dataclass(frozen=True)
class Price:
    """US dollars per million tokens."""

    input_usd: float
    output_usd: float


FREE = Price(0.0, 0.0)


def listed_price(model: str, provider: str) -> Price | None:
    """The price of a provider's model; None if the list does not know it. Asks no server.

    Args:
        model: its name at the provider.
        provider: what the list calls the provider.
    """
    from genai_prices import Usage, calc_price

    try:
        given = calc_price(Usage(input_tokens=_TYPICAL_TOKENS), model, provider_id=provider)
        made = calc_price(Usage(output_tokens=_TYPICAL_TOKENS), model, provider_id=provider)
    except LookupError:
        return None
    scale = 1_000_000 / _TYPICAL_TOKENS
    return Price(float(given.total_price) * scale, float(made.total_price) * scale)


def own_price(table: object, *names: str) -> Price | None:
    """The user's price for the first of `names` that their table has.

    Args:
        table: `prices` of the user's configuration: name to `{input: 0.15, output: 0.6}`, US
            dollars per million tokens.
        names: of one model, the most exact first.

    Raises:
        UserError: the entry is not of this form.
    """
    if table is None:
        return None
    if not isinstance(table, Mapping):
        raise UserError("`prices` is no table of model names", hint=_FORM)
    entry = next((table[name] for name in names if name in table), None)
    if entry is None:
        return None
    if not isinstance(entry, Mapping) or set(entry) != {"input", "output"}:
        raise UserError(f"`prices` of `{names[0]}` needs `input` and `output`", hint=_FORM)
    return Price(_amount(entry["input"], names[0]), _amount(entry["output"], names[0]))


def with_price(profile: Profile, price: Price | None) -> Profile:
    """`profile` at that price; as it is where none is known."""
    if price is None:
        return profile
    return dataclasses.replace(
        profile,
        input_usd_per_million=price.input_usd,
        output_usd_per_million=price.output_usd,
    )


def price_text(profile: Profile, free: str = "free") -> str:
    """The price in words: `$0.15 in, $0.60 out per million tokens`, `free`, `unknown`.

    Args:
        profile: of the model.
        free: what to say of a price of 0.
    """
    given, made = profile.input_usd_per_million, profile.output_usd_per_million
    if given is None or made is None:
        return "unknown"
    if not given and not made:
        return free
    return f"{_dollars(given)} in, {_dollars(made)} out per million tokens"


_FORM = 'write `[prices."provider:model"]` with `input = 0.15` and `output = 0.60`'


def _amount(number: Any, name: str) -> float:
    valid = isinstance(number, int | float) and not isinstance(number, bool)
    if not valid or not 0 <= number < 1e6:
        raise UserError(
            f"a price of `{name}` is {number!r}; expected US dollars per million tokens", hint=_FORM
        )
    return float(number)


def _dollars(amount: float) -> str:
    return f"${amount:.2f}" if round(amount, 2) == round(amount, 6) else f"${amount:.6g}"
