"""UncommonRoute (uncommon-route 0.7.21) as a score of prompts.

Usage: python uncommon_outcomes.py QUERIES.jsonl OUT.jsonl
Score: the complexity of its decision, by its proxy's own request path (see uncommon_policy.py: without its embedding
model, which is not to be had offline, that signal abstains). Each prompt is a session of its own.
"""

from __future__ import annotations

import json
import logging
import random
import sys
import time
import warnings
from pathlib import Path

from uncommon_policy import Session, block_network


def main(queries: Path, out: Path) -> None:
    from uncommon_route.router import api

    random.seed(0)  # its chooser explores at random among models of one quality
    api._ensure_v2_signals()
    with out.open("w") as sink:
        for number, line in enumerate(queries.read_text().splitlines()):
            row = json.loads(line)
            messages = [{"role": "user", "content": row.pop("query")}]
            start = time.perf_counter()
            decision = Session(str(number), []).decide(messages)
            took = round((time.perf_counter() - start) * 1000, 4)
            sink.write(json.dumps({**row, "score": decision.complexity, "decision_ms": took}) + "\n")


if __name__ == "__main__":
    block_network()
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    main(Path(sys.argv[1]), Path(sys.argv[2]))
