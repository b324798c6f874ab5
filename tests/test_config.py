"""Config files: what is taken, and how a wrong one is told."""

from decimal import Decimal
from pathlib import Path

import pytest

from turnout.config import Secret, load_config, parse_config
from turnout.errors import ConfigError

ENV = {"OPENAI_API_KEY": "sk-example", "LAB_KEY": "lab-example"}

WHOLE = """
[providers.openai]
api_key = "env:OPENAI_API_KEY"
[providers.lab]
dialect  = "openai-chat"
base_url = "http://127.0.0.1:9000/v1"
api_key  = "env:LAB_KEY"
[models."lab/qwen-small"]
tier = "small"
context_window = 128000
price = { input = 0.10, output = 0.40, cache_read = 0.01, cache_write = 0.125 }
[modes]
data_entry = "tier/small"
architectural_planning = { model = "anthropic/claude-opus-5", effort = "high" }
[routing]
default = "auto"
quality = 0.95
baseline = "anthropic/claude-opus-5"
[fallbacks]
"anthropic/claude-opus-5" = ["bedrock/claude-opus-5", "openai/gpt-5.5"]
[budgets.search]
match = { tag = "feature=search" }
amount_usd = 50
on_exhausted = "small"
[brakes]
max_session_usd = 5
repeat_call = 3
[store]
ledger = "sqlite:///turnout.db"
shared = "memory:"
"""


def test_a_whole_config():
    config = parse_config(WHOLE, ENV)
    assert config.providers["openai"].api_key == Secret("sk-example")
    price = config.models["lab/qwen-small"].price
    assert price is not None
    assert price.cache_write == Decimal("0.125")
    assert config.modes["data_entry"] == "tier/small"
    assert config.fallbacks["anthropic/claude-opus-5"] == ("bedrock/claude-opus-5", "openai/gpt-5.5")


def test_an_empty_config_is_one():
    assert parse_config("", {}).server.port == 8787


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[routing]\nqualty = 1", "unknown key routing.qualty = 1; did you mean quality?"),
        ("[rooting]\n", "unknown key rooting = {...}; did you mean routing?"),
        ('[models."a/b"]\nteir = "small"', 'unknown key models."a/b".teir = "small"; did you mean tier?'),
        ('[models."a/b"]\ntier = "smal"', 'models."a/b".tier = "smal": Invalid enum value \'smal\''),
        ('[models."a/b"]\nprice = { input = 1, outptu = 2 }', "did you mean output?"),
        ("[models.gpt]\n", "a model is named provider/model"),
        ('[providers.x]\napi_key = "env:NOPE"', "the environment variable NOPE is not set"),
        ('[server]\nport = "x"', 'server.port = "x": Expected `int`, got `str`'),
        ("[server]\nport = 70000", "server.port = 70000"),
        ("[routing]\nquality = 2", "must lie between 0 and 1"),
        ("x =", "not valid TOML"),
        (
            '[store]\nledger = "mysql://me:pw@h/db"',
            "store.ledger = mysql:...: must begin with one of sqlite:///, postgresql://",
        ),
        ('[store]\nledger = "turnout.db"', "store.ledger = turnout.db: must begin with"),
        ('[store]\nshared = "memory://"', "memory has nothing behind it; write memory:"),
        ('[store]\nshared = "memcached://h"', "must begin with one of memory:, sqlite:///, valkey://"),
        ("[budgets.b]\namount_usd = -5", "budgets.b.amount_usd = -5: must lie between 0 and 1,000,000,000"),
        ("[brakes]\nrepeat_call = 1", "brakes.repeat_call = 1"),
    ],
)
def test_a_wrong_config_names_key_value_and_fix(text, told):
    with pytest.raises(ConfigError) as caught:
        parse_config(text, ENV)
    assert told in caught.value.message


def test_a_misspelt_secret_is_not_printed():
    with pytest.raises(ConfigError) as caught:
        parse_config('[providers.x]\napi_kye = "sk-real"', {})
    assert "did you mean api_key?" in caught.value.message
    assert "sk-real" not in caught.value.message


def test_a_secret_shows_itself_nowhere():
    config = parse_config(WHOLE, ENV)
    assert "sk-example" not in repr(config)
    assert "sk-example" not in str(config.providers["openai"].api_key)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere\.toml: no such config file"):
        load_config(tmp_path / "nowhere.toml")


def test_a_file_that_is_no_text_is_told(tmp_path):
    file = tmp_path / "t.toml"
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match=r"t\.toml: cannot be read"):
        load_config(file)


def test_an_error_in_a_file_names_the_file(tmp_path):
    file = tmp_path / "t.toml"
    file.write_text("[server]\nprot = 1")
    with pytest.raises(ConfigError, match=r"t\.toml: unknown key server\.prot = 1; did you mean port\?"):
        load_config(file, {})


def test_learning_is_on_keeps_no_text_and_refuses_what_means_nothing():
    told = parse_config("", {}).learning
    assert (told.enabled, told.keep_days, told.keep_prompts) == (True, 90, False)
    with pytest.raises(ConfigError, match=r"unknown key learning\.keep_prompt = true; did you mean keep_prompts"):
        parse_config("[learning]\nkeep_prompt = true\n", {})
    with pytest.raises(ConfigError, match=r"learning\.keep_days = 0: must be at least 1; enabled = false"):
        parse_config("[learning]\nkeep_days = 0\n", {})


def test_the_example_is_a_config_and_what_it_says_of_learning_is_how_it_is_without():
    env = {"OPENAI_API_KEY": "sk-example", "SLACK_WEBHOOK": "https://hooks.example"}
    text = (Path(__file__).parents[1] / "turnout.example.toml").read_text()
    config, plain = parse_config(text, env), parse_config("", {})
    assert config.learning == plain.learning
    assert (config.routing, config.delivery, config.answers) == (plain.routing, plain.delivery, plain.answers)
