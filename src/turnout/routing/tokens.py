"""How many tokens a request has, told before the call: sampled, cached by message, never downloading anything.

Counts are in tokens of OpenAI's o200k_base over the request's JSON; `calibration.py` makes them a model's own.
Why there is no tokenizer here by default: docs/decisions/0004-token-counts.md.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import itemgetter, mul
from typing import cast

import xxhash
from msgspec import Raw

from turnout.chat import RequestOutline
from turnout.context import Counted, Kind, Parts
from turnout.finding import holds

__all__ = [
    "AUDIO_TOKENS",
    "FILE_TOKENS",
    "IMAGE_TOKENS",
    "WEIGHTS",
    "Measure",
    "TokenCounter",
    "approximate",
    "features",
    "parts_of",
    "sample",
    "without_base64",
]

Measure = Callable[[str], float]
"""Tokens of a text: nearly (`approximate`), or exactly by whatever tokenizer is at hand."""

IMAGE_TOKENS = 1_000
"""Any image. Anthropic bills width x height / 750, at most about 1,600; neither is known without decoding it."""
FILE_TOKENS = 3_000
"""Any attached document: about two pages, by Anthropic's 1,500 to 3,000 tokens a page. A guess; say so."""
AUDIO_TOKENS = 500
"""Any sound: about 50 seconds by OpenAI's 10 tokens a second of input. A guess; say so."""

SLICES = 64
SLICE_BYTES = 256
"""16 KB in all. As many bytes in 16 slices of 1 KB are twice as far off on texts of many kinds, and no quicker."""
_TOKENS, _KIND = itemgetter(0), itemgetter(1)

ONE_BY_ONE = 8
"""So many new messages of a conversation are measured each by itself; more share the mean of all."""


BY_ROLE: Mapping[str, Kind] = {"system": "system", "developer": "system", "tool": "tool_results"}
"""What a message is where its role says so."""


_RESULTS = (b'"tool_result"', b'_call_output"', b'"functionResponse"')
_THOUGHTS = (b'"thinking"', b'"reasoning"')


