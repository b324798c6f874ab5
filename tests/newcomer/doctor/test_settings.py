"""The config file as the doctor sees it: everything that is missing, and who may read what stands in it."""

import os

import pytest

from turnout.newcomer.doctor.settings import check_permissions, check_settings

TOML = """
[providers.openai]
api_key = "env:OPENAI_API_KEY"
[providers.lab]
dialect = "openai-chat"
base_url = "http://127.0.0.1:9/v1"
api_keys = ["env:LAB_1", "env:LAB_2"]
"""


@pytest.fixture
def file(tmp_path):
    made = tmp_path / "t.toml"
    made.write_text(TOML)
    return made


def test_every_missing_variable_is_told_at_once(file):
    settings, findings = check_settings(file, {"LAB_1": "x"})
    assert [one.told for one in findings] == [
        "providers.openai.api_key is taken from OPENAI_API_KEY, which is not set",
        "providers.lab.api_keys[1] is taken from LAB_2, which is not set",
    ]
    assert settings.config is not None, "what else there is can still be looked at"


def test_a_wrong_key_beside_a_missing_variable(file):
    file.write_text(TOML + "[routing]\nqualty = 0.9\n")
    _, findings = check_settings(file, {})
    assert "did you mean quality?" in f"{findings[-1].told} {findings[-1].next}"


def test_a_number_that_a_missing_variable_should_hold_is_one_fault(tmp_path):
    file = tmp_path / "t.toml"
    file.write_text('[server]\nport = "env:PORT"\n')
    _, findings = check_settings(file, {})
    assert [one.next for one in findings] == ["export PORT=..., or remove server.port"]


@pytest.mark.parametrize("text", [b"[a", b"\xff\xfe", b"a = " + b"[" * 5000])
def test_what_is_no_toml(tmp_path, text):
    file = tmp_path / "t.toml"
    file.write_bytes(text)
    settings, (found,) = check_settings(file, {})
    assert (settings.config, found.state) == (None, "fail")


def test_no_file_there(tmp_path):
    _, (found,) = check_settings(tmp_path / "no.toml", {})
    assert found.next.startswith("turnout init")


def looked(file, text, mode):
    file.write_text(text)
    file.chmod(mode)
    settings, _ = check_settings(file, {"A": "x"})
    return list(check_permissions(settings))


@pytest.mark.skipif(os.name != "posix", reason="bits of Unix")
def test_a_key_in_the_file_and_who_may_read_it(file):
    text = TOML.replace("env:OPENAI_API_KEY", "sk-secret") + '[server]\nadmin_key = "env:A"\n'
    text = text.replace("env:LAB_1", "env:A").replace("env:LAB_2", "env:A")
    (found,) = looked(file, text, 0o644)
    assert found.state == "fail"
    assert found.told.startswith("providers.openai.api_key:")
    assert "sk-secret" not in found.told
    assert looked(file, text, 0o600)[0].state == "warn"


@pytest.mark.skipif(os.name != "posix", reason="bits of Unix")
def test_keys_outside_the_file_may_be_read_by_nobody(file):
    (found,) = looked(file, '[keys.me]\nkey = "env:A"\n', 0o644)
    assert found.state == "ok"


@pytest.mark.skipif(os.name != "posix", reason="bits of Unix")
def test_the_secret_beside_the_ledger(file, tmp_path):
    ledger = tmp_path / "t.db"
    kept = tmp_path / "t.db.secret"
    kept.write_bytes(b"x" * 32)
    kept.chmod(0o644)
    found = looked(file, f'[store]\nledger = "sqlite:///{ledger}"\n', 0o644)[-1]
    assert (found.state, found.next) == ("fail", f"chmod 600 {kept}")
