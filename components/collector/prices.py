"""The price table: dollars per million tokens for the models of the settings, from the maintained package genai-prices.

A row is found by the model's name as the span says it, or by the name without its date and version. It holds the
label of the model, one rate per kind of token and, where a provider charges more for long prompts, the threshold and
the rates above it. A model that the package does not know is known by its label and has no rates: its spans are
counted as `unpriced`, never as free.

Two things the package knows are simplified, both upwards: where the price depends on the time of day the highest of
the day counts, and cache writes are charged at the 5-minute rate unless `telemetry.prices` says otherwise.
"""

import datetime as dt
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal

from genai_prices import data_snapshot, types

from components.settings.telemetry import ModelPrice, TelemetrySettings

_DATED = re.compile(r"[-@](20\d{2}-?[01]\d-?[0-3]\d|\d{4})$")
_VERSIONED = re.compile(r"-v\d+(:\d+)?$")
_VENDOR = re.compile(r"^((us|eu|apac|global|regional)\.)?(anthropic|amazon|meta|cohere|mistral|openai)\.")


@dataclass(frozen=True)
class Rates:
    """US dollars per million tokens, by kind; ``write`` and ``cached`` are ``input`` where nothing else is known."""

    input: float
    cached: float
    write: float
    output: float


@dataclass(frozen=True)
class Row:
    """One name of a model. Without ``rates`` no price is known; ``above`` holds beyond ``threshold`` input tokens."""

    label: str
    rates: Rates | None = None
    threshold: int = 0
    above: Rates | None = None


def plain_name(name: str) -> str:
    """A model's name without path, vendor prefix, version and date: what :data:`normalise.STATEMENTS` does in OTTL."""
    text = name.lower().rpartition("/")[2]
    text = _VENDOR.sub("", text)
    text = _VERSIONED.sub("", text)
    return _DATED.sub("", text)


def _providers() -> dict[str, types.Provider]:
    return {provider.id: provider for provider in data_snapshot.get_snapshot().providers}


def _find(providers: Mapping[str, types.Provider], model: str) -> tuple[types.Provider, types.ModelInfo] | None:
    prefix, _, name = model.rpartition(":") if model.partition(":")[0] in providers else ("", "", model)
    for provider in [providers[prefix]] if prefix else providers.values():
        found = provider.find_model(name, all_providers=list(providers.values()))
        if found is not None:
            return provider, found
    return None


def label_of(model: str) -> str:
    """The label of a model of the settings: its name without the provider."""
    prefix, separator, name = model.partition(":")
    return name if separator and prefix in _providers() else model


def _at_most(prices: object, moment: dt.datetime) -> types.ModelPrice | None:
    """The price in force at ``moment``; where it depends on the time of day, the dearest of the day."""
    if isinstance(prices, types.ModelPrice):
        return prices
    current: list[types.ModelPrice] = []
    if isinstance(prices, list):
        for candidate in prices:
            constraint = candidate.constraint
            if constraint is None or isinstance(constraint, types.StartDateConstraint):
                if constraint is None or constraint.start_date <= moment.date():
                    current = [candidate.prices]
            else:
                current.append(candidate.prices)
    return max(current, key=lambda price: _rate(price.output_mtok, 0) + _rate(price.input_mtok, 0), default=None)


def _rate(price: Decimal | types.TieredPrices | None, tokens: int, default: float = 0.0) -> float:
    """The rate that holds for a request of ``tokens`` input tokens."""
    if price is None:
        return default
    if isinstance(price, types.TieredPrices):
        reached = [tier for tier in price.tiers if tokens > tier.start]
        return float(max(reached, key=lambda tier: tier.start).price if reached else price.base)
    return float(price)


def _rates(price: types.ModelPrice, tokens: int) -> Rates:
    base = _rate(price.input_mtok, tokens)
    return Rates(
        input=base,
        cached=_rate(price.cache_read_mtok, tokens, base),
        write=_rate(price.cache_write_mtok, tokens, base),
        output=_rate(price.output_mtok, tokens),
    )


def _row(label: str, price: types.ModelPrice | None) -> Row:
    if price is None or price.input_mtok is None:
        return Row(label)
    parts = (price.input_mtok, price.output_mtok, price.cache_read_mtok, price.cache_write_mtok)
    starts = {tier.start for part in parts if isinstance(part, types.TieredPrices) for tier in part.tiers}
    if not starts:
        return Row(label, _rates(price, 0))
    # The package has at most one step today; were there more, the first step's rates would be the lower bound.
    first = min(starts)
    return Row(label, _rates(price, 0), threshold=first, above=_rates(price, max(starts) + 1))


def _own(label: str, price: ModelPrice) -> Row:
    return Row(
        label,
        Rates(
            input=price.input,
            cached=price.input if price.cache_read is None else price.cache_read,
            write=price.input if price.cache_write is None else price.cache_write,
            output=price.output,
        ),
    )


def _names(match: types.MatchLogic | None) -> Iterator[str]:
    """The exact names in a match rule."""
    if isinstance(match, types.ClauseEquals):
        yield match.equals
    elif isinstance(match, types.ClauseOr):
        for part in match.or_:
            yield from _names(part)


def price_table(telemetry: TelemetrySettings, moment: dt.datetime | None = None) -> dict[str, Row]:
    """Name -> row, for every name under which a model of the settings is known.

    Args:
        moment: when the prices must hold (now, if not given).
    """
    moment = moment or dt.datetime.now(dt.UTC)
    providers = _providers()
    table: dict[str, Row] = {}
    own = {label_of(name): price for name, price in telemetry.prices.items()}
    for model in dict.fromkeys([*telemetry.models, *telemetry.extra_models, *telemetry.prices]):
        label = label_of(model)
        if label in own:
            table[label] = table[plain_name(label)] = _own(label, own[label])
            continue
        found = _find(providers, model)
        if found is None:
            table[label] = table[plain_name(label)] = Row(label)
            continue
        provider, info = found
        row = _row(label, _at_most(info.prices, moment))
        for name in (label, plain_name(label), *_names(info.match)):
            table.setdefault(name.lower().rpartition("/")[2], row)
        _add_dated(table, provider, info, row, moment)
    return table


def _add_dated(
    table: dict[str, Row], provider: types.Provider, info: types.ModelInfo, row: Row, moment: dt.datetime
) -> None:
    """Dated releases that lose their date to the same name but have a price of their own keep that price."""
    for other in provider.models:
        if other is info or plain_name(other.id) != plain_name(row.label):
            continue
        for name in (other.id, *_names(other.match)):
            table.setdefault(name.lower().rpartition("/")[2], _row(row.label, _at_most(other.prices, moment)))


def ottl_map(table: Mapping[str, Row]) -> dict[str, dict[str, object]]:
    """The table as the map that OTTL reads: name -> {"m": label, rates...}; numbers are all floats or all integers."""
    found: dict[str, dict[str, object]] = {}
    for name, row in sorted(table.items()):
        entry: dict[str, object] = {"m": row.label}
        if row.rates is not None:
            entry |= _fields(row.rates, "")
        if row.above is not None:
            entry |= {"t": row.threshold, **_fields(row.above, "2")}
        found[name] = entry
    return found


def _fields(rates: Rates, suffix: str) -> dict[str, object]:
    return {
        f"i{suffix}": float(rates.input),
        f"c{suffix}": float(rates.cached),
        f"w{suffix}": float(rates.write),
        f"o{suffix}": float(rates.output),
    }
