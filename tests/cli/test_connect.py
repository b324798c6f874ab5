"""`turnout connect` as its user runs it: it prints, and changes a file only when told."""

import json

import pytest

from support.command import turnout
from turnout.newcomer.connect.clients import CLIENTS

CONFIG = '[server]\nhost = "0.0.0.0"\nport = 9000\n[keys.me]\nkey = "env:A_KEY"\n[providers.embedded]\n'


def test_all_that_can_be_connected(tmp_path):
    done = turnout("connect", folder=tmp_path)
    assert done.returncode == 0
    assert [line.split()[0] for line in done.stdout.splitlines()] == list(CLIENTS)


@pytest.mark.parametrize("name", ["claude-code", "codex", "openai"])
def test_it_prints_and_changes_nothing(tmp_path, name):
    done = turnout("connect", name, folder=tmp_path)
    assert done.returncode == 0
    assert "http://127.0.0.1:8787" in done.stdout
    assert CLIENTS[name].source in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_where_the_config_listens_and_that_it_has_keys(tmp_path):
    (tmp_path / "t.toml").write_text(CONFIG)
    done = turnout("connect", "claude-code", "--config", "t.toml", "--json", folder=tmp_path)
    told = json.loads(done.stdout)
    assert (told["base_url"], told["key_variable"]) == ("http://127.0.0.1:9000", "TURNOUT_KEY")
    assert "ANTHROPIC_AUTH_TOKEN=$TURNOUT_KEY" in told["text"]


def test_a_gateway_elsewhere(tmp_path):
    done = turnout("connect", "codex", "--url", "https://gw.example.com/v1/", "--keyed", folder=tmp_path)
    assert 'base_url = "https://gw.example.com/v1"' in done.stdout


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("clade-code",), "did you mean claude-code?"),
        (("codex", "--url", "gw"), "--url must be as"),
        (("codex", "--url", 'http://x"; rm -rf /'), "--url must be as"),
        (("codex", "--model", 'x"y'), "--model must be"),
        (("codex", "--config", "no.toml"), "no such file"),
        (("cursor", "--write"), "by hand"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(tmp_path, args, said):
    done = turnout("connect", *args, folder=tmp_path)
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_write_keeps_a_copy_shows_what_changed_and_does_it_once(tmp_path):
    folder = tmp_path / ".claude"
    folder.mkdir()
    mine = folder / "settings.json"
    mine.write_text('{"env": {"FOO": "1"}}')
    mine.chmod(0o600)
    done = turnout("connect", "claude-code", "--write", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert '+    "ANTHROPIC_BASE_URL": "http://127.0.0.1:8787"' in done.stdout
    env = json.loads(mine.read_text())["env"]
    assert (env["FOO"], env["ANTHROPIC_MODEL"]) == ("1", "claude-auto")
    assert mine.stat().st_mode & 0o777 == 0o600
    assert (folder / "settings.json.before-turnout1").read_text() == '{"env": {"FOO": "1"}}'
    again = turnout("connect", "claude-code", "--write", folder=tmp_path)
    assert "says so already" in again.stdout
    assert len(list(folder.iterdir())) == 2


def test_a_key_goes_into_no_file(tmp_path):
    done = turnout("connect", "claude-code", "--keyed", "--write", folder=tmp_path, TURNOUT_KEY="sk-turnout-secret")
    assert done.returncode == 0, done.stderr
    written = (tmp_path / ".claude" / "settings.json").read_text()
    assert "TOKEN" not in written
    assert "sk-turnout-secret" not in written + done.stdout + done.stderr


def test_a_file_that_cannot_be_merged_stays_and_no_other_is_touched(tmp_path):
    folder = tmp_path / ".gemini"
    folder.mkdir()
    (folder / "settings.json").write_text("{ // mine\n}")
    done = turnout("connect", "gemini-cli", "--write", folder=tmp_path)
    assert done.returncode == 1
    assert "left as it is" in done.stderr
    assert [one.name for one in folder.iterdir()] == ["settings.json"]


def test_a_link_stays_one(tmp_path):
    (tmp_path / "dotfiles").mkdir()
    real = tmp_path / "dotfiles" / "codex.toml"
    real.write_text("# mine\n")
    (tmp_path / ".codex").mkdir()
    (tmp_path / ".codex" / "config.toml").symlink_to(real)
    assert turnout("connect", "codex", "--write", folder=tmp_path).returncode == 0
    assert (tmp_path / ".codex" / "config.toml").is_symlink()
    assert real.read_text().startswith("model = ")


def test_a_folder_that_the_client_was_told_of(tmp_path):
    done = turnout("connect", "codex", "--write", folder=tmp_path, CODEX_HOME=str(tmp_path / "elsewhere"))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "elsewhere" / "config.toml").exists()
