"""The command as its user runs it: a process in a folder, with an environment of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def turnout(*args: str, folder: Path, stdin: str = "", **env: str) -> subprocess.CompletedProcess[str]:
    """What `turnout ARGS` did. Nothing of the tester's environment is seen but where programs are."""
    passed = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
    return subprocess.run(
        [sys.executable, "-m", "turnout.cli", *args],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=folder,
        env={"HOME": str(folder), **passed, **env},
    )
