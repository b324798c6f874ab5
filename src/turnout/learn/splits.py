"""What is learned from and what is tested on: by the hash of a query's text, so that no text is on both sides. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xxhash
from msgspec import Struct

from turnout.errors import InvalidRequest
from turnout.learn.outcomes import OutcomeTable, Rows

__all__ = ["Part", "by_dataset", "folds", "labelled", "normal_text"]


class Part(Struct, frozen=True, kw_only=True, eq=False):
    """Rows to learn from and rows to test on."""

    train: Rows
    test: Rows


def normal_text(text: str) -> str:
    """Letters and digits in lower case, the rest as single spaces: what is the same prompt but for its dress."""
    return " ".join("".join(c if c.isalnum() else " " for c in text.casefold()).split())


def labelled(table: OutcomeTable, labels: int, draws: int, seed: int) -> list[Part]:
    """`draws` times: learn from `labels` queries, chosen by the hash of their text, and test on the rest (what has
    the text of a labelled query is on neither side). Raises InvalidRequest where too few would be left."""
    if not 0 < labels <= len(table) // 2:
        raise InvalidRequest(
            f"--labels {labels}: {table.name} has {len(table)} queries; ask for 1 to {len(table) // 2}"
        )
    parts: list[Part] = []
    for draw in range(draws):
        hashes = _hashes(table.queries, seed + draw)
        order = np.argsort(hashes, kind="stable")
        train = order[:labels]
        parts.append(Part(train=np.sort(train), test=np.flatnonzero(~np.isin(hashes, hashes[train]))))
    return parts


def folds(table: OutcomeTable, number: int, seed: int) -> list[Part]:
    """Each query tested once, by what was learned from the other folds. Raises InvalidRequest for fewer than two
    folds, or more than there are queries for."""
    if number < 2 or number > len(table) // 2:
        raise InvalidRequest(
            f"--folds {number}: for the {len(table)} queries of {table.name} write 2 to {len(table) // 2}"
        )
    _, texts = np.unique(_hashes(table.queries, seed), return_inverse=True)
    fold = texts % number
    return [Part(train=np.flatnonzero(fold != k), test=np.flatnonzero(fold == k)) for k in range(number)]


def by_dataset(table: OutcomeTable) -> list[Part]:
    """Each dataset tested by what was learned from the others (without texts that it has too). Raises InvalidRequest
    where there is but one."""
    names = np.array(table.datasets)
    found = sorted(set(table.datasets))
    if len(found) < 2:
        raise InvalidRequest(f"--by-dataset: {table.name} has one dataset only, {found[0]}")
    hashes = _hashes(table.queries, 0)
    parts: list[Part] = []
    for name in found:
        held = names == name
        train = np.flatnonzero(~held & ~np.isin(hashes, hashes[held]))
        parts.append(Part(train=train, test=np.flatnonzero(held)))
    return parts


def _hashes(queries: Sequence[str], seed: int) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
    told = [xxhash.xxh3_64_intdigest(normal_text(q).encode(), seed=seed) for q in queries]
    return np.array(told, dtype=np.uint64)
