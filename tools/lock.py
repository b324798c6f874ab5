"""Write constraints.txt from what is installed, each release with the hashes of its files: python tools/lock.py

For maintainers, after a change of the dependencies. Asks pypi.org for the hashes, as pip itself would (PEP 691). pip
refuses a file with another hash, wherever it comes from: a release exchanged under its number cannot slip in.
"""

from __future__ import annotations

import json
import re
import sys
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import distributions
from pathlib import Path

FILE = Path(__file__).parent.parent / "constraints.txt"
SKIPPED = frozenset({"turnout", "pip", "setuptools", "wheel"})
SIMPLE = "application/vnd.pypi.simple.v1+json"


def normal(name: str) -> str:
    """A project's name as indexes write it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def hashes(name: str, version: str) -> list[str]:
    """SHA-256 of every file of a release."""
    request = urllib.request.Request(f"https://pypi.org/simple/{name}/", headers={"accept": SIMPLE})
    with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 (a fixed https address)
        files = json.load(answer)["files"]
    # A file's name begins with the project's, in any spelling, and its version; what follows is `-` or `.tar.gz`.
    project = "[-_.]+".join(map(re.escape, name.split("-")))
    wanted = re.compile(rf"{project}-{re.escape(version)}(-|\.tar\.gz$|\.zip$)", re.IGNORECASE)
    return sorted({file["hashes"]["sha256"] for file in files if wanted.match(file["filename"])})


def main() -> int:
    pins = sorted({(normal(d.name), d.version) for d in distributions() if normal(d.name) not in SKIPPED})
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda pin: hashes(*pin), pins))
    lines = ["# Written by tools/lock.py. What is installed here, and the hashes of its files."]
    for (name, version), digests in zip(pins, found, strict=True):
        if not digests:
            print(f"{name} {version}: no file of it is known to the index", file=sys.stderr)
            return 1
        lines.append(" \\\n    ".join([f"{name}=={version}", *(f"--hash=sha256:{digest}" for digest in digests)]))
    FILE.write_text("\n".join(lines) + "\n")
    print(f"{len(pins)} releases, {sum(map(len, found))} hashes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
