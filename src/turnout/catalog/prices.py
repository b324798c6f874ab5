"""What tokens cost: exact integer prices, and the cost of one answer's usage."""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_HALF_EVEN, Decimal, InvalidOperation

from msgspec import Struct, convert

from turnout.chat import Usage
from turnout.errors import ConfigError

__all__ = [
    "NANO_PER_USD",
    "Price",
    "PriceTier",
    "Rates",
    "ServicePrice",
    "cost_nano_usd",
    "factor_from",
    "format_usd",
    "price_from_usd_per_million",
    "rates_for",
    "scaled",
    "unpriced_tier",
]

NANO_PER_USD = 1_000_000_000
"""Money is counted in integer nano-dollars: one token of the cheapest model sold costs several of them."""

PICO_PER_NANO = 1_000
HALF_NANO = PICO_PER_NANO // 2

PICO_PER_USD_PER_MILLION = 1_000_000

MAX_USD_PER_MILLION = 100_000
"""Over a hundred times the dearest list price there is: beyond it somebody mistook the unit."""

MAX_FACTOR = 100
"""No service tier costs a hundred times the standard one: somebody wrote a price for a factor."""

MAX_TOKENS = 1_000_000_000
"""No request has a billion tokens; a provider that reports more has a fault, which must not become a bill."""


class Rates(Struct, frozen=True, kw_only=True):
    """Prices in pico-dollars a token (1 USD per million tokens = 1,000,000 pico-dollars a token).

    None for a cache price: the provider does not price it apart, so it costs as input (a one-hour write as a
    five-minute write).
    """

    input: int
    output: int
    cache_read: int | None = None
    cache_write: int | None = None
    cache_write_1h: int | None = None


class PriceTier(Rates, frozen=True, kw_only=True):
    """Prices from `above_input_tokens` total input tokens on (more than that many), for the whole request."""

    above_input_tokens: int


class ServicePrice(Rates, frozen=True, kw_only=True):
    """Prices of one service tier (`batch`, `flex`, `priority`), with its own `tiers` by input."""

    name: str
    tiers: tuple[PriceTier, ...] = ()


class Price(Rates, frozen=True, kw_only=True):
    """A model's prices at standard service, and at other service tiers where they are known (`service`).

    `tiers` rise in `above_input_tokens`. `source` says where the figures come from and of which version, e.g.
    `genai-prices 0.2.3` or `config`.
    """

    tiers: tuple[PriceTier, ...] = ()
    service: tuple[ServicePrice, ...] = ()
    source: str = "config"

    def at_service(self, tier: str | None) -> Price | ServicePrice | None:
        """The prices of a service tier in `Usage`'s words; None: nobody says what it costs."""
        if tier is None or tier == "standard":
            return self
        return next((s for s in self.service if s.name == tier), None)


def price_from_usd_per_million(
    input: Decimal | str | float,  # noqa: A002 - the config's own words
    output: Decimal | str | float,
    cache_read: Decimal | str | float | None = None,
    cache_write: Decimal | str | float | None = None,
    cache_write_1h: Decimal | str | float | None = None,
    *,
    key: str = "price",
    source: str = "config",
) -> Price:
    """A price as people and price lists write it: USD per million tokens.

    A float is taken as the figure it prints as (TOML's 0.1 is a tenth). `key` is the place in the config, for
    errors. Raises ConfigError naming the key for a negative, absurd or unreadable figure.
    """
    return Price(
        input=_pico(input, f"{key}.input"),
        output=_pico(output, f"{key}.output"),
        cache_read=None if cache_read is None else _pico(cache_read, f"{key}.cache_read"),
        cache_write=None if cache_write is None else _pico(cache_write, f"{key}.cache_write"),
        cache_write_1h=None if cache_write_1h is None else _pico(cache_write_1h, f"{key}.cache_write_1h"),
        source=source,
    )


def _pico(figure: Decimal | str | float, key: str) -> int:
    """USD per million tokens -> pico-dollars a token, exactly."""
    try:
        usd = Decimal(str(figure))
    except InvalidOperation:
        raise ConfigError(f"{key} = {figure!r} is not a number; write USD per million tokens", param=key) from None
    # Comparing first also keeps out NaN, which compares with nothing, and infinity.
    if usd.is_nan() or not 0 <= usd <= MAX_USD_PER_MILLION:
        raise ConfigError(
            f"{key} = {figure} is no price; write USD per million tokens, 0 to {MAX_USD_PER_MILLION:,}",
            param=key,
        )
    pico = usd * PICO_PER_USD_PER_MILLION
    if pico != pico.to_integral_value():
        raise ConfigError(f"{key} = {figure} is finer than 0.000001 USD per million tokens", param=key)
    return int(pico)


