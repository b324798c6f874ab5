"""`turnout audit` as its user runs it: a process, its output and its exit status."""

import json
from importlib.resources import files
from pathlib import Path

from support.command import turnout

SESSIONS = str(files("turnout.lab") / "data")


def audit(*arguments, home):
    return turnout("audit", *arguments, folder=home)


def test_a_report_for_people(tmp_path: Path):
    done = audit(SESSIONS, home=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "at list price" in done.stdout
    assert "Findings" in done.stdout
    assert done.stderr == ""


def test_a_report_for_programs(tmp_path: Path):
    done = audit(SESSIONS, "--json", home=tmp_path)
    report = json.loads(done.stdout)
    assert report["schema"] == "turnout.audit/1"
    assert report["totals"]["calls"] == sum(source["steps"] for source in report["sources"]) > 0


def test_a_config_that_carries_it_out(tmp_path: Path):
    done = audit(SESSIONS, "--recommend", home=tmp_path)
    assert "[routing]" in done.stdout


def test_nothing_in_the_usual_places(tmp_path: Path):
    done = audit(home=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("turnout audit: no agent's logs are in their usual places")


def test_a_folder_without_logs(tmp_path: Path):
    (tmp_path / "notes.txt").write_text("hello")
    done = audit(str(tmp_path), home=tmp_path)
    assert done.returncode == 1
    assert "notes.txt" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_path_that_is_not_there(tmp_path: Path):
    done = audit("/nonexistent/logs", home=tmp_path)
    assert done.returncode == 1
    assert "no file or folder" in done.stderr
