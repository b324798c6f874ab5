"""Make `src/turnout/catalog/data/prices.json` from the installed genai-prices package.

    python tools/update_catalog.py [--out FILE]

genai-prices brings pydantic and an HTTP client and takes a second to import, so users get an extract of its
data and never the package. The same version of genai-prices always gives the same bytes. What is left out or
changed on the way is told in `price_of` and `match_of`; everything else is kept as it stands.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from decimal import ROUND_HALF_EVEN, Decimal
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import msgspec
from genai_prices.data import providers as all_providers
from genai_prices.types import (
    ClauseAnd,
    ClauseOr,
    ConditionalPrice,
    ModelInfo,
    ModelPrice,
    Provider,
    StartDateConstraint,
    TieredPrices,
    TimeOfDateConstraint,
)

from turnout.catalog.genai_prices import KEYS

OUT = Path(__file__).parents[1] / "src" / "turnout" / "catalog" / "data" / "prices.json"

PROVIDERS = (
    "anthropic",
    "aws",
    "azure",
    "cerebras",
    "deepseek",
    "fireworks",
    "google",
    "groq",
    "mistral",
    "moonshotai",
    "openai",
    "openrouter",
    "together",
    "x-ai",
)
"""Whose rows are kept: the hosts Turnout has a row for, and whom those fall back to (azure to moonshotai)."""

Figures = dict[str, "Decimal | TieredPrices"]


def pico(usd_per_million: Decimal) -> int:
    """USD per million tokens -> pico-dollars a token. Exact for every figure a provider publishes; some of
    OpenRouter's are quotients (0.0833...) and are rounded to the nearest pico-dollar."""
    return int((usd_per_million * 1_000_000).to_integral_value(ROUND_HALF_EVEN))


def at_tier(figure: Decimal | TieredPrices, start: int) -> Decimal:
    """What `figure` is for requests of more than `start` input tokens."""
    if isinstance(figure, Decimal):
        return figure
    reached = [tier.price for tier in figure.tiers if tier.start <= start]
    return reached[-1] if reached else figure.base


def price_of(prices: ModelPrice, model_id: str) -> dict[str, Any] | None:
    """Our `Price` as JSON, None for unpriced.

    Unpriced are models not sold by the token (audio hours, characters, pages), those whose output is sold only
    in another unit (images), those with a fee on each request, and those without any figure: there
    genai-prices says zero, which is right only where the name itself says `:free`.
    A model without an output price (embeddings) writes nothing, so its output costs nothing.
    """
    figures: Figures = {k: v for k, v in vars(prices).items() if v is not None}
    if not figures and model_id.endswith(":free"):
        return {"input": 0, "output": 0}
    other_output = any(key.startswith("output_") and key not in KEYS for key in figures)
    if "input_mtok" not in figures or "requests_kcount" in figures or ("output_mtok" not in figures and other_output):
        return None
    figures.setdefault("output_mtok", Decimal(0))
    known = {ours: figures[theirs] for theirs, ours in KEYS.items() if theirs in figures}
    starts = sorted({t.start for f in known.values() if isinstance(f, TieredPrices) for t in f.tiers})
    row: dict[str, Any] = {k: pico(f.base if isinstance(f, TieredPrices) else f) for k, f in known.items()}
    if starts:
        row["tiers"] = [
            {"above_input_tokens": start, **{k: pico(at_tier(f, start)) for k, f in known.items()}} for start in starts
        ]
    return row


def condition_of(conditional: ConditionalPrice, model_id: str) -> dict[str, Any]:
    """One price and when it holds: from a UTC date on (`since`), or daily between two UTC times (`daily`)."""
    row: dict[str, Any] = {"price": price_of(conditional.prices, model_id)}
    match conditional.constraint:
        case None:
            pass
        case StartDateConstraint(start_date=day):
            row["since"] = day.isoformat()
        case TimeOfDateConstraint(start_time=start, end_time=end):
            if {str(start.tzinfo), str(end.tzinfo)} != {"UTC"}:
                raise SystemExit(f"{model_id}: a time of day that is not UTC: {start} - {end}")
            row["daily"] = [start.strftime("%H:%M"), end.strftime("%H:%M")]
    return row


def match_of(clause: Any) -> dict[str, Any]:
    """A match clause as JSON, in genai-prices' own words."""
    if isinstance(clause, ClauseOr):
        return {"or": [match_of(c) for c in clause.or_]}
    if isinstance(clause, ClauseAnd):
        return {"and": [match_of(c) for c in clause.and_]}
    return dict(vars(clause))


def model_of(model: ModelInfo) -> dict[str, Any]:
    """A model's row. Unpriced models stay: the first match decides, and a hole would let a later row match."""
    prices = model.prices if isinstance(model.prices, list) else [ConditionalPrice(prices=model.prices)]
    row: dict[str, Any] = {"id": model.id, "match": match_of(model.match)}
    if model.context_window is not None:
        row["context_window"] = model.context_window
    row["prices"] = [condition_of(p, model.id) for p in prices]
    return row


def lines_of(providers: Iterable[Provider]) -> Iterable[str]:
    """The file, one model a line: a new version gives a diff that can be read."""
    dist = distribution("genai-prices")
    licence = dist.read_text("licenses/LICENSE")
    if licence is None:
        raise SystemExit("genai-prices carries no licence text: look where it went before shipping its data")
    yield "{"
    yield f'"source": {dumps(f"genai-prices {dist.version}")},'
    yield f'"licence": {dumps(licence)},'
    yield '"providers": ['
    rows: list[str] = []
    for provider in providers:
        models = ",\n".join(dumps(model_of(m)) for m in provider.models)
        resold = provider.fallback_model_providers or []
        if strangers := set(resold) - set(PROVIDERS):
            raise SystemExit(f"{provider.id} resells {', '.join(strangers)}: add them to PROVIDERS")
        fallback = dumps(resold)
        rows.append(f'{{"id": {dumps(provider.id)}, "fallback": {fallback}, "models": [\n{models}\n]}}')
    yield ",\n".join(rows)
    yield "]}"


def dumps(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, default=OUT)
    out: Path = parser.parse_args().out
    by_id = {p.id: p for p in all_providers}
    if missing := [p for p in PROVIDERS if p not in by_id]:
        raise SystemExit(f"genai-prices no longer has {', '.join(missing)}: mend PROVIDERS")
    text = "\n".join(lines_of(by_id[p] for p in PROVIDERS)) + "\n"
    out.write_text(text, encoding="utf-8")
    models = sum(len(by_id[p].models) for p in PROVIDERS)
    print(f"{out}: {len(PROVIDERS)} providers, {models} models, {len(text.encode()):,} bytes")


if __name__ == "__main__":
    main()
