"""The predictor that a gateway asks: the packaged one or one's own, with what this gateway has learned since."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import xxhash

from turnout.catalog.fleet import Fleet
from turnout.errors import ConfigError
from turnout.learning import RECALLED, Learner
from turnout.routing.predictor import Predictor, Weights
from turnout.stores.versions import Versions

__all__ = ["predictor_for", "weights_of"]


def weights_of(folder: str | Path | None) -> Weights:
    """Those in use in a folder of `turnout train`; the packaged ones where none is named. Raises ConfigError."""
    return Weights.decode(_file_of(folder))


def _file_of(folder: str | Path | None) -> bytes:
    if folder is None:
        return resources.files("turnout.routing").joinpath("data/predictor.bin").read_bytes()
    data = Versions(folder).read()
    if data is None:
        raise ConfigError(f"{folder} holds no predictor; write one with turnout train --out {folder}")
    return data


def predictor_for(folder: str | Path | None, fleet: Fleet, learner: Learner) -> Predictor:
    """The one that learns already, where it stands on the same weights; else a new one, taught what was kept of the
    last outcomes. Raises ConfigError."""
    tiers = {d.id: d.tier for d in fleet.all if d.tier}
    data, now = _file_of(folder), learner.predictor
    source = xxhash.xxh3_128_hexdigest(data)
    if isinstance(now, Predictor) and now.source == source:
        now.tiers = dict(tiers)
        return now
    fresh = Predictor(Weights.decode(data), tiers, source=source)
    for outcome in reversed(learner.store.recent(RECALLED)):
        fresh.observe(outcome)
    return fresh
