"""docs/dependencies.md has every dependency of pyproject.toml, each with its reason, and none that is gone."""

import re
import tomllib
from datetime import UTC, datetime
from pathlib import Path

import pytest
from packaging.version import Version

from dependency_table import DOC, UNSAID, dated, dependencies, row, rows_of, who

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_the_table_has_every_dependency_where_it_is_asked_for_and_no_other():
    rows = rows_of(DOC.read_text())
    found = {name: cells[1].split(", ") for name, cells in rows.items()}
    assert found == dependencies(PROJECT), "run `python tools/dependency_table.py`"


def test_every_dependency_has_a_reason_and_a_licence():
    for name, cells in rows_of(DOC.read_text()).items():
        assert cells[2] not in {"", UNSAID}, f"say in docs/dependencies.md why {name} is needed"
        assert cells[3] not in {"", "not told"}, f"{name} tells no licence"


def test_what_is_pinned_is_what_the_table_says():
    pinned = dict(re.findall(r"^([a-z0-9-]+)==(\S+)", (ROOT / "requirements/dev.txt").read_text(), re.MULTILINE))
    assert {name: cells[4] for name, cells in rows_of(DOC.read_text()).items()} == {
        name: pinned[name] for name in dependencies(PROJECT)
    }, "run `python tools/dependency_table.py`"


def test_releases_count_by_their_first_file_and_only_final_ones_do():
    def files(*times):
        return [{"upload_time_iso_8601": time} for time in times]

    found = dated(
        {
            "1.10": files("2026-03-02T00:00:00Z", "2026-03-01T00:00:00Z"),
            "1.9": files("2026-01-01T00:00:00Z"),
            "2.0rc1": files("2026-05-01T00:00:00Z"),
            "1.8": [],
        }
    )
    assert list(found) == [Version("1.9"), Version("1.10")]
    assert found[Version("1.10")] == datetime(2026, 3, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("told", "name"),
    [
        ({"ownership": {"organization": "python", "roles": [{"user": "a"}, {"user": "b"}]}}, "python, 2 owners"),
        ({"ownership": {"organization": None, "roles": [{"user": "a"}]}}, "1 owner"),
        ({"info": {"maintainer_email": "Ann <ann@example.org>, Bo <bo@example.org>"}}, "Ann, Bo"),
        ({"info": {}}, "not told"),
    ],
)
def test_who_keeps_a_project_is_what_the_index_tells(told, name):
    assert who(told) == name


def test_a_row_tells_what_the_index_says():
    told = {
        "info": {"license_expression": "MIT", "classifiers": []},
        "releases": {"1.0": [{"upload_time_iso_8601": "2020-01-01T00:00:00Z"}]},
        "ownership": {"organization": "us", "roles": []},
        "vulnerabilities": [{"id": "PYSEC-2020-1"}],
    }
    assert row("one", ["base"], "because", "0.9", told) == [
        "one", "base", "because", "MIT", "0.9", "1.0, 2020-01-01", "0", "us", "PYSEC-2020-1",
    ]  # fmt: skip
