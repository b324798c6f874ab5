"""What makes an evaluation look better than it is: prompts on both sides, empty ones, datasets that are an answer.

Pure.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

import numpy as np
import xxhash
from msgspec import Struct
from numpy.typing import NDArray

from turnout.learn.metrics import apgr, routing_curve
from turnout.learn.outcomes import Floats, OutcomeTable
from turnout.learn.routers import Pair
from turnout.learn.splits import normal_text

__all__ = ["ALIKE", "Leakage", "leakage_of", "near_duplicates"]

ALIKE = 0.8
"""Jaccard similarity of two prompts' sets of shingles from which they count as near-duplicates."""

WORDS = 3
"""In a shingle."""

MOST_SHINGLES = 400
"""Of a prompt: a longer one is judged by those with the smallest hashes, a fair sample of its set (bottom-k)."""

HELD = 0.95
"""Share of a prompt's shingles from which it counts as held by a longer one: the same question with instructions
around it."""

FEW = 8
"""Shingles below which a prompt is held by others for being short."""

BANDS, BAND = 21, 3
"""Of the MinHash: a pair with Jaccard 0.8 meets in some band surely, one with 0.5 with probability 0.94."""

MOST_IN_BUCKET = 30
"""What many prompts share (a template) would be compared in every pair: there, each is compared with so many only."""

NAME_TELLS = 0.9
"""Share of the oracle's gain over chance from which a dataset's name alone is the answer."""

Hashes = NDArray[np.uint64]


class Leakage(Struct, frozen=True, kw_only=True):
    """Counts of a table's queries.

    `empty`: without a letter or digit. `repeated`: whose text stands in the table more than once. `near`: with a
    near-duplicate in the table, repeated ones included. `elsewhere`: other table -> how many of ours it has, exactly
    or nearly. `one_answer`: datasets in which no query is answered otherwise than another by any model. `name_tells`:
    the share of the oracle's gain over chance that the name of the dataset alone reaches (two models, in sample);
    None where there is one dataset only. `bounded`: some large buckets were not compared throughout, so `near` is at
    least that many.
    """

    queries: int
    empty: int
    repeated: int
    near: int
    elsewhere: dict[str, int]
    one_answer: tuple[str, ...]
    name_tells: float | None
    bounded: bool

    def notes(self) -> Iterator[str]:
        """What is to be said of it, a sentence each."""
        if self.empty:
            yield f"leakage: {self.empty:,} queries are empty"
        if self.near:
            at_least = "at least " if self.bounded else ""
            yield f"leakage: {at_least}{self.near:,} of {self.queries:,} queries have a near-duplicate in the table"
        for name, found in self.elsewhere.items():
            if found:
                yield f"leakage: {name} has {found:,} of {self.queries:,} queries too: what learned there knows them"
        for name in self.one_answer:
            yield f"leakage: {name} has one answer only: nothing can be learned there but its name"
        if self.name_tells is not None and self.name_tells >= NAME_TELLS:
            yield f"leakage: the dataset's name alone reaches {self.name_tells:.0%} of the oracle's gain"


def leakage_of(table: OutcomeTable, pair: Pair, others: Mapping[str, Sequence[str]]) -> Leakage:
    """Look at a table, and for its prompts in other tables (name -> their prompts)."""
    texts = [normal_text(q) for q in table.queries]
    times = Counter(texts)
    groups = [texts, *([normal_text(q) for q in queries] for queries in others.values())]
    alike, bounded = near_duplicates(groups)
    return Leakage(
        queries=len(texts),
        empty=sum(not t for t in texts),
        repeated=sum(times[t] > 1 for t in texts),
        near=int(alike[:, 0].sum()),
        elsewhere={name: int(alike[:, k + 1].sum()) for k, name in enumerate(others)},
        one_answer=_one_answer(table),
        name_tells=_name_tells(table, pair),
        bounded=bounded,
    )


