"""Rival routers that decide offline, on tables of outcomes: `python bench/peers_outcomes.py FILE [-- OPTION ...]`.

Each peer scores the prompts by its own rules in a throw-away virtual environment (`bench/peers/*_outcomes.py`: how it
is asked); `turnout eval` measures the scores beside the baselines, with the options after `--`.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from peers import HERE, environment

from turnout.learn.outcomes import read_outcomes

PEERS: dict[str, tuple[str, ...]] = {"litellm": ("v1", "v2"), "uncommon": ("",)}
"""Peer -> its variants."""


def scores(peer: str, queries: Path, folder: Path) -> list[str]:
    """Install a peer, let it score, and name the files for `turnout eval --router`."""
    python = environment(peer, folder)
    found: list[str] = []
    for variant in PEERS[peer]:
        name = f"{peer}-{variant}".rstrip("-")
        out = folder / f"{name}.jsonl"
        options = ["--variant", variant] if variant else []
        subprocess.run([python, HERE / f"{peer}_outcomes.py", queries, out, *options], check=True, timeout=1_800)
        found.append(f"{name}={out}")
    return found


def main() -> None:
    file, options = sys.argv[1], sys.argv[3:]
    table = read_outcomes(Path(file))
    with tempfile.TemporaryDirectory() as folder:
        queries = Path(folder) / "queries.jsonl"
        rows = zip(table.datasets, table.query_ids, table.queries, strict=True)
        lines = [json.dumps({"dataset": dataset, "query_id": key, "query": text}) for dataset, key, text in rows]
        queries.write_text("\n".join(lines) + "\n")
        command = [sys.executable, "-m", "turnout.cli", "eval", "--outcomes", file, *options]
        for name in ("random", "length", "zero", "best", "oracle"):
            command += ["--router", name]
        for peer in PEERS:
            for named in scores(peer, queries, Path(folder)):
                command += ["--router", named]
        subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
