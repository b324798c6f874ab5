"""What may be given out: the wheel holds the committed package and nothing else, and one version stands everywhere."""

import re
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml

from build_release import ABOUT, CONSOLE_LICENCES, NotBuilt, contents, must_be_same, unpack, wheel_faults
from test_pythons import WANTED, claimed
from turnout import __version__

ROOT = Path(__file__).parents[2]
TREE = dict.fromkeys(("turnout/__init__.py", "turnout/py.typed", *CONSOLE_LICENCES), b"")
WHEEL = TREE | {f"turnout-1.2.3.dist-info/{name}": b"" for name in ABOUT}


def test_a_wheel_of_the_tree_and_its_dist_info_has_no_fault():
    assert wheel_faults(WHEEL, TREE, "1.2.3") == []


@pytest.mark.parametrize(
    ("changed", "fault"),
    [
        ({"tests/test_one.py": b""}, "tests/test_one.py has no business in a wheel"),
        ({"turnout/notes.txt": b""}, "turnout/notes.txt has no business in a wheel"),
        ({"turnout/__init__.py": b"x"}, "turnout/__init__.py is not as committed"),
        (
            {"turnout-1.2.3.dist-info/top_level.txt": b""},
            "turnout-1.2.3.dist-info/top_level.txt has no business in a wheel",
        ),
    ],
)
def test_what_does_not_belong_is_named(changed, fault):
    assert wheel_faults(WHEEL | changed, TREE, "1.2.3") == [fault]


@pytest.mark.parametrize("name", [name for name in WHEEL if not name.startswith("turnout/")])
def test_what_is_missing_is_named(name):
    held = {key: body for key, body in WHEEL.items() if key != name}
    assert wheel_faults(held, TREE, "1.2.3") == [f"{name} is missing"]


def test_a_package_without_its_typed_marker_or_its_licences_is_no_release_even_where_git_has_none():
    bare = {name: body for name, body in WHEEL.items() if name not in {"turnout/py.typed", *CONSOLE_LICENCES}}
    tree = {"turnout/__init__.py": b""}
    assert wheel_faults(bare, tree, "1.2.3") == [
        f"{name} is missing" for name in ("turnout/py.typed", *CONSOLE_LICENCES)
    ]


def test_two_files_that_differ_by_a_byte_are_not_the_same(tmp_path):
    (tmp_path / "a.whl").write_bytes(b"one")
    (tmp_path / "b.whl").write_bytes(b"onf")
    must_be_same("the wheel", tmp_path / "a.whl", tmp_path / "a.whl")
    with pytest.raises(NotBuilt, match=r"the wheel differs: compare .*a\.whl with .*b\.whl"):
        must_be_same("the wheel", tmp_path / "a.whl", tmp_path / "b.whl")


def test_archives_are_read_as_what_is_in_them(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.whl", "w") as wheel:
        wheel.writestr("turnout/py.typed", "")
    assert contents(tmp_path / "a.whl") == {"turnout/py.typed": b""}
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as sdist:
        sdist.add(ROOT / "LICENSE", "turnout-1.2.3/LICENSE")
    assert (unpack(tmp_path / "a.tar.gz", tmp_path / "out") / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()


def test_one_version_stands_everywhere():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["project"]["dynamic"] == ["version"]
    assert project["tool"]["hatch"]["version"]["path"] == "src/turnout/__init__.py"
    chart = yaml.safe_load((ROOT / "deploy/helm/turnout/Chart.yaml").read_text())
    assert (chart["version"], chart["appVersion"]) == (__version__, __version__)
    container = (ROOT / "deploy/container/Containerfile").read_text()
    assert re.findall(r"^ARG VERSION=(\S+)$", container, re.MULTILINE) == [__version__]


def test_the_changelog_is_in_its_form_and_knows_the_version():
    text = (ROOT / "CHANGELOG.md").read_text()
    heads = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert heads[0] == "[Unreleased]"
    assert all(re.fullmatch(r"\[\d+\.\d+\.\d+\] - \d{4}-\d\d-\d\d", head) for head in heads[1:])
    if heads[1:]:
        assert heads[1].startswith(f"[{__version__}]"), "the last released version is not what `__version__` says"
    kinds = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    assert set(re.findall(r"^### (.*)$", text, re.MULTILINE)) <= kinds


def test_every_python_that_is_claimed_is_one_that_is_tested():
    assert set(claimed((ROOT / "pyproject.toml").read_text())) <= set(WANTED)


def test_what_is_installed_elsewhere_is_pinned_as_the_tests_ran_it():
    dev = (ROOT / "requirements/dev.txt").read_text()
    for name in ("base", "build", "demo", "serve"):
        for block in re.split(r"\n(?=[a-z0-9])", (ROOT / f"requirements/{name}.txt").read_text())[1:]:
            assert block.rstrip("\n") in dev
            assert "--hash=sha256:" in block
