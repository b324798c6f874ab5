"""The deployments a gateway can use, and how a model's name finds one. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping

from turnout.catalog.models import Deployment, Tier

__all__ = ["Fleet"]


class Fleet:
    """All deployments by id (`provider/model`), in order of preference.

    `describe(provider, model)` makes a deployment for a model nobody listed, at a provider in `providers`:
    hosts add models daily and a caller who names one exactly should get it.
    `knows(provider, model)` says whether the catalogue has heard of a model there: bare names need that.
    """

    def __init__(
        self,
        deployments: Iterable[Deployment],
        *,
        providers: Iterable[str] = (),
        describe: Callable[[str, str], Deployment] | None = None,
        knows: Callable[[str, str], bool] | None = None,
    ) -> None:
        self._by_id: Mapping[str, Deployment] = {d.id: d for d in deployments}
        self.all: tuple[Deployment, ...] = tuple(self._by_id.values())
        by_tier: dict[Tier | None, list[Deployment]] = {}
        for deployment in self.all:
            by_tier.setdefault(deployment.tier, []).append(deployment)
        self._by_tier = {tier: tuple(found) for tier, found in by_tier.items()}
        self._providers = tuple(providers)
        self._describe = describe
        self._knows = knows

    def __iter__(self) -> Iterator[Deployment]:
        return iter(self._by_id.values())

    def __len__(self) -> int:
        return len(self._by_id)

    def get(self, id: str | None) -> Deployment | None:  # noqa: A002 - a deployment's own word
        """The deployment that is listed by exactly that id."""
        return None if id is None else self._by_id.get(id)

    def tier(self, tier: Tier | None) -> tuple[Deployment, ...]:
        """Its deployments, in order of preference; with None those that are of no tier."""
        return self._by_tier.get(tier, ())

    def find(self, name: str) -> tuple[Deployment, ...]:
        """Deployments that `name` may mean: an exact id, an unlisted model of a known provider, or a bare
        model name at whoever has it. Empty when nobody does."""
        if exact := self._by_id.get(name):
            return (exact,)
        provider, slash, model = name.partition("/")
        if slash and model and provider in self._providers and self._describe is not None:
            return (self._describe(provider, model),)
        bare = tuple(d for d in self._by_id.values() if name in (d.upstream_model, d.id.partition("/")[2]))
        if bare or self._knows is None or self._describe is None:
            return bare
        return tuple(self._describe(p, name) for p in self._providers if self._knows(p, name))

    def near(self, name: str) -> list[str]:
        """Up to three ids that look like `name`."""
        lowered = {
            **{d.id.partition("/")[2].lower(): d.id for d in self.all},
            **{i.lower(): i for i in self._by_id},
        }
        close = difflib.get_close_matches(name.lower(), list(lowered), n=5, cutoff=0.4)
        return list(dict.fromkeys(lowered[c] for c in close))[:3]
