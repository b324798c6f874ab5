"""Rival routers on the same sessions: `python bench/peers.py TRACES [PEER ...]`, in throw-away virtual environments.

Each peer decides offline, by its own rules, which tier answers each step (`bench/peers/`: how each is asked, and how
its tiers are mapped); `turnout replay` prices the decisions beside our policies. Peers: switchyard, litellm, uncommon.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import venv
from pathlib import Path

HERE = Path(__file__).parent / "peers"

PEERS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    # What to install (pinned: the adapters use what a release has inside), and the variants to run.
    "switchyard": (("nemo-switchyard==0.3.0",), ("default", "adapted", "sensitive")),
    "litellm": (("litellm==1.110.2",), ("affinity", "every_request")),
    # Without torch: its embedding model is not to be had offline, so that signal abstains either way.
    "uncommon": (("--no-deps", "uncommon-route==0.7.21"), ("",)),
}
PAIRS = (
    "anthropic/claude-opus-5:anthropic/claude-sonnet-5:anthropic/claude-haiku-4-5",
    "openai/gpt-5.5:openai/gpt-5-mini:openai/gpt-5-nano",
)

EXTRA = {"uncommon": ("httpx", "uvicorn", "starlette", "numpy")}


def environment(peer: str, folder: Path) -> Path:
    """Install a peer into a virtual environment of its own; the Python that has it."""
    told, _ = PEERS[peer]
    venv.create(folder / peer, with_pip=True)
    python = folder / peer / "bin" / "python"
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, *told], check=True)
    if peer in EXTRA:
        subprocess.run([*pip, *EXTRA[peer]], check=True)
    return python


def decisions(peer: str, traces: Path, folder: Path) -> list[str]:
    """Let a peer decide, and name the files for `turnout replay --decisions`."""
    python = environment(peer, folder)
    _, variants = PEERS[peer]
    found: list[str] = []
    for variant in variants:
        name = f"{peer}-{variant}".rstrip("-")
        out = folder / f"{name}.jsonl"
        options = ["--variant", variant] if variant else []
        subprocess.run([python, HERE / f"{peer}_policy.py", traces, out, *options], check=True, timeout=1_800)
        found.append(f"{name}={out}")
    return found


def main() -> None:
    traces, peers = Path(sys.argv[1]), sys.argv[2:] or list(PEERS)
    with tempfile.TemporaryDirectory() as folder:
        told = [name for peer in peers for name in decisions(peer, traces, Path(folder))]
        command = [sys.executable, "-m", "turnout.cli", "replay", str(traces)]
        for name in told:
            command += ["--decisions", name]
        for pair in PAIRS:
            command += ["--pair", pair]
        subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
