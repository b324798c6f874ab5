"""Whose model a log means, and what it cost at list price when it was asked. Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from turnout.catalog.catalog import ALIASES, Catalog
from turnout.catalog.prices import Price

__all__ = ["Pricer"]

MAKERS = ("anthropic", "openai", "google", "x-ai", "deepseek", "mistral", "moonshotai")
"""Who is asked first for a name that comes without a provider: those who make models, before those who resell them."""

_SUFFIX = re.compile(r"\[[^\]]*\]$")
"""`[1m]`, as Claude Code writes a longer context window into a model's name."""

MOST_KNOWN = 20_000
"""Prices remembered: a name, a provider and an hour each."""


class Pricer:
    """Finds providers and prices, and remembers them: logs name few models many times."""

    def __init__(self, catalog: Catalog | None = None) -> None:
        self._catalog = catalog or Catalog.load()
        self._homes: dict[tuple[str, str], tuple[str, str]] = {}
        self._prices: dict[tuple[str, str, int], Price | None] = {}

    def home(self, provider: str, model: str) -> tuple[str, str]:
        """The provider and the model's name there, as the catalogue has them; what nobody knows stays as it is, its
        provider "" where the log names none."""
        key = provider, model
        found = self._homes.get(key)
        if found is None:
            if len(self._homes) >= MOST_KNOWN:
                self._homes.clear()
            found = self._homes[key] = self._find(provider.lower(), _SUFFIX.sub("", model))
        return found

    def price(self, provider: str, model: str, at: float | None) -> Price | None:
        """The list price of a model that `home` has named, at a time in seconds since 1970 (None: now)."""
        hour = -1 if at is None else int(at // 3600)
        key = provider, model, hour
        if key not in self._prices:
            if len(self._prices) >= MOST_KNOWN:
                self._prices.clear()
            self._prices[key] = self._catalog.price(provider, model, _moment(at)) if provider else None
        return self._prices[key]

    def _find(self, provider: str, model: str) -> tuple[str, str]:
        named, _, rest = model.partition("/")
        homes = {row.id for row in self._catalog.providers}
        guesses = [(provider, model)] if provider else []
        if rest and (named.lower() in homes or named.lower() in ALIASES):
            guesses += [(provider, rest)] if provider else []
            guesses.append((named.lower(), rest))
        bare = model.rpartition("/")[2].replace("@", "-")
        others = [name for name in sorted(homes) if name not in MAKERS]
        guesses += [(name, bare) for name in MAKERS] + [(name, model) for name in others]
        for home, name in guesses:
            if self._catalog.find(home, name) is not None:
                return ALIASES.get(home, home), name
        return provider, model


def _moment(at: float | None) -> datetime | None:
    try:
        return None if at is None else datetime.fromtimestamp(at, UTC)
    except (OverflowError, OSError, ValueError):
        return None
