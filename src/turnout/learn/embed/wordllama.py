"""WordLlama's static vectors (MIT): the mean of the tokens' vectors. Read from the files of the installed package: its
own loader would look for them in a cache, and then download."""

# An extra that is not among what the tests install.
# pyright: reportMissingImports=false

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from turnout.errors import InvalidRequest
from turnout.routing.features import cut

__all__ = ["WordLlama", "load"]

WEIGHTS = "weights/l2_supercat_256.safetensors"
TOKENIZER = "tokenizers/l2_supercat_tokenizer_config.json"


class WordLlama:
    """256 dimensions. Of a long text, head and tail, as the features see it."""

    name = "wordllama"

    def __init__(self, folder: Path) -> None:
        """`folder`: of the package. Raises InvalidRequest where it holds other files than those known here."""
        from safetensors.numpy import load_file
        from tokenizers import Tokenizer

        weights, tokenizer = folder / WEIGHTS, folder / TOKENIZER
        if not (weights.is_file() and tokenizer.is_file()):
            raise InvalidRequest(f"{folder} has no {WEIGHTS} or {TOKENIZER}; pip install 'turnout[embed]'")
        self._table = load_file(weights)["embedding.weight"]
        self._tokenizer = Tokenizer.from_file(str(tokenizer))
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()

    def vectors(self, texts: Sequence[str]) -> NDArray[np.float64]:
        return np.array([self._vector(cut(text)) for text in texts]).reshape(len(texts), self._table.shape[1])

    def _vector(self, text: str) -> NDArray[np.float64]:
        tokens = self._tokenizer.encode(text, add_special_tokens=False).ids
        if not tokens:
            return np.zeros(self._table.shape[1])
        mean = self._table[tokens].astype(np.float64).mean(axis=0)
        return mean / (float(np.linalg.norm(mean)) or 1.0)


def load() -> WordLlama:
    """The package's own files; the package is not imported. Raises InvalidRequest, ModuleNotFoundError."""
    found = find_spec("wordllama")
    if found is None or found.origin is None:
        raise ModuleNotFoundError("no module named wordllama", name="wordllama")
    return WordLlama(Path(found.origin).parent)