def factor_from(figure: Decimal | float, key: str) -> Decimal:
    """A factor over standard prices, as a config or a row writes it. Raises ConfigError naming the key."""
    factor = Decimal(str(figure))
    if factor.is_nan() or not 0 < factor <= MAX_FACTOR:
        raise ConfigError(f"{key} = {figure}: a factor over standard prices, above 0 to {MAX_FACTOR}", param=key)
    return factor


def scaled(price: Price, name: str, factor: Decimal) -> ServicePrice:
    """The service tier `name`, whose every price is `factor` times the standard one. A part of a pico-dollar counts
    as a whole one, so that no product is too low."""

    def times(pico: int | None) -> int | None:
        return None if pico is None else _up(pico, factor)

    def rates(of: Rates) -> dict[str, int | None]:
        return {key: times(getattr(of, key)) for key in Rates.__struct_fields__}

    tiers = [convert({**rates(t), "above_input_tokens": t.above_input_tokens}, PriceTier) for t in price.tiers]
    return convert({**rates(price), "name": name, "tiers": tiers}, ServicePrice)


def _up(pico: int, factor: Decimal) -> int:
    return int((pico * factor).to_integral_value(ROUND_CEILING))


def rates_for(price: Price, service_tier: str | None, input_tokens: int) -> Rates:
    """The rates of a request with so many input tokens in all; standard ones where the service tier is unpriced."""
    at = price.at_service(service_tier) or price
    rates: Rates = at
    for tier in at.tiers:
        if input_tokens > tier.above_input_tokens:
            rates = tier
    return rates


def unpriced_tier(usage: Usage, price: Price) -> str | None:
    """The service tier of an answer that `cost_nano_usd` takes at standard prices, for want of its own."""
    free = not (price.input or price.output)
    return None if free or price.at_service(usage.service_tier) else usage.service_tier


def cost_nano_usd(usage: Usage, price: Price) -> int:
    """What `usage` costs at `price`, in nano-dollars, rounded half to even once at the end.

    Counting is `Usage`'s own: `input` holds cache reads and writes (OpenAI counts so; the Anthropic dialect
    adds its three counts up), `output` holds reasoning. What was not reported counts as none. A tier is chosen
    by total input, after the service tier that the answer was served in (standard where that is unpriced: ask
    `unpriced_tier`). Absurd usage is bounded: no count below zero or above a billion, and where reads and writes
    are said to exceed the input, they are billed and no plain input is.
    """
    total, output = _count(usage.input), _count(usage.output)
    read = write = 0
    if usage.cache_read or usage.cache_write:
        read, write = _count(usage.cache_read), _count(usage.cache_write)
        total = max(total, read + write)
    rates: Rates = price if not price.tiers and not price.service else rates_for(price, usage.service_tier, total)
    pico = (total - read - write) * rates.input + output * rates.output
    if read:
        pico += read * (rates.input if rates.cache_read is None else rates.cache_read)
    if write:
        write_1h = min(_count(usage.cache_write_1h), write)
        write_rate = rates.input if rates.cache_write is None else rates.cache_write
        pico += (write - write_1h) * write_rate
        pico += write_1h * (write_rate if rates.cache_write_1h is None else rates.cache_write_1h)
    nano, rest = divmod(pico, PICO_PER_NANO)
    return nano + (rest > HALF_NANO or (rest == HALF_NANO and nano % 2 == 1))


def _count(tokens: int | None) -> int:
    if not tokens or tokens < 0:
        return 0
    return min(tokens, MAX_TOKENS)


def format_usd(nano: int) -> str:
    """Nano-dollars for people: at least cents, and three figures of an amount below a dollar.

    `$1,234.50`, `$0.0123`, `$0.00000125`, `-$0.05`. For the books use the integer.
    """
    usd = Decimal(abs(nano)) / NANO_PER_USD
    # adjusted(): the exponent of the leading figure, -2 for 0.0123.
    decimals = 2 if usd >= 1 or not usd else min(9, max(2, 2 - usd.adjusted()))
    text = f"{usd.quantize(Decimal(1).scaleb(-decimals), ROUND_HALF_EVEN):,f}"
    whole, _, fraction = text.partition(".")
    fraction = fraction[:2] + fraction[2:].rstrip("0")
    return f"{'-' if nano < 0 else ''}${whole}.{fraction}"
