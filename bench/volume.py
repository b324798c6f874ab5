"""What recorded agent sessions send, by part, and what counting it costs: python bench/volume.py FILE.jsonl ..."""

from __future__ import annotations

import sys
import time
from collections import Counter
from pathlib import Path

import msgspec

from turnout.context import Parts
from turnout.dialects import DIALECTS
from turnout.lab.sessions import read_sessions, requests_of
from turnout.routing.calibration import TokenEstimator
from turnout.spend.brakes import AgentRun


def main() -> None:
    dialect, tokens = DIALECTS["openai-chat"], TokenEstimator()
    for name in sys.argv[1:]:
        sums: Counter[str] = Counter()
        total = repeated = steps = 0
        spent_s = 0.0
        for session in read_sessions(Path(name)):
            agent = AgentRun()
            for recorded in requests_of(session):
                body = msgspec.json.encode({"model": "m", "messages": recorded.messages, "tools": recorded.tools or []})
                outline = dialect.outline(body)
                estimate = tokens.estimate(outline)
                begun = time.perf_counter()
                before, seen = agent.tokens, agent.seen
                start = agent.unseen(len(outline.messages), seen)  # recordings only grow
                parts = tokens.parts(outline, estimate)
                spent_s += time.perf_counter() - begun
                agent.tokens = estimate
                repeated += before if start == seen else min(before, parts.system + parts.tools)
                total, steps = total + estimate, steps + 1
                sums.update({part: getattr(parts, part) for part in Parts.__struct_fields__})
        shares = ", ".join(f"{part} {count / max(1, total):.0%}" for part, count in sums.items() if count)
        print(f"{Path(name).stem}: {steps} requests, {total:,} tokens (estimated): {shares}")
        print(
            f"  repeats the step before: {repeated / max(1, total):.1%}; "
            f"parts in {spent_s / max(1, steps) * 1e6:.0f} us"
        )


if __name__ == "__main__":
    main()
