"""The words by which a text is known again, in any language: long ones, names, figures, as hashes. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

__all__ = ["MAX_CHARS", "unescaped", "words"]

MAX_CHARS = 32 * 1024
"""Of a longer text so many characters are looked at, in slices evenly spread."""

SLICES = 16

_WORD = re.compile(r"[\w.-]+")
_BREAKS = {code: " " for code in range(128) if not (chr(code).isalnum() or chr(code) in "_.-")}
"""A word is letters, digits and what joins them; of ASCII alone, a translation finds it in a fifth of the time."""

LONG = 8
SHORT = 3
"""Words of so many letters are distinctive; from three on those which are not of letters alone: ids, figures, dates."""

_DENSE = re.compile("[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7a3\uf900-\ufaff\U00020000-\U0003ffff]{4,}")
"""Chinese, Japanese, Korean: a word has one to four letters, and mostly no space after it."""

_MARKED = re.compile("[\u0900-\u109f\u1780-\u17ff]{8,}")
"""Scripts of India and of South-East Asia: vowel signs stand between letters, and several have no spaces."""

_UNSPACED = ((_DENSE, 4), (_MARKED, 8))

_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|.)", re.DOTALL)


def words(text: str) -> set[int]:
    """Hashes of what is distinctive in a text, the same for the same words within one process. Scripts without spaces
    give runs of four letters (eight where vowels are written as signs)."""
    told = _sampled(text).casefold()
    runs = set(told.translate(_BREAKS).split() if told.isascii() else _WORD.findall(told))
    joined = {run for run in runs if "." in run or run[0] == "-" or run[-1] == "-"}
    runs -= joined
    runs.update(word for run in joined for word in _parts(run))
    found = {hash(word) for word in runs if len(word) >= LONG or (len(word) >= SHORT and not word.isalpha())}
    if not told.isascii():
        for script, size in _UNSPACED:
            for run in script.findall(told):
                found.update(hash(run[at : at + size]) for at in range(len(run) - size + 1))
    return found


def _parts(run: str) -> Sequence[str]:
    """A run of letters, digits, hyphens and dots as words: dots stay in figures alone."""
    run = run.strip(".-")
    if run.replace(".", "").isdecimal():
        return (run,)
    return [part.strip("-") for part in run.split(".")]


def unescaped(json: str) -> str:
    """JSON text with its strings' escapes read: `\\n` ends a word and is no letter of the next."""
    return _ESCAPE.sub(_read, json) if "\\" in json else json


def _read(match: re.Match[str]) -> str:
    return chr(int(match[1], 16)) if match[1] else " "


def _sampled(text: str) -> str:
    if len(text) <= MAX_CHARS:
        return text
    size = MAX_CHARS // SLICES
    step = (len(text) - size) // (SLICES - 1)
    return " ".join(text[at * step : at * step + size] for at in range(SLICES))
