"""From o200k tokens to a model's own: factors by model family, which learn from the usage that providers report."""

from __future__ import annotations

import math
import re
from collections import OrderedDict
from functools import lru_cache

from msgspec import Struct

from turnout.chat import RequestOutline
from turnout.context import Counted, Parts
from turnout.routing.tokens import TokenCounter, parts_of

__all__ = ["FAMILIES", "Family", "FamilyFactors", "TokenEstimator", "family_of"]


class Family(Struct, frozen=True):
    """What a family of models counts, over o200k tokens of the request's JSON. `text` and `tools` are factors;
    `preamble` is what offering any tool adds, in tokens."""

    text: float
    tools: float
    preamble: int = 0


FAMILIES: dict[str, Family] = {
    # Steps of tau2-retail (`bench/tokens.py`): providers do not bill roles, quotes and schemas as the JSON sent.
    "gpt": Family(0.87, 0.64),
    "gemini": Family(1.04, 0.86),
    # Recorded requests of pydantic-ai, all small: good to about 10 %, the newer one to 20 % at best.
    "claude": Family(1.1, 1.1, 500),
    "claude-new": Family(1.35, 1.35, 400),
    "mistral": Family(0.92, 1.1),
    "deepseek": Family(0.97, 0.95, 300),
    # No evidence beyond the size of their vocabularies (128k to 152k against 200k).
    "llama": Family(1.0, 0.9),
    "qwen": Family(1.05, 0.95),
    "other": Family(1.0, 0.9),
}
"""Where learning starts from."""

_NAMES = (
    ("claude-new", re.compile(r"claude-(?:opus|sonnet|haiku|fable|mythos)-(?:4[-.](?:[7-9]|\d\d(?!\d))|[5-9])(?!\d)")),
    ("claude", re.compile(r"claude")),
    # Before llama and qwen: `deepseek-r1-distill-llama-70b` has the tokenizer of what it was distilled into.
    ("llama", re.compile(r"llama")),
    ("qwen", re.compile(r"qwen|qwq")),
    ("gemini", re.compile(r"gemini|gemma")),
    ("mistral", re.compile(r"mi[sx]tral|magistral|ministral|codestral|devstral|pixtral")),
    ("deepseek", re.compile(r"deepseek")),
    ("gpt", re.compile(r"gpt|codex|^o[134](?:-|$)")),
)


@lru_cache(maxsize=2_000)
def family_of(model: str) -> str:
    """The key of `FAMILIES` for a model's name, with or without a provider before it."""
    name = model.lower().rpartition("/")[2]
    return next((family for family, pattern in _NAMES if pattern.search(name)), "other")


PRIOR_WEIGHT = 10
"""The starting factor weighs as so many requests."""
WINDOW = 200
"""Newer requests weigh at least 1 / (this + `PRIOR_WEIGHT`): a changed tokenizer is learnt in time."""
STEP = 0.2
"""No request moves an estimate by more than this share of its weight (natural logarithm: about 20 %)."""
OUTLIER = math.log(2.5)
"""Further off than this, the estimate was of something else: server-side history, hidden prompts, searches."""
SMALL = 200
"""Below so many tokens framing and hidden prompts outweigh the text."""
SEEN_OFTEN = 10
"""A model's own correction is used after so many requests; until then its family's."""


class _Running(Struct):
    """A running mean of log(reported / expected)."""

    log: float = 0.0
    seen: int = 0

    def learn(self, ratio: float) -> None:
        step = max(-STEP, min(STEP, ratio - self.log))
        self.seen += 1
        self.log += step / (PRIOR_WEIGHT + min(self.seen, WINDOW))


class FamilyFactors:
    """Estimates by family, corrected by what was reported, for each of the `capacity` models used last."""

    def __init__(self, *, capacity: int = 1_000) -> None:
        self._capacity = capacity
        self._families: dict[str, _Running] = {}
        self._models: OrderedDict[str, _Running] = OrderedDict()

    def factor(self, model: str) -> float:
        """What reported usage has multiplied the starting factors of a model's family by; 1 before any."""
        own = self._models.get(model)
        if own is not None and own.seen >= SEEN_OFTEN:
            return math.exp(own.log)
        running = self._families.get(family_of(model))
        return math.exp(running.log) if running else 1.0

    def tokens(self, counted: Counted, model: str) -> int:
        """Input tokens that `model` will report for a request, estimated, at least one."""
        return max(1, round(_expected(counted, model) * self.factor(model)) + counted.media)

    def observe(self, model: str, counted: Counted, reported: int) -> None:
        """Learn from a request's reported input tokens (cache reads and writes included). Requests that say little
        of the tokenizer are passed over: small ones, those with attachments, those far off."""
        expected = _expected(counted, model)
        if counted.media or min(expected, reported) < SMALL:
            return
        ratio = math.log(reported / expected)
        if abs(ratio - math.log(self.factor(model))) > OUTLIER:
            return
        family = self._families.setdefault(family_of(model), _Running())
        own = self._models.setdefault(model, _Running(log=family.log))
        self._models.move_to_end(model)
        own.learn(ratio)
        family.learn(ratio)
        if len(self._models) > self._capacity:
            self._models.popitem(last=False)


def _expected(counted: Counted, model: str) -> float:
    family = FAMILIES[family_of(model)]
    tools = counted.tools * family.tools + family.preamble if counted.tools else 0.0
    return counted.text * family.text + tools


class TokenEstimator:
    """A counter and its factors: what the pipeline holds. One event loop owns it: no locks."""

    def __init__(self, counter: TokenCounter | None = None, factors: FamilyFactors | None = None) -> None:
        self.counter = counter or TokenCounter()
        self.factors = factors or FamilyFactors()

    def estimate(self, outline: RequestOutline, model: str | None = None) -> int:
        """Input tokens of a request to `model`, at least one; in o200k tokens where no model is chosen yet."""
        if model is None:
            return self.counter.count(outline)
        return self.factors.tokens(self.counter.counted(outline), model)

    def counted(self, outline: RequestOutline) -> Counted:
        """A request in o200k tokens: what the other questions take, so that it is counted once."""
        return self.counter.counted(outline)

    def parts(self, outline: RequestOutline, total: int, counted: Counted | None = None) -> Parts:
        """What the tokens are of a request that was estimated at `total` o200k tokens."""
        return parts_of(outline, self._of(outline, counted), total)

    def observe(
        self, outline: RequestOutline, model: str, reported: int | None, counted: Counted | None = None
    ) -> None:
        """Learn from what the provider reported for a request; nothing where it reported nothing."""
        if reported:
            self.factors.observe(model, self._of(outline, counted), reported)

    def _of(self, outline: RequestOutline, counted: Counted | None) -> Counted:
        """`counted`, where the request is still as it was then."""
        if counted is not None and counted.size == outline.messages_bytes:
            return counted
        return self.counter.counted(outline)