class TokenCounter:
    """Counts requests, remembering `capacity` messages (about 150 bytes each) by hash: of a conversation that goes
    on, only what is new is measured. One event loop owns a counter: no locks.

    At most 16 KB of the tools, of the system text and of the messages are measured, whatever their size.
    """

    def __init__(self, measure: Measure | None = None, *, capacity: int = 50_000) -> None:
        self._measure = measure or approximate
        self._capacity = capacity
        self._known: OrderedDict[bytes, tuple[float, Kind]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    def count(self, outline: RequestOutline) -> int:
        """Estimated o200k tokens of a request, at least one."""
        return self.counted(outline).total

    def counted(self, outline: RequestOutline) -> Counted:
        """As `count`, in its parts. Hashes every message: once a request is enough (`RequestContext.counted`)."""
        # The prefix holds the tools first, where there are any: `RequestOutline` says so by their size alone.
        split = 1 if outline.tools_bytes and outline.prefix else 0
        tools, system = outline.prefix[:split], outline.prefix[split:]
        keys = tuple(map(xxhash.xxh3_128_digest, map(memoryview, outline.messages)))
        messages = self._looked_up(outline.messages, keys)
        counts = tuple(map(_TOKENS, messages))
        return Counted(
            text=round(self._tokens(system) + sum(counts)),
            tools=round(self._tokens(tools)),
            media=media_tokens(outline),
            messages=counts,
            kinds=tuple(map(_KIND, messages)),
            digests=keys,
            size=outline.messages_bytes,
        )

    def _tokens(self, raws: Sequence[Raw]) -> float:
        """Tokens of all."""
        keys = list(map(xxhash.xxh3_128_digest, map(memoryview, raws)))
        return sum(map(_TOKENS, self._looked_up(raws, keys)))

    def _looked_up(self, raws: Sequence[Raw], keys: Sequence[bytes]) -> list[tuple[float, Kind]]:
        """Tokens of each, and what its beginning says that it is."""
        known = self._known
        if not all(map(known.__contains__, keys)):
            self._learn({key: raw for key, raw in zip(keys, raws, strict=True) if key not in known})
        told = list(map(known.__getitem__, keys))
        if len(known) > self._capacity // 2:  # who is the longest unused matters only once some have to go
            for key in keys:
                known.move_to_end(key)
        while len(known) > self._capacity:
            known.popitem(last=False)
        return told

    def _learn(self, fresh: Mapping[bytes, Raw]) -> None:
        """Measure messages not met before, and remember them."""
        texts = [without_base64(bytes(raw)) for raw in fresh.values()]
        size = sum(map(len, texts))
        if len(texts) <= ONE_BY_ONE and size <= SLICES * SLICE_BYTES:
            counts = [self._measure(_decoded(text)) for text in texts]
        else:
            whole = sample(b"\n".join(texts), self._measure)
            counts = [whole * len(text) / max(1, size) for text in texts]
        for (key, raw), tokens in zip(fresh.items(), counts, strict=True):
            self._known[key] = tokens, _kind(raw)


def parts_of(outline: RequestOutline, counted: Counted, total: int) -> Parts:
    """`total`, what was counted of this request, by what the tokens are. A message is of one kind: a system prompt, a
    tool's result, thinking, or history."""
    sums: dict[Kind, float] = {"system": 0.0, "history": 0.0, "tool_results": 0.0, "reasoning": 0.0}
    kinds = cast("Iterable[Kind]", map(BY_ROLE.get, outline.roles, counted.kinds))
    for kind, tokens in zip(kinds, counted.messages, strict=False):
        sums[kind] += tokens
    # What is left is the prefix that is no tools.
    sums["system"] += max(0.0, total - counted.tools - counted.media - sum(sums.values()))
    return Parts(
        tools=counted.tools,
        attachments=counted.media,
        system=round(sums["system"]),
        history=round(sums["history"]),
        tool_results=round(sums["tool_results"]),
        reasoning=round(sums["reasoning"]),
    )


def media_tokens(outline: RequestOutline) -> int:
    """What attachments are taken for."""
    return outline.images * IMAGE_TOKENS + outline.files * FILE_TOKENS + outline.audio * AUDIO_TOKENS


def _kind(raw: Raw) -> Kind:
    """What a message is by its beginning: the APIs name types there."""
    start = bytes(memoryview(raw)[:400])
    return "tool_results" if holds(start, _RESULTS) else "reasoning" if holds(start, _THOUGHTS) else "history"


def sample(text: bytes, measure: Measure) -> float:
    """Tokens of UTF-8 `text`: measured whole up to 16 KB, else 64 slices of 256 bytes,
    evenly spread, extrapolated by bytes."""
    if len(text) <= SLICES * SLICE_BYTES:
        return measure(_decoded(text))
    step = (len(text) - SLICE_BYTES) / (SLICES - 1)
    slices = [_slice(text, round(n * step)) for n in range(SLICES)]
    seen = sum(map(len, slices))
    # In one go, which is quicker; the line breaks keep words at the seams apart.
    tokens = measure("\n".join(map(_decoded, slices))) - (SLICES - 1) * measure("\n")
    return tokens * len(text) / max(1, seen)


def _slice(text: bytes, start: int) -> bytes:
    """About `SLICE_BYTES` from `start`, its ends moved to the next space where one is near: half words count double."""
    end = start + SLICE_BYTES
    if start:
        start = max(start, text.find(b" ", start, start + 32))
    near = text.find(b" ", end, end + 32)
    return text[start : near if near > 0 else end]


_ESCAPED = re.compile(r"(?:\\u[0-9a-fA-F]{4})+")


def _decoded(text: bytes) -> str:
    """Text, whatever was cut. ASCII-only JSON (`\\u0434`) is told as the letters it stands for."""
    plain = text.decode("utf-8", "ignore")
    return _ESCAPED.sub(_unescape, plain) if "\\u" in plain else plain


def _unescape(match: re.Match[str]) -> str:
    units = bytes.fromhex(match[0].replace("\\u", ""))
    return units.decode("utf-16-be", "ignore")


# ---- Base64 ------------------------------------------------------------------------------------------------

_BASE64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=_-"
_PROBE = 64
_RUN = 256
"""A run of base64 this long is no text: an attachment, a signature, encrypted thinking."""


def without_base64(raw: bytes) -> bytes:
    """`raw` JSON without its long runs of base64.

    Looks at every 192nd byte or later, and at about 2,048 places at most: of a message beyond 400 KB, only longer
    runs are sure to be found.
    """
    kept: list[bytes] = []
    done = at = 0
    stride = max(_RUN - _PROBE, len(raw) // 2_048)
    while at + _PROBE <= len(raw):
        # Nearly all text has a space here, and looking for it is the quickest test.
        space = raw.find(b" ", at, at + _PROBE)
        if space >= 0:
            at = space + 1 + stride
            continue
        if raw[at : at + _PROBE].translate(None, _BASE64):
            at += stride
            continue
        start, end = _run(raw, done, at)
        if end - start >= _RUN:
            kept.append(raw[done:start])
            done = end
        at = max(end, at + _PROBE)
    if not kept:
        return raw
    kept.append(raw[done:])
    return b"".join(kept)


def _run(raw: bytes, floor: int, at: int) -> tuple[int, int]:
    """Where the base64 around `at` begins and ends: at a quote, and in a longer string at what base64 has not."""
    quote = raw.find(b'"', at)
    end = len(raw) if quote < 0 else quote
    for mark in (b" ", b"\\", b","):
        found = raw.find(mark, at, end)
        end = end if found < 0 else found
    begin = max(floor - 1, *(raw.rfind(mark, floor, at) for mark in (b'"', b" ", b"\\", b",")))
    return begin + 1, end


# ---- Without a tokenizer -----------------------------------------------------------------------------------

# o200k_base splits text at words, runs of signs, three digits and line breaks before it merges anything. Where
# those lie is seen without its vocabulary: each byte becomes its class, and counting short runs of classes says
# nearly how many tokens there are. `bytes.count` does that at memory speed; regular expressions took 5 times as long.


def _class_of(byte: int) -> str:
    char = chr(byte)
    if byte < 0x80:
        if char.isalpha():
            return "a" if char.islower() else "A"
        if char.isdigit():
            return "0"
        return " " if char in " \t" else "\n" if char in "\r\n" else "."
    # The first byte of a letter beyond ASCII says which script it is of; the others are left out.
    if byte < 0xE2:
        return "r" if 0xD0 <= byte <= 0xD3 else "l"
    if byte in {0xE2, 0xEF}:
        return "t"
    return "c" if byte < 0xF0 else "e"


_CLASSES = "".join(map(_class_of, range(256))).encode("ascii")
_CONTINUATION = bytes(range(0x80, 0xC0))

WEIGHTS: dict[bytes, float] = {
    # Starts of words, by what stands before; capitals; long words.
    b" a": 0.99,
    b" A": 1.13,
    b".a": 0.92,
    b".A": 1.28,
    b"aA": 2.10,
    b"0a": 0.64,
    b"a0": 0.50,
    b"AA": -0.05,
    b"aaaa": 0.08,
    b"aaaaaaaa": -0.06,
    b"aaaaaaaaaaaa": 0.59,
    # Signs, and how many of them are one token.
    b".": 0.85,
    b"a.": -0.23,
    b" .": 0.42,
    b"..": -0.56,
    b"...": -0.92,
    # Digits, by three.
    b"0": 1.44,
    b"00": -1.40,
    b"000": -1.73,
    b"  ": 0.19,
    b"\n": 0.26,
    # Other scripts.
    b"l": 0.40,
    b"r": 0.27,
    b"t": 1.00,
    b"c": 0.70,
    b"e": 1.50,
}
"""Tokens a run of classes: `a` lower case, `A` upper, `0` digit, `.` sign, space, line break; `l` letters beyond
ASCII, `r` Cyrillic ones, `t` typographic signs, `c` Chinese, Japanese and Korean, `e` emoji. They overlap, so no
weight means much alone. Fitted by `bench/tokens.py --fit`; the last five, of which recordings have too little, to
sentences in ten languages."""


def features(text: str) -> list[int]:
    """How often each run of `WEIGHTS` is in a text."""
    classes = text.encode("utf-8", "replace").translate(_CLASSES, _CONTINUATION)
    return list(map(classes.count, WEIGHTS))


def approximate(text: str) -> float:
    """o200k_base tokens of a text, nearly: by `bench/tokens.py` mostly within 2 %, for odd texts within 10 %."""
    tokens = sum(map(mul, WEIGHTS.values(), features(text)))
    return max(tokens, len(text) / 16)
