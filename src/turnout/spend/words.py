"""The words by which a text is known again, in any language: long ones, names, figures, as hashes. Pure."""

from __future__ import annotations

import re

__all__ = ["MAX_CHARS", "unescaped", "words"]

MAX_CHARS = 32 * 1024
"""Of a longer text so many characters are looked at, in slices evenly spread."""

SLICES = 16

_WORD = re.compile(r"[\w-]+")
_FIGURE = re.compile(r"\d+(?:[.,:]\d+)+")
_ASCII = bytes(
    ord(chr(code).lower()) if code < 128 and (chr(code).isalnum() or chr(code) in "_-") else ord(" ")
    for code in range(256)
)
"""A word is letters, digits and hyphens, a figure has signs within. In ASCII alone a translation finds words, which is
quicker."""

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
    told = _sampled(text)
    found = set(map(hash, _FIGURE.findall(told)))
    if told.isascii():
        runs = set(told.encode().translate(_ASCII).split())
        some = [run for run in runs if len(run) >= LONG or (len(run) >= SHORT and not run.isalpha())]
        found.update(hash(run.strip(b"-") if b"-" in run else run) for run in some)
        return found
    told = told.casefold()
    for word in {run.strip("-") for run in _WORD.findall(told)}:
        if len(word) >= LONG or (len(word) >= SHORT and not word.isalpha()):
            found.add(hash(word.encode("utf-8", "surrogatepass")))
    for script, size in _UNSPACED:
        for run in script.findall(told):
            found.update(hash(run[at : at + size]) for at in range(len(run) - size + 1))
    return found


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
