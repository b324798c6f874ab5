"""An exact o200k_base tokenizer: the yardstick for estimates. The gateway itself has none (docs/decisions/0004)."""

from __future__ import annotations

import importlib
from typing import Any

from turnout.routing.tokens import Measure

__all__ = ["load_o200k"]


def load_o200k() -> Measure:
    """Exact counts by `splintr-rs`, whose wheel holds the vocabulary: some 45 MB and 0.2 s.

    Raises ModuleNotFoundError where it is not installed.
    """
    splintr: Any = importlib.import_module("splintr")
    tokenizer: Any = splintr.Tokenizer.from_pretrained("o200k_base")
    tokenizer.encode("Привет, 世界 " * 20)  # the first text beyond ASCII compiles its patterns, half of the time
    tokenizer.clear_cache()

    def measure(text: str) -> float:
        return len(tokenizer.encode(text))

    return measure
