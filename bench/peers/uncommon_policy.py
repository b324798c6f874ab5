"""UncommonRoute (uncommon-route 0.7.21) as a per-step policy on recorded sessions.

Usage: python uncommon_policy.py TRACES_DIR OUT.jsonl
Policy: its proxy's own request path (step type, routing features, ensemble, model pick), no server.
Tiers: its difficulty verdict, SIMPLE -> "small", MEDIUM -> "mid", COMPLEX -> "frontier". An extra
list "served" has the quality of the model picked from its default pool, economy / balanced / premium.
Affinity: the served quality of a session's earlier steps is fed back as its proxy does from traces.
The embedding signal needs BAAI/bge-small-en-v1.5 in the local Hugging Face cache; without it
(offline install) it abstains and the router falls back to its metadata and text-shape signals.
"""

from __future__ import annotations

import json
import logging
import os
import random
import socket
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["UNCOMMON_ROUTE_DATA_DIR"] = tempfile.mkdtemp(prefix="uncommon-")  # else ~/.uncommon-route

Message = dict[str, Any]
TIERS = {"SIMPLE": "small", "MEDIUM": "mid", "COMPLEX": "frontier"}
TIERS |= {"economy": "small", "balanced": "mid", "premium": "frontier"}
TOOL_STEPS = ("tool-selection", "tool-result-followup")


def block_network() -> None:
    """Refuse every connection that leaves the machine."""
    real = socket.socket.connect

    def connect(self: socket.socket, address: Any) -> None:
        if isinstance(address, tuple) and address[0] not in ("127.0.0.1", "::1", "localhost"):
            raise OSError(f"network blocked: {address!r}")
        return real(self, address)

    socket.socket.connect = connect  # type: ignore[assignment, method-assign]


def tool_file(folder: Path) -> Path:
    """The tool definitions: in the folder of the traces, or the one above."""
    return next(p for p in (folder / "tools.json", folder.parent / "tools.json") if p.is_file())


def sessions(folder: Path) -> Iterator[dict[str, Any]]:
    for path in sorted(folder.glob("*.jsonl")):
        yield from (json.loads(line) for line in path.read_text().splitlines())


class Session:
    """One session's view of the proxy: what its trace store would remember between requests."""

    def __init__(self, session_id: str, tools: list[Message]) -> None:
        self.id, self.tools = session_id, tools
        self.last: Any = None  # served quality of the last step
        self.last_tool_step: Any = None  # and of the last step with tools offered or answered

    def decide(self, messages: list[Message]) -> Any:
        from uncommon_route import proxy, route
        from uncommon_route.router.quality import request_capability_lane

        body: Message = {"model": "uncommon-route/auto", "messages": messages, "tools": self.tools}
        prompt, system, limit = proxy._extract_prompt(body)
        kind, names = proxy._classify_step(body)
        features = proxy._extract_routing_features(
            body, step_type=kind, tool_names=names, prompt=prompt, max_output_tokens=limit, session_id=self.id
        )
        features = replace(
            features,
            capability_lane=features.capability_lane or request_capability_lane(features),
            previous_served_quality=self.last,
            continuity_quality_floor=self.last_tool_step if kind == "tool-result-followup" else None,
        )
        decision = route(
            prompt,
            system,
            limit,
            routing_features=features,
            messages=messages,
            context_features=proxy.extract_context_features(body, kind, prompt),
            record_lifecycle=False,
        )
        self.last = decision.served_quality
        if kind in TOOL_STEPS:
            self.last_tool_step = decision.served_quality
        return decision


def main(folder: Path, out: Path) -> None:
    from uncommon_route.router import api

    tools: dict[str, list[Message]] = json.loads(tool_file(folder).read_text())
    random.seed(0)  # its chooser explores at random among models of one quality
    api._ensure_v2_signals()
    active = getattr(api._v2_sig_c, "_embed_fn", None) is not None
    print("embedding signal:", "active" if active else "abstains", file=sys.stderr)
    with out.open("w") as sink:
        for record in sessions(folder):
            session = Session(record["id"], tools.get(record["tools"] or "", []))
            history = list[Message]()
            tiers, served, times = list[str](), list[str](), list[float]()
            for step in record["steps"]:
                history.extend(step["add"])
                start = time.perf_counter()
                decision = session.decide(history)
                times.append((time.perf_counter() - start) * 1000)
                tiers.append(TIERS[decision.tier.value])
                served.append(TIERS[decision.served_quality.value])
                history.append(step["out"])
            row = {"id": record["id"], "tiers": tiers, "served": served}
            sink.write(json.dumps({**row, "decision_ms": round(statistics.median(times), 4)}) + "\n")


if __name__ == "__main__":
    block_network()
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    main(Path(sys.argv[1]), Path(sys.argv[2]))
