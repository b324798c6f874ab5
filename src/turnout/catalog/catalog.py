"""Prices and context windows of models sold by others: the shipped extract of genai-prices, and its matching.

The extract (`data/prices.json`, made by `tools/update_catalog.py`) is read on the first look-up, never at
import. A model is found as genai-prices finds it: the provider's rows in order, the first whose clause
matches; then the rows of those whose models the provider resells; then both again with `-20251211` read as
`-2025-12-11`.
"""

from __future__ import annotations

import logging
import re
from datetime import UTC, date, datetime, time
from functools import cache, cached_property
from pathlib import Path

import msgspec
from msgspec import Struct, field
from msgspec.structs import replace

from turnout.catalog.prices import Price
from turnout.catalog.service_tiers import with_service_tiers

__all__ = ["ALIASES", "Catalog", "PriceTable", "read_table"]

log = logging.getLogger("turnout")

PRICES = Path(__file__).parent / "data" / "prices.json"

ALIASES = {
    "amazon-bedrock": "aws",
    "bedrock": "aws",
    "azure-openai": "azure",
    "fireworks-ai": "fireworks",
    "gemini": "google",
    "vertex": "google",
    "vertex-ai": "google",
    "moonshot": "moonshotai",
    "together-ai": "together",
    "xai": "x-ai",
}
"""Other names of providers. genai-prices takes any name that *contains* `openai` or `google`; here a host that
a user called `openai-proxy-lab` stays unpriced, which is said, and is not billed at a stranger's prices."""

CACHE_SIZE = 4096
"""Callers choose model names: what is remembered of them has a bound."""

_COMPACT_DATE = re.compile(r"(?<=-)(20\d{2})(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])(?=-|:|$)")


class Clause(Struct, frozen=True):
    """One test of a model's name; exactly one field is set. Case does not count."""

    equals: str | None = None
    starts_with: str | None = None
    ends_with: str | None = None
    contains: str | None = None
    regex: str | None = None
    any_of: tuple[Clause, ...] = field(default=(), name="or")
    all_of: tuple[Clause, ...] = field(default=(), name="and")

    def matches(self, name: str) -> bool:
        """`name` is in lower case; so is a `regex`, which alone is taken as it stands."""
        if self.any_of:
            return any(c.matches(name) for c in self.any_of)
        if self.all_of:
            return all(c.matches(name) for c in self.all_of)
        if self.regex is not None:
            return re.search(self.regex, name) is not None
        return self._matches_text(name)

    def _matches_text(self, name: str) -> bool:
        if self.equals is not None:
            return name == self.equals.lower()
        if self.starts_with is not None:
            return name.startswith(self.starts_with.lower())
        if self.ends_with is not None:
            return name.endswith(self.ends_with.lower())
        return self.contains is not None and self.contains.lower() in name


class Condition(Struct, frozen=True):
    """A price and when it holds: from the UTC date `since` on, or daily from one UTC time to before another
    (`HH:MM`, maybe past midnight), or always. `price` None: not sold by the token."""

    price: Price | None
    since: date | None = None
    daily: tuple[str, str] | None = None

    def holds(self, at: datetime) -> bool:
        if self.since is not None:
            return at.date() >= self.since
        if self.daily is None:
            return True
        start, end = (time.fromisoformat(t) for t in self.daily)
        now = at.time()
        return start <= now < end if start <= end else now >= start or now < end


class ModelRow(Struct, frozen=True):
    id: str
    match: Clause
    prices: tuple[Condition, ...]
    context_window: int | None = None


class ProviderRow(Struct, frozen=True):
    id: str
    fallback: tuple[str, ...]
    models: tuple[ModelRow, ...]

    def find(self, name: str) -> ModelRow | None:
        return next((m for m in self.models if m.match.matches(name)), None)


class PriceTable(Struct, frozen=True):
    source: str
    licence: str
    providers: tuple[ProviderRow, ...]


class Catalog:
    """What is known of models by provider and name. Look-ups are pure; unknown is None and never a guess."""

    def __init__(self, prices: Path | PriceTable = PRICES) -> None:
        self._prices = prices
        self._found: dict[tuple[str, str], ModelRow | None] = {}

    @staticmethod
    def load() -> Catalog:
        """The catalogue that ships with Turnout, one for the process. Reads nothing yet."""
        return _shipped()

    @cached_property
    def table(self) -> PriceTable:
        """All rows."""
        told = self._prices
        return told if isinstance(told, PriceTable) else msgspec.json.decode(told.read_bytes(), type=PriceTable)

    @cached_property
    def _providers(self) -> dict[str, ProviderRow]:
        return {p.id: p for p in self.table.providers}

    @property
    def source(self) -> str:
        """Where the prices come from, e.g. `genai-prices 0.2.3`."""
        return self.table.source

    @property
    def providers(self) -> tuple[ProviderRow, ...]:
        return self.table.providers

    def price(self, provider: str, model: str, at: date | datetime | None = None) -> Price | None:
        """The price of `model` at `provider`, None for unpriced.

        `at` is when the request came in (an aware datetime, a naive one taken as UTC, or a date, which means
        its first moment in UTC); None is now. Some prices begin on a day, DeepSeek's change with the hour.
        """
        row = self.find(provider, model)
        if row is None or not row.prices:
            return None
        moment = _utc(at)
        holding = (c for c in reversed(row.prices) if c.holds(moment))
        price = next(holding, row.prices[0]).price
        if price is None:
            return None
        home = ALIASES.get(provider.lower().strip(), provider.lower().strip())
        return with_service_tiers(home, model, replace(price, source=self.source))

    def context_window(self, provider: str, model: str) -> int | None:
        """How many tokens `model` can be given and write in all, None where nobody said."""
        row = self.find(provider, model)
        return None if row is None else row.context_window

    def find(self, provider: str, model: str) -> ModelRow | None:
        """The row that `model` matches at `provider`; names are compared without case."""
        key = (provider.lower().strip(), model.lower())
        if key in self._found:
            return self._found[key]
        if len(self._found) >= CACHE_SIZE:
            self._found.clear()
        row = self._found[key] = self._look_up(*key)
        return row

    def _look_up(self, provider: str, model: str) -> ModelRow | None:
        home = self._providers.get(ALIASES.get(provider, provider))
        if home is None:
            return None
        spelled = _COMPACT_DATE.sub(_dashed, model)
        for name in dict.fromkeys((model, spelled)):
            for row in (home, *(self._providers[f] for f in home.fallback)):
                if found := row.find(name):
                    return found
        return None


def read_table(file: Path | None) -> PriceTable:
    """The table in `file`, the shipped one where there is none that can be read."""
    try:
        if file is not None and file.exists():
            return msgspec.json.decode(file.read_bytes(), type=PriceTable)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        log.warning("%s: the prices kept there cannot be read (%s); the shipped ones are taken", file, error)
    return _shipped().table


@cache
def _shipped() -> Catalog:
    return Catalog()


def _utc(at: date | datetime | None) -> datetime:
    """`at` as a naive UTC datetime, the form in which the table's own dates and times stand."""
    if at is None:
        return datetime.now(UTC).replace(tzinfo=None)
    if not isinstance(at, datetime):
        return datetime.combine(at, time.min)
    return at if at.tzinfo is None else at.astimezone(UTC).replace(tzinfo=None)


def _dashed(found: re.Match[str]) -> str:
    year, month, day = (int(g) for g in found.groups())
    try:
        return date(year, month, day).isoformat()
    except ValueError:
        return found.group(0)
