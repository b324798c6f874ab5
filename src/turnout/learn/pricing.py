"""What the answers of a table cost: recorded, or its tokens at the catalogue's prices or those of a file."""

from __future__ import annotations

import csv
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from msgspec.structs import replace

from turnout.catalog.catalog import Catalog
from turnout.catalog.prices import Price, price_from_usd_per_million
from turnout.errors import InvalidRequest
from turnout.learn.outcomes import OutcomeTable

__all__ = ["listed_price", "priced", "read_prices"]

SELLERS = (
    *("openai", "anthropic", "google", "mistral", "deepseek", "x-ai", "moonshotai"),
    *("together", "fireworks", "groq", "cerebras", "openrouter", "aws", "azure"),
)
"""Of whom a bare name's price is asked, in this order: makers before hosts."""

PICO_PER_USD = 1_000_000_000_000

_SUFFIXES = re.compile(r"-(instruct|inst|chat|turbo|lite|fp8)\b")


def priced(table: OutcomeTable, prices: Mapping[str, Price]) -> tuple[OutcomeTable, list[str]]:
    """`table` with a cost wherever tokens and a price are known; what was recorded stays. `prices` come before the
    catalogue's. Second: the models that have no cost, for want of a price or of token counts."""
    costs = table.costs.copy()
    without: list[str] = []
    filled = False
    for column, model in enumerate(table.models):
        asked = ~np.isnan(table.scores[:, column])
        missing = asked & np.isnan(costs[:, column])
        if not missing.any():
            continue
        price = prices.get(model) or listed_price(model)
        if price is not None:
            told = table.input_tokens[:, column] * price.input + table.output_tokens[:, column] * price.output
            costs[missing, column] = told[missing] / PICO_PER_USD
            filled = filled or bool(np.isfinite(told[missing]).any())
        if np.isnan(costs[asked, column]).any():
            without.append(model)
    return replace(table, costs=costs, estimated_costs=filled), without


def listed_price(model: str) -> Price | None:
    """The catalogue's price of a model by the name that a table gives it, None where it has none.

    First as the catalogue finds names at each seller; then by the name alone, without its maker, its host
    (`@sambanova`), its case and words such as `-Instruct` and `-Turbo`. Free offers are no prices.
    """
    catalog = Catalog.load()
    for seller in SELLERS:
        price = catalog.price(seller, model)
        if price is not None and (price.input or price.output):
            return price
    wanted = _bare(model)
    rows = {provider.id: provider.models for provider in catalog.providers}
    for seller in SELLERS:
        for row in rows.get(seller, ()):
            if _bare(row.id) == wanted:
                price = catalog.price(seller, row.id)
                if price is not None and (price.input or price.output):
                    return price
    return None


def _bare(name: str) -> str:
    bare = name.lower().rpartition("/")[2].partition("@")[0].partition(":")[0].removeprefix("meta-")
    return _SUFFIXES.sub("", bare)


def read_prices(file: Path) -> dict[str, Price]:
    """Prices of a CSV file with the head `model,input,output`, or of a TOML file of `"model" = {input = 1, output =
    2}`, in USD per million tokens. Raises InvalidRequest, or ConfigError for a figure that is no price."""
    try:
        text = file.read_text(encoding="utf-8")
        if file.suffix.lower() == ".toml":
            rows = {model: (told["input"], told["output"]) for model, told in tomllib.loads(text).items()}
        else:
            rows = {row["model"]: (row["input"], row["output"]) for row in csv.DictReader(text.splitlines())}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InvalidRequest(f"{file}: cannot be read: {error}") from None
    except (KeyError, TypeError):
        raise InvalidRequest(f"{file}: each model needs input and output, in USD per million tokens") from None
    return {model: price_from_usd_per_million(*told, key=model, source=file.name) for model, told in rows.items()}
