"""The usage report: token volume from a ledger, what would save most, and its JSON."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from msgspec import Struct

from turnout.catalog.prices import NANO_PER_USD, Price
from turnout.chat import Json
from turnout.errors import InvalidRequest
from turnout.spend.ledger import Ledger
from turnout.spend.volume import PARTS, Advice, Volume, advise

__all__ = ["Report", "moment", "report", "report_story"]

_AGO = re.compile(r"(\d{1,5})([mhd])")


class Report(Struct, frozen=True, kw_only=True):
    """Volumes by group and deployment, the dearest first, from `since` to before `until`."""

    by: str
    since: datetime
    until: datetime
    volumes: tuple[Volume, ...]
    advice: tuple[Advice, ...]


def moment(text: str, now: datetime, *, param: str) -> datetime:
    """A time as people give it: `7d`, `12h`, `30m` ago, or ISO 8601 (UTC where it says nothing). Raises
    InvalidRequest."""
    if found := _AGO.fullmatch(text):
        unit = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}[found[2]]
        return now - int(found[1]) * unit
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidRequest(f"{param} = {text!r}: use 7d, 12h, or a time as 2026-11-01T00:00", param=param) from None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def report(
    ledger: Ledger, price_of: Callable[[str], Price | None], *, by: str, since: datetime, until: datetime
) -> Report:
    """What the ledger says. Raises InvalidRequest for an unknown group."""
    volumes = ledger.usage(since, until, by)
    return Report(by=by, since=since, until=until, volumes=tuple(volumes), advice=tuple(advise(volumes, price_of)))


def report_story(told: Report, *, limit: int | None = None) -> dict[str, object]:
    """JSON: the first `limit` groups with their deployments, sorted by where the money is, and the advice. USD and
    tokens."""
    groups: dict[str | None, list[Volume]] = {}
    for volume in told.volumes:
        groups.setdefault(volume.group, []).append(volume)
    data = [_group(name, volumes) for name, volumes in groups.items()]
    data.sort(key=lambda group: (-group["cost_nano_usd"], -group["input_tokens"]))
    groups_in_all, data = len(data), data[:limit]
    for group in data:
        group["cost_usd"] = group.pop("cost_nano_usd") / NANO_PER_USD
    return {
        "by": told.by,
        "since": told.since,
        "until": told.until,
        "data": data,
        "groups": groups_in_all,
        "advice": [
            {
                "title": advice.title,
                "group": advice.group,
                "saving_usd": advice.saving_nano_usd / NANO_PER_USD,
                "how": advice.how,
                "change": advice.change,
            }
            for advice in told.advice
        ],
        "notes": "parts and repeated tokens are estimates, scaled to the reported input; growth is (last - first) / "
        "(steps - 1) of an agent's context, the mean over the group. Advice is by list prices: of models without one "
        "nothing is said, what writing a cache costs is left out, and pieces of advice overlap: they do not add up",
    }


SUMS = (
    *("requests", "input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens", "reasoning_tokens"),
    *("cost_nano_usd", "unpriced", "repeated_tokens"),
)


def _group(name: str | None, volumes: list[Volume]) -> dict[str, Json]:
    total = {field: sum(getattr(volume, field) for volume in volumes) for field in SUMS}
    given = max(1, total["input_tokens"])
    return {
        "group": name,
        **total,
        "sessions": volumes[0].sessions,
        "context_per_call": round(total["input_tokens"] / max(1, total["requests"])),
        "growth_per_step": next((v.growth_per_step for v in volumes if v.growth_per_step is not None), None),
        "repeated_share": round(total["repeated_tokens"] / given, 4),
        "cached_share": round(total["cache_read_tokens"] / given, 4),
        "parts": {part: sum(getattr(volume, part) for volume in volumes) for part in PARTS},
        "models": {volume.deployment or "nobody": volume.requests for volume in volumes},
    }
