"""Vectors from hashed words: no model, no network. Enough for "the same in another order".

[answers]
enabled = true
[answers.semantic]
plugin = "hashed"
threshold = 0.9
options = { length = 512 }
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from zlib import crc32

from turnout.plugins import API, ConfigError, Embed, EmbeddingPlugin, EmbeddingSetup

WORDS = re.compile(r"\w+")


def make(setup: EmbeddingSetup) -> Embed:
    length = setup.options.get("length", 512)
    if not isinstance(length, int) or not 16 <= length <= 65_536:
        raise ConfigError(f"answers.semantic.options.length = {length!r}: must be a whole number from 16 to 65,536")

    async def embed(text: str) -> Sequence[float]:
        vector = [0.0] * length
        for word in WORDS.findall(text.lower()):
            vector[crc32(word.encode()) % length] += 1.0
        return vector

    return embed


PLUGIN = EmbeddingPlugin(api=API, make=make)
