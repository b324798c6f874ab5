"""Vectors of prompts, as an option of fitting and evaluation. A plug-in is one file here, loaded where it is named."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from turnout.errors import InvalidRequest

__all__ = ["PLUGINS", "Embeds", "embeds_of"]

PLUGINS = {"wordllama": "turnout.learn.embed.wordllama"}
"""What `--embed` may name, and the module whose `load()` makes it."""


class Embeds(Protocol):
    """What makes vectors of texts. Nothing is fetched."""

    name: str

    def vectors(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """[texts, dimensions], each of length 1, or 0 where there is nothing to say."""
        ...


def embeds_of(name: str) -> Embeds:
    """The plug-in of that name. Raises InvalidRequest: there is none, or what it needs is not installed."""
    if name not in PLUGINS:
        raise InvalidRequest(f"there is no embedding {name!r}; write {' or '.join(PLUGINS)}")
    try:
        return import_module(PLUGINS[name]).load()
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "turnout":
            raise
        raise InvalidRequest(f"{error.name} is not installed; pip install 'turnout[embed]'") from None
