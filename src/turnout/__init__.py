"""Turnout: a smart-routing gateway for AI agents."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from turnout.inprocess.gateway import AsyncGateway, Gateway

__all__ = ["AsyncGateway", "Gateway", "__version__"]

__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    """The gateway for use without a server, imported when somebody asks for it: the command needs none of it."""
    if name in {"AsyncGateway", "Gateway"}:
        return getattr(importlib.import_module("turnout.inprocess.gateway"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
