"""NVIDIA NeMo Switchyard (nemo-switchyard 0.3.0) as a per-step policy on recorded sessions.

Usage: python switchyard_policy.py TRACES_DIR OUT.jsonl [--variant NAME]
Policy: `stage_router`, tool signals only (no LLM classifier, so no model call is ever made).
Tiers: Switchyard has two: efficient -> "small", capable -> "frontier"; "mid" is never used.
Affinity: one long-lived router and an x-switchyard-session-id per session (it keys the capable hold).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from switchyard.libsy import Step
from switchyard.libsy.algorithms import stage_router

Message = dict[str, Any]
MODELS = {"efficient": ["small"], "capable": ["frontier"], "any": ["frontier", "small"]}
OBSERVE = ("get_", "find_", "list_", "search_", "calculate")


# name: (picker, threshold, adapted); adapted = tool kinds named and "Error..." results flagged is_error
VARIANTS = {
    "default": ("efficient_first", 0.5, False),  # the documented recommendation, as shipped
    "adapted": ("efficient_first", 0.5, True),
    "sensitive": ("efficient_first", 0.3, True),  # one full signal is enough to escalate
    "capable": ("capable_first", 0.3, True),  # picker that upstream calls experimental
}


def block_network() -> None:
    """Refuse every Python connection that leaves the machine (Rust sockets: run under unshare -n)."""
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


def normalised(message: Message, pending: list[str], flag_errors: bool) -> Message:
    """One chat-completions message in Switchyard's form; `pending` pairs results that carry no id."""
    content = message.get("content") or ""
    blocks: list[Message] = [{"type": "text", "text": content}] if content else []
    if message["role"] == "tool":
        call_id = message.get("tool_call_id") or (pending.pop(0) if pending else "")
        failed = True if flag_errors and content.lstrip().lower().startswith("error") else None
        blocks = [{"type": "tool_result", "tool_call_id": call_id, "content": blocks, "is_error": failed}]
        return {"role": "tool", "content": blocks}
    pending.clear()
    for call in message.get("tool_calls") or []:
        name, arguments = call["function"]["name"], json.loads(call["function"]["arguments"])
        blocks.append({"type": "tool_call", "id": call["id"], "name": name, "arguments": arguments})
        pending.append(call["id"])
    return {"role": message["role"], "content": blocks}


def semantics(tools: dict[str, list[dict[str, Any]]]) -> dict[str, list[str]]:
    """Kinds of the support tools; `bash` is built in and may not be named again."""
    names = {t["function"]["name"] for group in tools.values() for t in group} - {"bash", "think"}
    observe = {n for n in names if n.startswith(OBSERVE)}
    return {"observe": sorted(observe), "plan": ["think"], "mutate": sorted(names - observe)}


async def decide(router: Any, request: Message, session_id: str) -> str:
    headers = {"x-switchyard-session-id": session_id}
    async for step in router.run_stream(request, MODELS, headers=headers):
        assert isinstance(step, Step.Done), "offline: no model may be called"
        choice = str(step.outcome.selected_model_ids[0])
    return choice


async def replay(router: Any, session: dict[str, Any], specs: list[Message], flag: bool) -> dict[str, Any]:
    rules, history, pending = list[Message](), list[Message](), list[str]()
    tiers, times = list[str](), list[float]()
    for step in session["steps"]:
        for message in step["add"]:
            (rules if message["role"] == "system" else history).append(normalised(message, pending, flag))
        request = {"instructions": rules, "messages": history, "tools": specs}
        start = time.perf_counter()
        tiers.append(await decide(router, request, session["id"]))
        times.append((time.perf_counter() - start) * 1000)
        history.append(normalised(step["out"], pending, flag))
    return {"id": session["id"], "tiers": tiers, "decision_ms": round(statistics.median(times), 4)}


async def main(folder: Path, out: Path, picker: str, threshold: float, adapted: bool) -> None:
    tools: dict[str, list[dict[str, Any]]] = json.loads(tool_file(folder).read_text())
    specs = {
        key: [{"strict": None, "description": None, **t["function"]} for t in group] for key, group in tools.items()
    }
    kinds = semantics(tools) if adapted else None
    router = stage_router(picker=picker, confidence_threshold=threshold, tool_semantics=kinds)
    with out.open("w") as sink:
        for session in sessions(folder):
            sink.write(json.dumps(await replay(router, session, specs.get(session["tools"], []), adapted)) + "\n")


if __name__ == "__main__":
    cli = argparse.ArgumentParser()
    cli.add_argument("paths", type=Path, nargs=2, metavar="PATH")
    cli.add_argument("--variant", choices=VARIANTS, default="default")
    args = cli.parse_args()
    block_network()
    asyncio.run(main(args.paths[0], args.paths[1], *VARIANTS[args.variant]))
    os._exit(0)  # 0.3.0's runtime thread can abort the interpreter while it shuts down
