"""Which of the requests that are kept read most like a new one, by the cosine of hashed words. Pure Python, exact.

Not one number a request but one a bucket is kept, with a bit for each request that has it. The buckets of a new request
are then counted for all requests at once, in binary: the numbers of a column are added by full adders on whole columns
(carry-save, as in Harley and Seal's count of bits: Warren, Hacker's Delight, 5-1), a few hundred operations on numbers
of some 2,500 bits, however many words the kept requests have. So are the counts compared, with bars that stand for
cosines.
"""

from __future__ import annotations

import math
from array import array
from collections import defaultdict
from collections.abc import Iterable, Sequence, Sized
from functools import cache
from itertools import repeat, zip_longest
from operator import and_

__all__ = ["FOLDED", "Neighbours"]

FOLDED = 2_048
"""Buckets that those of a request are folded into where it is compared; a power of two."""

_DIGITS = 11
"""Of a bar in binary: the highest is `_BARS[-1]` times the square root of `FOLDED`."""

_BARS = tuple(0.1 * 1.15**step for step in range(40))
"""Cosines (times the length of the new request) that the nearest are looked for above, 0.1 to 23."""


class Neighbours:
    """The requests that are compared with, by number. Memory: some 600 bytes each."""

    def __init__(self, kept: Iterable[Sequence[int]] = ()) -> None:
        """`kept`: buckets of each request."""
        self._rows = [_folded(buckets) for buckets in kept]
        self._lengths = [_length(row) for row in self._rows]
        columns = [bytearray(len(self._rows) // 8 + 1) for _ in range(FOLDED)]
        # Requests that the bars do not have yet, or have still, by how many buckets they have.
        self._turned: dict[int, int] = defaultdict(int)
        for number, row in enumerate(self._rows):
            byte, bit = number >> 3, 1 << (number & 7)
            for bucket in row:
                columns[bucket][byte] |= bit
            self._turned[len(row)] |= 1 << number
        self._columns = [int.from_bytes(column, "little") for column in columns]
        # How many buckets each request must share to be above each bar, in binary: the lowest digits of all first, of
        # one bar after the other.
        self._bars = [0] * (_DIGITS * len(_BARS))

    def __len__(self) -> int:
        return len(self._rows)

    def put(self, number: int, buckets: Sequence[int]) -> None:
        """In place of the request of that number, or as the next one."""
        row, bit = _folded(buckets), 1 << number
        changed: Iterable[int] = row
        if number < len(self._rows):
            before = self._rows[number]
            changed = set(row).symmetric_difference(before)
            self._turned[len(before)] ^= bit
            self._rows[number], self._lengths[number] = row, _length(row)
        else:
            self._rows.append(row)
            self._lengths.append(_length(row))
        columns = self._columns
        for bucket in changed:
            columns[bucket] ^= bit
        self._turned[len(row)] ^= bit

    def near(self, buckets: Sequence[int], count: int) -> list[tuple[int, float]]:
        """The numbers of the `count` nearest, in their order, and the cosine of each; of those that are equally near,
        the highest numbers."""
        self._raise_bars()
        size, mine = len(self._rows), _places(buckets)
        digits = _added(list(map(self._columns.__getitem__, mine)))
        above = f"{self._above(digits, count):0{size}b}"[::-1]  # the lowest bit first
        low, high = _bytes(digits[:8], size), _bytes(digits[8:], size)
        lengths, length = self._lengths, _length(mine)
        found: list[tuple[float, int]] = []
        number = above.find("1")
        while number >= 0:
            shared = low[number] | high[number] << 8 if high else low[number]
            found.append((shared / lengths[number], number))
            number = above.find("1", number + 1)
        found = sorted(found)[-count:] if count else []
        near = sorted([(number, cosine / length) for cosine, number in found])
        if len(near) < count:
            alike = {number for number, _ in near}
            others = [number for number in range(size) if number not in alike]
            near = sorted([*near, *((number, 0.0) for number in others[len(near) - count :])])
        return near

    def _raise_bars(self) -> None:
        """For what was put since: all of one size at once, and only once somebody asks."""
        bars = self._bars
        for size, bits in self._turned.items():
            for place in _heights(size):
                bars[place] ^= bits
        self._turned.clear()

    def _above(self, digits: Sequence[int], count: int) -> int:
        """A bit for each request above the highest bar that `count` are above, the nearest among them; for each that
        shares any bucket where there is none."""
        best, low, high = 0, 0, len(_BARS)
        every = (1 << len(self._rows)) - 1
        while low < high:
            middle = (low + high) // 2
            above = _at_least(digits, self._bars[middle * _DIGITS : (middle + 1) * _DIGITS], every)
            if above.bit_count() >= count:
                best, low = above, middle + 1
            else:
                high = middle
        if not low:
            for digit in digits:
                best |= digit
        return best


def _folded(buckets: Sequence[int]) -> array[int]:
    return array("H", list(_places(buckets)))


def _places(buckets: Iterable[int]) -> set[int]:
    """`FOLDED` is a power of two: the lowest bits are the rest of a division by it."""
    return set(map(and_, buckets, repeat(FOLDED - 1)))


def _length(row: Sized) -> float:
    """Of the vector; 1 where there are no words."""
    return math.sqrt(len(row)) or 1.0


@cache
def _heights(size: int) -> tuple[int, ...]:
    """How many buckets must be shared with a request of `size` buckets to be above each bar, one at least: where the
    binary ones are among the digits of all bars."""
    needed = [max(1, math.ceil(bar * _length(range(size)))) for bar in _BARS]
    return tuple(bar * _DIGITS + place for bar, n in enumerate(needed) for place in range(_DIGITS) if n >> place & 1)


def _added(columns: Sequence[int]) -> list[int]:
    """How many of the columns have a bit, for each bit, in binary: the lowest digits of all, then the next."""
    digits: list[int] = []
    while columns:
        carried: list[int] = []
        rest = iter(columns)
        total = next(rest)
        for one, other in zip_longest(rest, rest, fillvalue=0):
            both = total ^ one
            carried.append(total & one | both & other)
            total = both ^ other
        digits.append(total)
        columns = carried
    return digits


def _at_least(digits: Sequence[int], others: Sequence[int], every: int) -> int:
    """Those of the bits `every` where the number is not below the one of `others`: the highest digit that differs
    tells."""
    told = every
    for mine, other in zip_longest(digits, others, fillvalue=0):
        told ^= (mine ^ other) & (told ^ mine)
    return told


def _bytes(digits: Sequence[int], size: int) -> bytes:
    """Numbers of up to eight digits, a byte each, none where there are no digits: a digit's "0" and "1" in ASCII differ
    in the lowest bit."""
    if not digits:
        return b""
    ones = int.from_bytes(b"\1" * size, "little")
    total = 0
    for place, digit in enumerate(digits):
        total |= (int.from_bytes(f"{digit:b}".encode(), "big") & ones) << place
    return total.to_bytes(size, "little")
