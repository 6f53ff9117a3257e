"""Prices of known models, from the list that the package `genai-prices` brings.

The list is read as it was installed and never fetched.  To load it takes longer than to compile a
recipe, so what was looked up is kept in the user's cache folder for as long as it holds.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

from pydantic import ValidationError

from synth.base.cache import load, store
from synth.runtime.engines.base import EngineSpec
from synth.runtime.money.prices import Price, Priced

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, ModelPrice

PACKAGE = "genai-prices"
_FOLDER = "prices"
_ADDRESS = {"openai": "OPENAI_BASE_URL"}
_PROVIDERS = {"openai": "openai", "gemini": "google"}
# Our names of rates and the list's.
_RATES = {
    "input": "input_mtok",
    "output": "output_mtok",
    "cached_input": "cache_read_mtok",
    "reasoning": "output_reasoning_mtok",
}


def known_price(spec: EngineSpec) -> Priced | None:
    """What the list says of a hosted model, or None: it does not know it, or is not installed.

    An address that the list knows decides whose price it is; behind any other, such as a gateway on
    this machine, the model's id does.
    """
    provider = _PROVIDERS.get(spec.backend)
    if provider is None or not spec.id:
        return None
    address = None
    if spec.backend in _ADDRESS:
        address = spec.options.get("base_url") or os.environ.get(_ADDRESS[spec.backend])
    return _known(provider, spec.id, _without_port(str(address)) if address else None)


def _without_port(address: str) -> str:
    """What the list looks at.  A server on this machine has another port each time, and must not be
    looked up anew for that."""
    try:
        parts = urlsplit(address)
        host = parts.hostname or ""
    except ValueError:
        return address
    return urlunsplit((parts.scheme, f"[{host}]" if ":" in host else host, parts.path, "", ""))


def has_list() -> bool:
    """Whether the list is installed."""
    try:
        version(PACKAGE)
    except PackageNotFoundError:
        return False
    return True


@cache
def _known(provider: str, id_: str, address: str | None) -> Priced | None:
    try:
        edition = version(PACKAGE)
    except PackageNotFoundError:
        return None
    name, key = f"{PACKAGE}-{edition}", repr((provider, id_, address))
    stored = load(_FOLDER, name) or {}
    today = datetime.now(UTC).date().isoformat()
    kept = stored.get(key)
    if kept is not None and _usable(kept, today):
        entry = kept
    else:
        entry = _find(provider, id_, address)
        others = {other: older for other, older in stored.items() if _usable(older, today)}
        store(_FOLDER, name, {**others, key: entry})
    _, called, price = entry
    try:
        return None if price is None else Priced(Price(**price), f"{PACKAGE} {edition} ({called})")
    except ValidationError:
        return None


def _usable(entry: Any, today: str) -> bool:
    """Whether something kept is (the day from which it no longer holds, whose it is, its price)."""
    return isinstance(entry, tuple) and len(entry) == 3 and (entry[0] is None or today < entry[0])


def _find(provider: str, id_: str, address: str | None) -> tuple[str | None, str, dict[str, Any] | None]:
    from genai_prices.data_snapshot import get_snapshot

    snapshot = get_snapshot()
    try:
        if address is None:
            owner, model = snapshot.find_provider_model(id_, None, provider, None)
        else:
            try:
                at = snapshot.find_provider(None, None, address)
            except LookupError:
                owner, model = snapshot.find_provider_model(id_, None, None, None)
            else:
                owner, model = snapshot.find_provider_model(id_, at, None, None)
    except LookupError:
        return None, "", None
    now = datetime.now(UTC)
    return _until(model, now), f"{owner.id} {model.id}", _price(_dearest(model, now))


def _dearest(model: ModelInfo, now: datetime) -> ModelPrice:
    """The price of today; of prices that change with the hour the highest, for a bound to hold."""
    from genai_prices.types import ModelPrice, TimeOfDateConstraint

    if isinstance(model.prices, ModelPrice):
        return model.prices
    hourly = [price for price in model.prices if isinstance(price.constraint, TimeOfDateConstraint)]
    lasting = [price for price in model.prices if price not in hourly]
    begun = [price for price in lasting if price.constraint is None or price.constraint.active(now)]
    pool = [*(begun or lasting)[-1:], *hourly]
    return max((price.prices for price in pool), key=_height)


def _height(price: ModelPrice) -> tuple[float, float]:
    rates = _price(price) or {}
    return float(rates.get("output", 0)), float(rates.get("input", 0))


def _until(model: ModelInfo, now: datetime) -> str | None:
    """The day from which another price holds."""
    from genai_prices.types import ModelPrice, StartDateConstraint

    if isinstance(model.prices, ModelPrice):
        return None
    starts = [
        price.constraint.start_date.isoformat()
        for price in model.prices
        if isinstance(price.constraint, StartDateConstraint)
    ]
    return min((start for start in starts if start > now.date().isoformat()), default=None)


def _price(model: ModelPrice) -> dict[str, Any] | None:
    """A price of the list as ours; None where it has none for tokens."""
    from genai_prices.types import TieredPrices

    listed: Mapping[str, Any] = {ours: getattr(model, theirs) for ours, theirs in _RATES.items()}
    if listed["input"] is None:
        return None
    starts = sorted(
        {tier.start for rate in listed.values() if isinstance(rate, TieredPrices) for tier in rate.tiers}
    )
    price = _rates(listed, 0)
    requests = model.requests_kcount
    if requests is not None and not isinstance(requests, TieredPrices):
        price["call"] = float(requests) / 1000
    price["tiers"] = tuple({"over": start, **_rates(listed, start + 1)} for start in starts)
    return price


def _rates(listed: Mapping[str, Any], prompt_tokens: int) -> dict[str, Any]:
    """The rates of a call with a prompt of so many tokens; embedders have none for output."""
    rates = {name: _rate(rate, prompt_tokens) for name, rate in listed.items() if rate is not None}
    return {"output": rates["input"], **rates}


def _rate(rate: Any, prompt_tokens: int) -> float:
    tiers: Sequence[Any] = getattr(rate, "tiers", ())
    reached = [tier.price for tier in tiers if prompt_tokens > tier.start]
    return float(reached[-1] if reached else getattr(rate, "base", rate))
