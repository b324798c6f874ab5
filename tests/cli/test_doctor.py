"""`turnout doctor` as its user and a script run it."""

import json

import pytest

from support.command import turnout

GOOD = """
[providers.lab]
dialect = "openai-chat"
base_url = "http://127.0.0.1:9/v1"
[models."lab/a"]
tier = "small"
price = { input = 1, output = 4 }
[models."lab/b"]
tier = "frontier"
price = { input = 5, output = 25 }
[server]
port = 0
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "good.toml").write_text(GOOD)
    (tmp_path / "bad.toml").write_text(GOOD + '[keys.me]\nkey = "env:MY_KEY"\n')
    return tmp_path


def test_a_config_that_nothing_hinders(folder):
    before = sorted(folder.iterdir())
    done = turnout("doctor", "--config", "good.toml", folder=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "fail" not in done.stdout
    assert sorted(folder.iterdir()) == before, "it changes nothing"


def test_what_hinders_is_told_with_its_next_step_and_status_1(folder):
    done = turnout("doctor", "--config", "bad.toml", folder=folder)
    assert done.returncode == 1
    assert "-> export MY_KEY=..." in done.stdout
    assert done.stdout.splitlines()[-1].startswith("1 to mend")


def test_for_scripts(folder):
    done = turnout("doctor", "--config", "bad.toml", "--json", folder=folder)
    told = json.loads(done.stdout)
    assert (done.returncode, told["ok"]) == (1, False)
    assert {"state", "check", "told", "next"} == set(told["checks"][0])
    assert {one["state"] for one in told["checks"]} <= {"ok", "warn", "fail"}


def test_the_file_in_this_folder_is_looked_at_and_said_so(folder):
    (folder / "good.toml").rename(folder / "turnout.toml")
    done = turnout("doctor", folder=folder)
    assert done.returncode == 0, done.stdout
    assert "serve reads it with --config turnout.toml" in done.stdout


def test_nobody_is_asked_unless_told(folder):
    done = turnout("doctor", "--config", "good.toml", folder=folder)
    assert "online" not in done.stdout
    done = turnout("doctor", "--config", "good.toml", "--online", folder=folder)
    assert "online lab" in done.stdout
    assert done.returncode == 1, "nobody is at port 9"


def test_without_any_config(tmp_path):
    done = turnout("doctor", "--port", "0", folder=tmp_path, OPENAI_API_KEY="sk-secret")
    assert "provider openai" in done.stdout
    assert "sk-secret" not in done.stdout
    assert list(tmp_path.iterdir()) == []