def near_duplicates(groups: Sequence[Sequence[str]]) -> tuple[NDArray[np.bool_], bool]:
    """Which normalised texts of the first group have a near-duplicate (another text, or the same once more) in each
    group: [texts, groups]; and whether the search was cut short somewhere.

    MinHash over shingles of three words finds candidates, the shingles decide. Under a millisecond a text.
    """
    places: dict[str, Counter[int]] = defaultdict(Counter)
    for number, texts in enumerate(groups):
        for text in texts:
            places[text][number] += 1
    unique = [t for t in places if t]
    held = np.array([[places[t][k] for k in range(len(groups))] for t in unique], dtype=np.int64).reshape(
        -1, len(groups)
    )
    found = held.astype(bool)
    found[:, 0] = held[:, 0] > 1
    shingles = [_shingles(t) for t in unique]
    pairs, bounded = _candidates(shingles)
    for one, other in pairs:
        if (held[one, 0] or held[other, 0]) and _alike(shingles[one], shingles[other]):
            found[one] |= held[other] > 0
            found[other] |= held[one] > 0
    where = {t: i for i, t in enumerate(unique)}
    nothing = np.zeros(len(groups), dtype=bool)
    told = [found[where[t]] if t else nothing for t in groups[0]]
    return np.array(told, dtype=bool).reshape(-1, len(groups)), bounded


def _shingles(text: str) -> Hashes:
    words = text.split()
    runs = [" ".join(words[i : i + WORDS]) for i in range(max(1, len(words) - WORDS + 1))]
    told = np.array([xxhash.xxh3_64_intdigest(run.encode()) for run in runs], dtype=np.uint64)
    return np.unique(told)[:MOST_SHINGLES]


def _candidates(shingles: Sequence[Hashes]) -> tuple[set[tuple[int, int]], bool]:
    """Pairs that meet in a band of their MinHashes."""
    draw = np.random.default_rng(0)
    factors = draw.integers(1, 2**63, size=(BANDS * BAND, 1), dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    buckets: dict[tuple[int, bytes], list[int]] = defaultdict(list)
    for i, told in enumerate(shingles):
        # Multiply, then fold: the high bits of an odd multiple are a fair order of 64-bit hashes.
        mixed = told[None, :] * factors
        least = (mixed ^ (mixed >> np.uint64(29))).min(axis=1)
        for band in range(BANDS):
            buckets[band, least[band * BAND : (band + 1) * BAND].tobytes()].append(i)
    pairs: set[tuple[int, int]] = set()
    bounded = False
    for members in buckets.values():
        firsts = members[:MOST_IN_BUCKET]
        pairs.update((a, b) for n, a in enumerate(firsts) for b in firsts[n + 1 :])
        rest = members[MOST_IN_BUCKET:]
        bounded = bounded or bool(rest)
        pairs.update((a, b) for b in rest for a in firsts)
        pairs.update(pairwise(rest))
    return pairs, bounded


def _alike(one: Hashes, other: Hashes) -> bool:
    """Jaccard of two sets of shingles, or the smaller held by the larger. Of prompts cut to their smallest hashes,
    the same sample of the union is compared."""
    cut = len(one) == MOST_SHINGLES or len(other) == MOST_SHINGLES
    union = np.union1d(one, other)[: MOST_SHINGLES if cut else None]
    both = np.intersect1d(one, other, assume_unique=True)
    shared = int((both <= union[-1]).sum())
    fewer = min(len(one), len(other))
    return shared >= ALIKE * len(union) or (not cut and fewer >= FEW and shared >= HELD * fewer)


def _one_answer(table: OutcomeTable) -> tuple[str, ...]:
    names = np.array(table.datasets)
    told: list[str] = []
    for name in sorted(set(table.datasets)):
        scores = table.scores[names == name]
        spread = [np.ptp(known) for s in scores.T if len(known := s[~np.isnan(s)]) > 1]
        if spread and max(spread) == 0:
            told.append(name)
    return tuple(told)


def _name_tells(table: OutcomeTable, pair: Pair) -> float | None:
    scores = table.scores[:, [pair.weak, pair.strong]]
    known = ~np.isnan(scores).any(axis=1)
    weak, strong = scores[known].T
    names = np.array(table.datasets)[known]
    if len(set(names)) < 2 or weak.mean() == strong.mean():
        return None
    gain = strong - weak
    means = {name: gain[names == name].mean() for name in set(names)}
    of_name, of_oracle = (
        float(apgr(routing_curve(need, weak, strong))[0])
        for need in (np.array([means[n] for n in names], dtype=np.float64), np.asarray(gain, dtype=np.float64))
    )
    return _share(of_name, of_oracle)


def _share(of_name: float, of_oracle: float) -> float | None:
    gain: Floats = np.array([of_name, of_oracle]) - 0.5
    return float(gain[0] / gain[1]) if gain[1] > 0 else None
