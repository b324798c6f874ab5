"""The bill of materials: what it says is in a release, who needs what, and that CycloneDX's own schema takes it."""

import json
import re
import subprocess
import tomllib
from datetime import UTC, datetime
from email.message import Message
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from sbom import CALLED, bill, licence_of, pins
from turnout import __version__

ROOT = Path(__file__).parents[2]
MADE = datetime(2026, 11, 28, tzinfo=UTC)
VALIDATE = """
import sys
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
sys.exit(str(JsonStrictValidator(SchemaVersion.V1_6).validate_str(sys.stdin.read()) or "") or 0)
"""


@pytest.fixture(params=CALLED)
def told(request):
    return request.param, bill(request.param, MADE, None)


def test_every_pinned_release_is_in_it_with_its_hashes_and_a_licence(told):
    which, made = told
    wanted = pins((ROOT / f"requirements/{which}.txt").read_text())
    found = {part["name"]: part for part in made["components"] if part["purl"].startswith("pkg:pypi/")}
    assert found.keys() == wanted.keys()
    for name, (version, hashes) in wanted.items():
        assert found[name]["version"] == version
        assert [row["content"] for row in found[name]["externalReferences"][0]["hashes"]] == hashes
        assert found[name]["licenses"], f"{name} tells no licence"


def test_the_consoles_libraries_are_in_it(told):
    parts = {part["purl"] for part in told[1]["components"] if part["purl"].startswith("pkg:npm/")}
    assert {purl.rpartition("@")[0] for purl in parts} == {"pkg:npm/htm", "pkg:npm/preact"}


def test_who_needs_whom_begins_with_what_pyproject_names_and_leads_nowhere_unknown(told):
    made = told[1]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    rows = {row["ref"]: row.get("dependsOn", []) for row in made["dependencies"]}
    direct = {re.sub(r".*/(.*)@.*", r"\1", ref) for ref in rows[f"pkg:pypi/turnout@{__version__}"]}
    assert {canonicalize_name(Requirement(need).name) for need in project["dependencies"]} <= direct
    known = {part["bom-ref"] for part in made["components"]}
    assert set(rows) - {f"pkg:pypi/turnout@{__version__}"} == known
    assert {ref for needs in rows.values() for ref in needs} <= known


def test_it_is_the_same_whenever_it_is_made_again_and_names_the_wheel_by_its_hash(tmp_path):
    (tmp_path / "a.whl").write_bytes(b"wheel")
    first = bill("base", MADE, tmp_path / "a.whl")
    assert first == bill("base", MADE, tmp_path / "a.whl")
    assert first["serialNumber"] != bill("base", MADE, None)["serialNumber"]
    assert len(first["metadata"]["component"]["hashes"][0]["content"]) == 64


@pytest.mark.parametrize(
    ("headers", "licences"),
    [
        ({"License-Expression": "MIT", "License": "old words"}, [{"expression": "MIT"}]),
        (
            {"Classifier": "License :: OSI Approved :: MIT License", "License": "MIT"},
            [{"license": {"name": "MIT License"}}],
        ),
        ({"Classifier": "Topic :: Internet", "License": "BSD-3-Clause"}, [{"license": {"name": "BSD-3-Clause"}}]),
        ({"License": "The whole text\nof a licence"}, []),
    ],
)
def test_a_licence_is_what_the_release_says_most_exactly(headers, licences):
    metadata = Message()
    for name, value in headers.items():
        metadata[name] = value
    assert licence_of(metadata) == licences


def test_cyclonedx_own_schema_takes_it(told):
    python = ROOT / ".release/bin/python"
    if not python.exists():
        pytest.skip("CycloneDX's schema is not here: `make .release/installed`")
    done = subprocess.run(
        [python, "-c", VALIDATE], input=json.dumps(told[1]), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
