"""What became of an answer: how good it was, who says so, and how far that is believed. Pure."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from msgspec import Struct

__all__ = ["TRUST", "Outcome", "Source"]

Source = Literal["feedback", "probe", "tests", "judge", "schema", "escalation", "session", "retry", "refusal", "tool"]
"""Who says so: the caller (`/v1/feedback`), a probe with a known answer, a test run that turned, a judging model, the
schema that was asked for, an escalation that became necessary, the end of a session, a user who asked again in other
words, the model that refused, a tool that took the call."""

TRUST: dict[Source, float] = {
    "feedback": 1.0,
    "probe": 1.0,
    "tests": 0.8,
    "judge": 0.7,
    "schema": 0.6,
    "escalation": 0.6,
    "session": 0.5,
    "retry": 0.4,
    "refusal": 0.3,
    "tool": 0.2,
}
"""What an outcome weighs beside one that a person gave. Assumed, not fitted: no public log has both."""


class Outcome(Struct, frozen=True, kw_only=True):
    """How good the answer of `model` (a deployment's id) to a request was: `score` 0..1, weighing `weight` in what is
    learned. `at` is UTC. `predicted`: the chance of success that was expected, None where nobody predicted.
    `features`: what the predictor saw of the request (`Features.pack`); hashes and counts, no text."""

    request_id: str
    model: str
    score: float
    source: Source
    weight: float
    at: datetime
    owner: str = ""
    mode: str | None = None
    label: str | None = None
    predicted: float | None = None
    features: bytes = b""
