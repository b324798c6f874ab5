"""LiteLLM 1.110.2's complexity router (auto_router/complexity_router) as a score of prompts.

Usage: python litellm_outcomes.py QUERIES.jsonl OUT.jsonl [--variant NAME]
Score: v1 is its heuristic classifier's own weighted sum; v2 is one less the success that its trained table predicts for
the lowest tier. No model is called.
"""

from __future__ import annotations

import argparse
import json
import logging
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from litellm_policy import block_network, build_router  # sets the environment before litellm is imported

VARIANTS: dict[str, dict[str, Any]] = {"v1": {}, "v2": {"classifier_type": "heuristic_v2"}}


def scorer(variant: str) -> Callable[[str], float]:
    """The classifier that its Router holds for the `auto` deployment."""
    classifier = build_router(VARIANTS[variant]).complexity_routers["auto"][0].strategy
    if variant == "v1":
        return lambda text: float(classifier.classify(text)[1])

    def need(text: str) -> float:
        forecast = classifier._classify_with_heuristic_v2(text).heuristic_v2_forecast
        return 1 - float(forecast["probabilities"]["SIMPLE"])

    return need


def main(queries: Path, out: Path, variant: str) -> None:
    score = scorer(variant)
    with out.open("w") as sink:
        for line in queries.read_text().splitlines():
            row = json.loads(line)
            start = time.perf_counter()
            found = score(row.pop("query"))
            took = round((time.perf_counter() - start) * 1000, 4)
            sink.write(json.dumps({**row, "score": found, "decision_ms": took}) + "\n")


if __name__ == "__main__":
    cli = argparse.ArgumentParser()
    cli.add_argument("queries", type=Path)
    cli.add_argument("out", type=Path)
    cli.add_argument("--variant", choices=VARIANTS, default="v1")
    args = cli.parse_args()
    block_network()
    warnings.simplefilter("ignore", DeprecationWarning)
    logging.disable(logging.WARNING)
    main(args.queries, args.out, args.variant)
