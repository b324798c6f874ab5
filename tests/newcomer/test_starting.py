"""What `turnout init` writes: configs that can be served, and that hold no key."""

from decimal import Decimal

import pytest

from turnout.config import parse_config
from turnout.errors import InvalidRequest
from turnout.newcomer.fleets import fleet_of
from turnout.newcomer.starting import (
    Answers,
    chosen_providers,
    config_text,
    missing_variables,
    parse_usd,
    suggested,
)
from turnout.providers.registry import PROVIDERS

ENV = {"OPENAI_API_KEY": "sk-very-secret", "GOOGLE_API_KEY": "AIza-very-secret"}


def test_the_variable_that_is_set_is_named_and_its_value_is_not():
    text = config_text(Answers(providers=("openai", "google")), ENV)
    assert '"env:OPENAI_API_KEY"' in text
    assert '"env:GOOGLE_API_KEY"' in text, "GEMINI_API_KEY is the usual one, but this one is set"
    assert "very-secret" not in text


@pytest.mark.parametrize("name", [*PROVIDERS, "embedded"])
def test_every_provider_makes_a_config_that_can_be_served(name):
    env = dict.fromkeys(missing_variables((name,), {}), "x")
    text = config_text(Answers(providers=(name,), budget_usd=Decimal(50)), {})
    config = parse_config(text, env)
    assert list(config.providers) == [name]
    fleet_of(config, env)


def test_what_comments_say_can_be_taken_at_its_word():
    text = config_text(Answers(providers=("openai",)), ENV)
    for line in ("[budgets.all]", "amount_usd = 50", "max_session_usd = 5"):
        assert f"# {line}" in text
        text = text.replace(f"# {line}", line)
    config = parse_config(text, ENV)
    assert (config.budgets["all"].amount_usd, config.brakes.max_session_usd) == (50, 5)


def test_models_of_servers_on_this_machine_are_listed():
    models = [f"m{n}:7b" for n in range(25)]
    text = config_text(Answers(providers=("ollama",), local={"ollama": models}), {})
    assert list(parse_config(text, {}).models) == [f"ollama/{m}" for m in models[:20]]
    assert "5 more" in text


def test_a_model_with_a_hostile_name_stays_a_name():
    hostile = 'x"]\n[server]\nhost = "0.0.0.0'
    config = parse_config(config_text(Answers(providers=("ollama",), local={"ollama": [hostile]}), {}), {})
    assert list(config.models) == [f"ollama/{hostile}"]
    assert config.server.host == "127.0.0.1"


def test_a_provider_is_suggested_when_all_that_it_takes_is_set():
    assert suggested(ENV) == ("openai", "google")
    assert suggested({"AZURE_OPENAI_API_KEY": "x"}) == (), "where it is, is not known"
    assert suggested({"AZURE_OPENAI_API_KEY": "x", "AZURE_OPENAI_ENDPOINT": "https://a"}) == ("azure",)
    assert suggested({"OPENAI_API_KEY": ""}) == ()


def test_what_is_missing_is_named_once():
    assert missing_variables(("openai", "vertex"), {}) == [
        "OPENAI_API_KEY",
        "GOOGLE_CLOUD_LOCATION",
        "GOOGLE_CLOUD_PROJECT",
    ]
    assert missing_variables(("google",), ENV) == []


@pytest.mark.parametrize("text", ["", "all", " ALL "])
def test_no_answer_means_what_was_offered(text):
    assert chosen_providers(text, ("openai", "ollama")) == ("openai", "ollama")


def test_providers_are_named_by_commas_or_blanks():
    assert chosen_providers("OpenAI, mistral openai", ("ollama",)) == ("openai", "mistral")


def test_a_mistyped_provider_is_told_with_a_near_one():
    with pytest.raises(InvalidRequest, match="did you mean anthropic"):
        chosen_providers("antropic", ())


@pytest.mark.parametrize(("text", "amount"), [("50", 50), ("$1,000", 1000), ("12.50", Decimal("12.5"))])
def test_amounts(text, amount):
    assert parse_usd(text) == amount


@pytest.mark.parametrize("text", ["0", "none", "0.00"])
def test_no_budget(text):
    assert parse_usd(text) is None


@pytest.mark.parametrize("text", ["-5", "1e9", "lots", "", "nan", "99999999999", "٣"])
def test_what_is_no_amount_is_told(text):
    with pytest.raises(InvalidRequest, match="no amount"):
        parse_usd(text)
