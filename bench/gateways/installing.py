"""A peer into a virtual environment (or npm folder) of its own, pinned; kept until `make clean`."""

from __future__ import annotations

import shutil
import subprocess
import sys
import venv
from pathlib import Path

from msgspec import Struct

from gateways.peers import Peer

__all__ = ["Home", "installed"]

PATIENCE_S = 900


class Home(Struct, frozen=True, kw_only=True):
    """Where a peer is, and what version of it."""

    folder: Path
    binary: str
    version: str


def installed(peer: Peer, folder: Path) -> Home | str:
    """Where `peer` is, installed if it was not; or why it could not be."""
    home = folder / peer.name.lower()
    wanted = peer.npm or peer.packages
    if peer.machine and (there := shutil.which(peer.machine)):
        return Home(folder=home, binary=there, version="of this machine")
    told = home / "installed"
    if not told.exists() or told.read_text() != " ".join(wanted):
        shutil.rmtree(home, ignore_errors=True)
        if why := _install(peer, home):
            return why
        told.write_text(" ".join(wanted))
    found = [str(path) for path in sorted(home.glob(peer.binary))] if peer.binary else [""]
    if not found:
        return f"{' '.join(wanted)} has no {peer.binary}"
    return Home(folder=home, binary=found[0], version=" ".join(wanted).rpartition("=")[2].rpartition("@")[2])


def _install(peer: Peer, home: Path) -> str:
    """Why it cannot be installed, or nothing."""
    print(f"installing {peer.name} ...", file=sys.stderr, flush=True)
    if peer.npm:
        if shutil.which("npm") is None:
            return "npm is not on this machine"
        home.mkdir(parents=True)
        command = ["npm", "install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(home)]
    else:
        venv.create(home, with_pip=True)
        command = [str(home / "bin/python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        command.append("--only-binary=:all:")
    try:
        done = subprocess.run(
            [*command, *(peer.npm or peer.packages)], capture_output=True, text=True, timeout=PATIENCE_S, check=False
        )
    except subprocess.TimeoutExpired:
        return f"not installed after {PATIENCE_S} s"
    if done.returncode == 0:
        return ""
    said = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
    return next((line for line in reversed(said) if "error" in line.lower()), "no reason was told").strip()[:200]
