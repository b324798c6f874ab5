"""Bring the table of docs/dependencies.md up to date: python tools/dependency_table.py

For maintainers, after a change of the dependencies and before a release. Asks pypi.org for what it says of each
dependency that pyproject.toml names. The reasons are written by hand, in the table itself, and stay; a new row has
`WHY?` there until somebody says why, and a test fails until then.
"""

from __future__ import annotations

import json
import re
import sys
import tomllib
import urllib.request
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.message import Message
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from lock import WITHOUT_DEPENDENCIES
from sbom import licence_of, pins

ROOT = Path(__file__).parent.parent
DOC = ROOT / "docs/dependencies.md"
BEGIN, END = "<!-- written by tools/dependency_table.py, but for the reasons -->", "<!-- end -->"
UNSAID = "WHY?"
HEADS = (
    "package",
    "in",
    "why",
    "licence",
    "pinned",
    "newest",
    "releases in 12 months",
    "who",
    "advisories of the newest",
)

Json = dict[str, Any]


def dependencies(project: Mapping[str, Any]) -> dict[str, list[str]]:
    """Every dependency that a user may install, by the extras it is in (`base` where it is in every install)."""
    named = [("base", need) for need in project["dependencies"]]
    named += [(extra, need) for extra, needs in project["optional-dependencies"].items() for need in needs]
    named += [("local", name) for name in WITHOUT_DEPENDENCIES]
    found: dict[str, list[str]] = {}
    for where, need in named:
        found.setdefault(canonicalize_name(Requirement(need).name), []).append(where)
    return found


def rows_of(text: str) -> dict[str, list[str]]:
    """The table's rows as they stand, by package."""
    table = text.partition(BEGIN)[2].partition(END)[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.strip().splitlines()[2:]]
    return {row[0]: row for row in rows}


def asked(name: str) -> Json:
    """What the index says of a project."""
    with urllib.request.urlopen(f"https://pypi.org/pypi/{name}/json", timeout=60) as answer:
        return json.load(answer)


def dated(releases: Mapping[str, Any]) -> dict[Version, datetime]:
    """Final releases by the time of their first file."""
    found = {
        Version(text): min(datetime.fromisoformat(file["upload_time_iso_8601"]) for file in files)
        for text, files in releases.items()
        if files and re.fullmatch(r"[0-9][0-9.]*(\.post[0-9]+)?", text)
    }
    return {version: found[version] for version in sorted(found)}


def who(told: Json) -> str:
    """Who the index says keeps a project: its organisation and how many people, else whom its metadata names."""
    owners: Json = told.get("ownership") or {}
    people = len({role["user"] for role in owners.get("roles", ())})
    parts = [owners.get("organization") or "", {0: "", 1: "1 owner"}.get(people, f"{people} owners")]
    if any(parts):
        return ", ".join(part for part in parts if part)
    info: Json = told["info"]
    for field in ("maintainer", "maintainer_email", "author", "author_email"):
        if info.get(field):
            return re.sub(r"\s*<[^>]*>", "", info[field]).replace("|", "/").replace('"', "")
    return "not told"


def row(name: str, where: Iterable[str], why: str, pinned: str, told: Json) -> list[str]:
    """One dependency, as it stands today."""
    releases = dated(told["releases"])
    newest = max(releases)
    year = datetime.now(UTC) - timedelta(days=365)
    metadata = Message()
    for field, header in (("license_expression", "License-Expression"), ("license", "License")):
        if told["info"].get(field):
            metadata[header] = told["info"][field]
    for text in told["info"]["classifiers"]:
        metadata["Classifier"] = text
    licences = licence_of(metadata) or licence_of(distribution(name).metadata)
    names = [licence.get("expression") or licence["license"]["name"] for licence in licences]
    return [
        name,
        ", ".join(where),
        why,
        "; ".join(names) or "not told",
        pinned,
        f"{newest}, {releases[newest]:%Y-%m-%d}",
        str(sum(made > year for made in releases.values())),
        who(told),
        ", ".join(found["id"] for found in told.get("vulnerabilities") or ()) or "none",
    ]


def main() -> int:
    project: Json = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    text = DOC.read_text()
    before = rows_of(text)
    wanted = dependencies(project)
    pinned = pins((ROOT / "requirements/dev.txt").read_text())
    with ThreadPoolExecutor(4) as pool:
        told = dict(zip(wanted, pool.map(asked, wanted), strict=True))
    rows = [
        row(name, where, before.get(name, ["", "", UNSAID])[2], pinned[name][0], told[name])
        for name, where in wanted.items()
    ]
    lines = ["| " + " | ".join(cells) + " |" for cells in [HEADS, ["---"] * len(HEADS), *rows]]
    head, _, rest = text.partition(BEGIN)
    DOC.write_text(f"{head}{BEGIN}\n\n" + "\n".join(lines) + f"\n\n{END}{rest.partition(END)[2]}")
    unsaid = [cells[0] for cells in rows if cells[2] == UNSAID]
    print(f"{len(rows)} dependencies" + (f"; say why in {DOC.name}: {', '.join(unsaid)}" if unsaid else ""))
    return 0


if __name__ == "__main__":
    sys.exit(main())
