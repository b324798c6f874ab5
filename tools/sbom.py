"""Write what a release is made of, as CycloneDX 1.6, beside the wheel in dist/: python tools/sbom.py

One for the base install and one for the container, from the pins of `requirements/` and the metadata of the installed
releases, which must be the pinned ones. The same commit gives the same bytes: the number is made from the contents and
the date is the commit's. The packages of the container's operating system are not in it: the base image has its own.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import subprocess
import sys
import tomllib
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from email.message import Message
from importlib.metadata import PackageMetadata, distribution
from pathlib import Path
from typing import Any, cast

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from lock import SERVE_EXTRAS, graph
from turnout import __version__

ROOT = Path(__file__).parent.parent
VENDOR = ROOT / "src/turnout/console/vendor"
EXTRAS: Mapping[str, tuple[str, ...]] = {"base": (), "serve": SERVE_EXTRAS}
"""The list of pins, and the extras that are in it."""

CALLED = {"base": "base", "serve": "container"}
"""The list of pins, and how the file that tells of it is called."""

VENDORED_LICENCES = {"htm": "Apache-2.0", "preact": "MIT"}
OWN = f"pkg:pypi/turnout@{__version__}"

Json = dict[str, Any]


def pins(text: str) -> dict[str, tuple[str, list[str]]]:
    """A list of requirements -> by name, the version and the SHA-256 of each of its files."""
    blocks = re.split(r"\n(?=[a-z0-9])", text)[1:]
    heads = [re.match(r"([a-z0-9-]+)==(\S+)", block) for block in blocks]
    return {
        head[1]: (head[2], re.findall(r"sha256:([0-9a-f]{64})", block))
        for head, block in zip(heads, blocks, strict=True)
        if head
    }


def licence_of(metadata: Message | PackageMetadata) -> list[Json]:
    """What a release says of its licence: an SPDX expression, else the names it is listed under, else its own words."""
    told = cast("Message", metadata)
    if expression := told.get("License-Expression"):
        return [{"expression": expression}]
    prefix = "License :: OSI Approved :: "
    listed = [text.removeprefix(prefix) for text in told.get_all("Classifier", ()) if text.startswith(prefix)]
    names = listed or [text for text in [told.get("License")] if text and "\n" not in text]
    return [{"license": {"name": name}} for name in names]


def component(name: str, version: str, hashes: list[str]) -> Json:
    """A pinned release. Raises `RuntimeError` where another one is installed, whose metadata would tell nothing."""
    installed = distribution(name)
    if installed.version != version:
        raise RuntimeError(
            f"{name} {version} is pinned and {installed.version} installed: `make test` installs the pins"
        )
    purl = f"pkg:pypi/{name}@{version}"
    return {
        "type": "library",
        "bom-ref": purl,
        "name": name,
        "version": version,
        "licenses": licence_of(installed.metadata),
        "purl": purl,
        "externalReferences": [
            {
                "type": "distribution",
                "url": f"https://pypi.org/simple/{name}/",
                "comment": "any one of these files, by the system it is for",
                "hashes": [{"alg": "SHA-256", "content": digest} for digest in hashes],
            }
        ],
    }


def vendored() -> list[Json]:
    """The console's libraries, which are files of the wheel: each says on its first line what it is."""
    found: dict[str, Json] = {}
    for file in sorted(VENDOR.glob("*.mjs")):
        named = re.match(r"/\*! ([a-z]+)@(\S+), see ", file.read_text("utf-8"))
        if named is None:
            raise RuntimeError(f"{file} does not say on its first line what it is: see tools/vendor_console.py")
        purl = f"pkg:npm/{named[1]}@{named[2]}"
        found[purl] = {
            "type": "library",
            "bom-ref": purl,
            "name": named[1],
            "version": named[2],
            "licenses": [{"license": {"id": VENDORED_LICENCES[named[1]]}}],
            "purl": purl,
        }
    return list(found.values())


def edges(project: Json, which: str, known: Mapping[str, str], inside: list[str]) -> list[Json]:
    """Who needs whom, by reference, Turnout first."""
    wanted = [*project["dependencies"]]
    wanted += [need for extra in EXTRAS[which] for need in project["optional-dependencies"][extra]]
    first = {canonicalize_name(Requirement(need).name) for need in wanted}
    rows = [{"ref": OWN, "dependsOn": sorted([*(known[name] for name in first), *inside])}]
    rows += [
        {"ref": known[n], "dependsOn": sorted(known[e] for e in needs)} for n, needs in sorted(graph(wanted).items())
    ]
    return rows + [{"ref": ref} for ref in inside]


def bill(which: str, made: datetime, wheel: Path | None) -> Json:
    """The whole document for one list of pins; with the wheel's hash where there is a wheel."""
    project: Json = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pinned = pins((ROOT / f"requirements/{which}.txt").read_text())
    parts = [component(name, version, hashes) for name, (version, hashes) in sorted(pinned.items())]
    own: Json = {
        "type": "application",
        "bom-ref": OWN,
        "name": "turnout",
        "version": __version__,
        "description": project["description"],
        "licenses": [{"license": {"id": project["license"]}}],
        "purl": OWN,
    }
    if wheel is not None:
        own["hashes"] = [{"alg": "SHA-256", "content": hashlib.sha256(wheel.read_bytes()).hexdigest()}]
    inside = vendored()
    known = {part["name"]: part["bom-ref"] for part in parts}
    told: Json = {
        "metadata": {
            "timestamp": made.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "tools": {"components": [{"type": "application", "name": "tools/sbom.py", "version": __version__}]},
            "component": own,
        },
        "components": parts + inside,
        "dependencies": edges(project, which, known, [part["bom-ref"] for part in inside]),
    }
    number = uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(told, sort_keys=True))
    head = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
    }
    return {**head, "serialNumber": f"urn:uuid:{number}", "version": 1, **told}


def main() -> int:
    parser = argparse.ArgumentParser(description="Write CycloneDX bills of materials for the base and the container.")
    parser.add_argument("--out", type=Path, default=ROOT / "dist", help="folder for the files (default dist/)")
    out: Path = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    stamp = subprocess.run(["git", "log", "-1", "--format=%ct"], cwd=ROOT, capture_output=True, check=True).stdout  # noqa: S607
    made = datetime.fromtimestamp(int(stamp), UTC)
    wheel = next(iter(out.glob(f"turnout-{__version__}-*.whl")), None)
    for which, name in CALLED.items():
        told = bill(which, made, wheel)
        file = out / f"turnout-{__version__}-{name}.cdx.json"
        file.write_text(json.dumps(told, indent=1) + "\n")
        print(f"{file.name}: {len(told['components'])} components")
    return 0


if __name__ == "__main__":
    sys.exit(main())
