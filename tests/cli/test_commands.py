"""The command as its user runs it: a process, its output and exit status."""

import json
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from support.command import turnout

ASK = json.dumps({"model": "auto", "messages": [{"role": "user", "content": "hi"}]})
CONFIG = """
[providers.lab]
dialect = "openai-chat"
base_url = "http://127.0.0.1:9/v1"
[models."lab/small"]
tier = "small"
[store]
ledger = "sqlite:///{folder}/t.db"
"""


@pytest.fixture
def config(tmp_path):
    file = tmp_path / "turnout.toml"
    file.write_text(CONFIG.format(folder=tmp_path))
    return file


def test_route_explains_a_request(config):
    done = turnout("route", "--config", str(config), folder=config.parent, stdin=ASK)
    assert done.returncode == 0
    assert json.loads(done.stdout)["model"] == "lab/small"


@pytest.mark.parametrize(
    ("stdin", "told"),
    [
        ("", "the body is empty"),
        ("{}", "model is missing"),
        ('{"model":"nope","messages":[{"role":"user"}]}', "'nope' does not exist"),
    ],
)
def test_a_failed_job_is_one_plain_sentence_and_status_1(config, stdin, told):
    done = turnout("route", "--config", str(config), folder=config.parent, stdin=stdin)
    assert done.returncode == 1
    assert told in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_wrong_usage_is_status_2(tmp_path):
    assert turnout("nonsense", folder=tmp_path).returncode == 2
    assert turnout(folder=tmp_path).returncode == 2
    assert turnout("serve", "--port", "many", folder=tmp_path).returncode == 2


def test_a_broken_config_is_told_before_anything_starts(tmp_path):
    file = tmp_path / "t.toml"
    file.write_text('[providers.opnai]\napi_key = "x"\n')
    done = turnout("serve", "--config", str(file), "--port", "0", folder=tmp_path)
    assert done.returncode == 1
    assert "did you mean openai?" in done.stderr
    assert "Traceback" not in done.stderr


def test_without_keys_it_listens_on_this_machine_alone(config):
    done = turnout("serve", "--config", str(config), "--host", "0.0.0.0", "--port", "0", folder=config.parent)
    assert done.returncode == 1
    assert "add [keys.NAME]" in done.stderr


def test_serve_listens_answers_and_stops_cleanly(config):
    server = subprocess.Popen(
        [sys.executable, "-m", "turnout.cli", "serve", "--config", str(config), "--port", "0"],
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        line = server.stderr.readline()
        url = line.rpartition(" ")[2].strip()
        with urllib.request.urlopen(f"{url}/healthz", timeout=5) as answer:  # noqa: S310 (our own loopback address)
            assert answer.status == 200
    finally:
        server.send_signal(signal.SIGTERM)
        began = time.monotonic()
        server.wait(10)
        server.stderr.close()
    assert time.monotonic() - began < 5


def test_zero_config_takes_the_keys_it_finds(tmp_path):
    keys = {"OPENAI_API_KEY": "sk-example", "ANTHROPIC_API_KEY": "sk-ant-example"}
    done = turnout("route", folder=tmp_path, stdin=ASK, **keys)
    told = json.loads(done.stdout)
    providers = {c["model"].partition("/")[0] for c in told["candidates"]}
    assert {"openai", "anthropic"} <= providers
    assert told["candidates"][0]["tier"] == "small"
    assert "sk-" not in done.stdout
    assert list(tmp_path.iterdir()) == [], "explaining writes no ledger"


def test_budgets_shows_what_the_ledger_knows(config):
    with Path(config).open("a") as file:
        file.write('[budgets.search]\namount_usd = 50\nmatch = { tag = "feature=search" }\n')
    shown = turnout("budgets", "--config", config, folder=config.parent)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "search" in shown.stdout
    assert "tag feature=search" in shown.stdout
    (budget,) = json.loads(turnout("budgets", "--json", "--config", config, folder=config.parent).stdout)["data"]
    assert (budget["name"], budget["amount_usd"], budget["spent_usd"], budget["left_usd"]) == ("search", 50, 0, 50)


def test_keys_are_made_listed_and_revoked(config):
    made = turnout(
        "keys",
        "create",
        "ci",
        "--team",
        "core",
        "--rpm",
        "60",
        "--no-cache-repair",
        "--no-learning",
        "--config",
        config,
        folder=config.parent,
    )
    assert (made.returncode, made.stdout.startswith("sk-turnout-")) == (0, True)
    listed = turnout("keys", "list", "--config", config, folder=config.parent)
    assert "core" in listed.stdout
    assert made.stdout.strip() not in listed.stdout
    assert turnout("keys", "create", "ci", "--config", config, folder=config.parent).returncode == 1
    assert "revoked" in turnout("keys", "revoke", "ci", "--config", config, folder=config.parent).stdout
    (key,) = json.loads(turnout("keys", "list", "--json", "--config", config, folder=config.parent).stdout)["data"]
    assert (key["state"], key["rpm"], key["learning"]) == ("revoked", 60, False)


def test_usage_of_an_empty_ledger_says_so_and_an_unknown_group_is_refused(config):
    assert "no request from" in turnout("usage", "--config", config, folder=config.parent).stdout
    assert json.loads(turnout("usage", "--json", "--config", config, folder=config.parent).stdout)["data"] == []
    wrong = turnout("usage", "--by", "modell", "--config", config, folder=config.parent)
    assert (wrong.returncode, "did you mean model?" in wrong.stderr) == (1, True)
