"""What a model name in a request means: `auto`, `mode/NAME`, `tier/NAME`, a model, or an alias. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Literal

from msgspec import Struct

from turnout.catalog.fleet import Fleet
from turnout.catalog.models import TIERS, Deployment, Tier
from turnout.errors import NotFound

__all__ = ["BUILTIN_ALIASES", "ModeTarget", "Names", "Selection"]

BUILTIN_ALIASES: Mapping[str, str] = {"claude-auto": "auto", "gemini-auto": "auto"}
"""Claude Code offers only gateway models whose name contains `claude` or `anthropic`; to Gemini CLI `auto` is a word of
its own."""

_MAX_HOPS = 5

_MOST_RESOLVED = 1_000

_LONGEST = 2_048
"""Characters of a name: Amazon Bedrock's ARNs are the longest that hosts have."""


class ModeTarget(Struct, frozen=True, kw_only=True):
    """What a mode stands for: a model name in any form, and an effort word."""

    model: str
    effort: str | None = None


class Selection(Struct, frozen=True, kw_only=True):
    """A resolved name. `deployments` are the models meant; empty for `auto`, where all may serve. The first `meant` of
    them bear the name, the others are the fallbacks, in the user's order."""

    kind: Literal["auto", "tier", "model"]
    name: str
    deployments: tuple[Deployment, ...] = ()
    meant: int = 0
    tier: Tier | None = None
    mode: str | None = None
    effort: str | None = None


class Names:
    """Resolves names against the fleet, the config's modes and aliases."""

    def __init__(
        self,
        fleet: Fleet,
        *,
        modes: Mapping[str, ModeTarget],
        aliases: Mapping[str, str],
        fallbacks: Mapping[str, tuple[str, ...]],
        default: str = "auto",
    ) -> None:
        self._fleet = fleet
        self._modes = modes
        self._aliases = {**BUILTIN_ALIASES, **aliases}
        self._fallbacks = fallbacks
        self._default = default
        self._resolved: dict[tuple[str, str | None], Selection] = {}

    def listing(self) -> list[str]:
        """Every name a caller may use, for `GET /v1/models`."""
        tiers = [f"tier/{t}" for t in TIERS if self._fleet.tier(t)]
        return [
            "auto",
            *self._aliases,
            *(f"mode/{m}" for m in self._modes),
            *tiers,
            *(d.id for d in self._fleet.all),
        ]

    def resolve(self, name: str, mode: str | None = None) -> Selection:
        """What `name` means; a declared `mode` that the config knows comes before it.

        Raises NotFound that names near ones.
        """
        if len(name) > _LONGEST:  # it would be kept, and looked for among the near ones
            raise NotFound(
                f"the model's name has {len(name):,} characters; at most {_LONGEST:,} are read", param="model"
            )
        mode = mode if mode in self._modes else None  # callers label with whatever they like
        known = self._resolved.get((name, mode))
        if known is None:
            known = self._resolve(name, mode)
            if len(self._resolved) >= _MOST_RESOLVED:  # callers choose names
                self._resolved.clear()
            self._resolved[name, mode] = known
        return known

    def _resolve(self, name: str, mode: str | None) -> Selection:
        effort: str | None = None
        declared = mode
        name = f"mode/{declared}" if declared else name
        for _ in range(_MAX_HOPS):
            if name == "auto" and self._default != "auto":
                name = self._default
            if name in self._aliases:
                name = self._aliases[name]
            elif name.startswith("mode/"):
                declared = name.removeprefix("mode/")
                target = self._mode(declared)
                name, effort = target.model, target.effort
            else:
                return self._leaf(name, declared, effort)
        raise NotFound(f"model {name!r} leads in a circle; mend its alias or mode in the config", param="model")

    def _leaf(self, name: str, mode: str | None, effort: str | None) -> Selection:
        if name == "auto":
            return Selection(kind="auto", name=name, mode=mode, effort=effort)
        if name.startswith("tier/"):
            tier = name.removeprefix("tier/")
            if tier not in TIERS:
                raise NotFound(f"tier {tier!r} does not exist; there are {', '.join(TIERS)}", param="model")
            return Selection(kind="tier", name=name, tier=tier, mode=mode, effort=effort)
        found = self._fleet.find(name)
        if not found:
            near = self._fleet.near(name)
            hint = f"did you mean {', '.join(near)}?" if near else "GET /v1/models lists what there is"
            raise NotFound(f"model {name!r} does not exist here; {hint}", param="model")
        fallback_names = [f for d in found for f in self._fallbacks.get(d.id, ())]
        fallbacks = [d for f in fallback_names for d in self._fleet.find(f)[:1]]
        unique = {d.id: d for d in (*found, *fallbacks)}
        return Selection(
            kind="model",
            name=name,
            deployments=tuple(unique.values()),
            meant=len({d.id for d in found}),
            mode=mode,
            effort=effort,
        )

    def _mode(self, mode: str) -> ModeTarget:
        if mode not in self._modes:
            near = difflib.get_close_matches(mode, list(self._modes), n=3)
            hint = f"did you mean mode/{near[0]}?" if near else f"known modes: {', '.join(self._modes) or 'none'}"
            raise NotFound(f"mode {mode!r} is not in the config; {hint}", param="model")
        return self._modes[mode]
