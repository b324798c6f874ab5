"""LiteLLM 1.110.2's complexity router (auto_router/complexity_router) as a per-step policy.

Usage: python litellm_policy.py TRACES_DIR OUT.jsonl [--variant NAME]
Policy: the local, rule-based classifier behind Router's pre-routing hook; no model is called.
Tiers: SIMPLE -> "small", MEDIUM -> "mid", COMPLEX and REASONING -> "frontier".
Affinity: one long-lived Router, every request carries its session's metadata.session_id.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import socket
import statistics
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # before the import: no price list download

Message = dict[str, Any]
TIERS = {"SIMPLE": "small", "MEDIUM": "mid", "COMPLEX": "frontier", "REASONING": "frontier"}
VARIANTS: dict[str, dict[str, Any]] = {
    "affinity": {"session_affinity": True},  # the first turn's model for the whole session
    "user_turn": {"classification_mode": "user_turn"},  # classify each human turn, hold in between
    "every_request": {},  # what a bare config does
    "stall": {"stall_escalation_enabled": True},  # every_request, one tier up on repeated tool calls
    "heuristic_v2": {"classifier_type": "heuristic_v2", "classification_mode": "user_turn"},
}


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


def build_router(options: dict[str, Any]) -> Any:
    from litellm import Router

    def model(name: str) -> dict[str, Any]:
        params = {"model": f"openai/{name}", "api_key": "unused", "api_base": "http://127.0.0.1:9"}
        return {"model_name": name, "litellm_params": params}

    auto = {
        "model": "auto_router/complexity_router",
        "complexity_router_config": {"tiers": TIERS, **options},
        "complexity_router_default_model": "mid",
    }
    names = sorted(set(TIERS.values()))
    return Router(model_list=[*map(model, names), {"model_name": "auto", "litellm_params": auto}])


async def decide(router: Any, messages: list[Message], tools: list[Message], session_id: str) -> str:
    """The pre-routing hook may edit what it is given, so it gets shallow copies."""
    kwargs: dict[str, Any] = {"metadata": {"session_id": session_id}}
    if tools:
        kwargs["tools"] = tools
    reply = await router.async_pre_routing_hook(model="auto", request_kwargs=kwargs, messages=list(messages))
    return str(reply.model)


async def main(folder: Path, out: Path, options: dict[str, Any]) -> None:
    router = build_router(options)
    tools: dict[str, list[Message]] = json.loads(tool_file(folder).read_text())
    with out.open("w") as sink:
        for session in sessions(folder):
            history: list[Message] = []
            tiers: list[str] = []
            times: list[float] = []
            for step in session["steps"]:
                history.extend(step["add"])
                start = time.perf_counter()
                tiers.append(await decide(router, history, tools.get(session["tools"] or "", []), session["id"]))
                times.append((time.perf_counter() - start) * 1000)
                history.append(step["out"])
            row = {"id": session["id"], "tiers": tiers, "decision_ms": round(statistics.median(times), 4)}
            sink.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    cli = argparse.ArgumentParser()
    cli.add_argument("traces", type=Path)
    cli.add_argument("out", type=Path)
    cli.add_argument("--variant", choices=VARIANTS, default="affinity")
    args = cli.parse_args()
    block_network()
    warnings.simplefilter("ignore", DeprecationWarning)
    logging.disable(logging.WARNING)
    asyncio.run(main(args.traces, args.out, VARIANTS[args.variant]))
