"""`turnout import litellm` as its user runs it."""

import json

from support.command import turnout

YAML = """
model_list:
  - model_name: gpt-4o
    litellm_params: {model: openai/gpt-4o, api_key: os.environ/OPENAI_API_KEY, rpm: 6}
general_settings: {master_key: sk-very-secret}
"""


def test_the_config_goes_to_the_pipe_and_the_notes_beside_it(tmp_path):
    (tmp_path / "config.yaml").write_text(YAML)
    done = turnout("import", "litellm", "config.yaml", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("# Made by")
    assert "left out:" in done.stderr
    assert "variables that are not set here: OPENAI_API_KEY, LITELLM_MASTER_KEY" in done.stderr
    assert "sk-very-secret" not in done.stdout + done.stderr


def test_what_was_written_passes_the_doctor(tmp_path):
    (tmp_path / "config.yaml").write_text(YAML)
    assert turnout("import", "litellm", "config.yaml", "--out", "t.toml", folder=tmp_path).returncode == 0
    env = {"OPENAI_API_KEY": "sk-x", "LITELLM_MASTER_KEY": "sk-y"}
    done = turnout("doctor", "--config", "t.toml", "--port", "0", folder=tmp_path, **env)
    assert done.returncode == 0, done.stdout
    again = turnout("import", "litellm", "config.yaml", "--out", "t.toml", folder=tmp_path)
    assert again.returncode == 1
    assert "was left as it is" in again.stderr


def test_for_scripts(tmp_path):
    (tmp_path / "config.yaml").write_text(YAML)
    told = json.loads(turnout("import", "litellm", "config.yaml", "--json", folder=tmp_path).stdout)
    assert set(told) == {"config", "needed", "notes"}
    assert {note["kind"] for note in told["notes"]} == {"todo", "changed", "left out"}


def test_what_cannot_be_read_is_one_sentence(tmp_path):
    (tmp_path / "bad.yaml").write_text("a: !!python/object/apply:os.system ['touch owned']")
    for name in ("no.yaml", "bad.yaml"):
        done = turnout("import", "litellm", name, folder=tmp_path)
        assert done.returncode == 1
        assert len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "owned").exists()
