"""LiteLLM's configs, written after its documentation, and what they are here: resolved as a caller would find it."""

import tomllib

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from turnout.config import parse_config
from turnout.engine import build_engine
from turnout.errors import InvalidRequest
from turnout.newcomer.litellm.converting import convert
from turnout.newcomer.litellm.hosts import HOSTS


def converted(text):
    made = convert(yaml.safe_load(text))
    return made, tomllib.loads(made.text)


async def found(text, *names):
    """What each name means in a gateway with the config, by the models' ids."""
    made = convert(yaml.safe_load(text))
    env = dict.fromkeys(made.needed, "x")
    engine = await build_engine(parse_config('store.ledger = "sqlite:///:memory:"\n' + made.text, env), env)
    try:
        return [[d.id for d in engine.names.resolve(name).deployments] for name in names]
    finally:
        await engine.aclose()


def notes(made, kind):
    return [f"{note.path}: {note.told}" for note in made.notes if note.kind == kind]


ONE = """
model_list:
  - model_name: gpt-4o
    litellm_params: {model: openai/gpt-4o, api_key: os.environ/OPENAI_API_KEY}
"""

AZURE = """
model_list:
  - model_name: gpt-4o
    litellm_params:
      model: azure/gpt-4o-eu
      api_base: https://eu.openai.azure.com/
      api_version: "2024-02-01"
      api_key: os.environ/AZURE_EU
    model_info: {base_model: azure/gpt-4o}
  - model_name: gpt-4o
    litellm_params: {model: azure/gpt-4o-ca, api_base: "https://ca.openai.azure.com", api_key: os.environ/AZURE_CA}
"""

KEYS = """
model_list:
  - model_name: fast
    litellm_params: {model: groq/llama-3.3-70b-versatile, api_key: os.environ/GROQ_A}
  - model_name: fast
    litellm_params: {model: groq/llama-3.3-70b-versatile, api_key: os.environ/GROQ_B}
"""

MIXED = """
model_list:
  - model_name: smart
    litellm_params: {model: openai/gpt-4.1, order: 2}
  - model_name: smart
    litellm_params: {model: anthropic/claude-sonnet-4-5, order: 1}
"""

LOCAL = """
model_list:
  - model_name: llama
    litellm_params: {model: ollama_chat/llama3.1, api_base: "http://localhost:11434"}
  - model_name: mine
    litellm_params: {model: openai/my-model, api_base: "http://10.0.0.5:8000/v1", api_key: fake-key}
  - model_name: theirs
    litellm_params: {model: hosted_vllm/qwen, api_base: os.environ/VLLM_BASE}
"""


async def test_one_model_is_found_by_its_name():
    assert await found(ONE, "gpt-4o", "openai/gpt-4o") == [["openai/gpt-4o"]] * 2


async def test_deployments_of_azure_behind_one_name_share_the_load():
    assert await found(AZURE, "gpt-4o") == [["azure/gpt-4o", "azure-2/gpt-4o"]]
    _, told = converted(AZURE)
    assert told["models"]["azure/gpt-4o"]["upstream_model"] == "gpt-4o-eu"
    assert told["providers"]["azure"]["base_url"] == "https://eu.openai.azure.com/openai/v1"
    assert told["models"]["azure-2/gpt-4o"]["price"]["input"] > 0, "the catalogue does not know azure-2"


async def test_a_second_key_for_the_same_models_is_a_second_place():
    _, told = converted(KEYS)
    assert told["providers"] == {"groq": {"api_key": "env:GROQ_A", "api_keys": ["env:GROQ_B"]}}
    assert await found(KEYS, "fast") == [["groq/llama-3.3-70b-versatile"]]


def test_a_second_region_for_the_same_models_is_an_endpoint():
    text = "model_list:\n" + "".join(
        "  - model_name: c\n    litellm_params: "
        f"{{model: bedrock/anthropic.claude-3-haiku-20240307-v1:0, aws_region_name: {region}}}\n"
        for region in ("us-east-1", "eu-west-1")
    )
    _, told = converted(text)
    assert told["providers"]["bedrock"]["base_url"] == "https://bedrock-runtime.us-east-1.amazonaws.com"
    assert told["providers"]["bedrock"]["endpoints"] == {
        "place2": {"base_url": "https://bedrock-runtime.eu-west-1.amazonaws.com"}
    }


async def test_different_models_behind_one_name_stand_in_for_each_other_in_their_order():
    assert await found(MIXED, "smart") == [["anthropic/claude-sonnet-4-5", "openai/gpt-4.1"]]
    made, _ = converted(MIXED)
    assert any("stand in for it" in one for one in notes(made, "changed"))


async def test_hosts_of_ones_own():
    _, told = converted(LOCAL)
    assert told["providers"]["ollama"]["base_url"] == "http://localhost:11434/v1"
    assert told["providers"]["host-10-0-0-5-8000"] == {"dialect": "openai-chat", "base_url": "http://10.0.0.5:8000/v1"}
    assert told["providers"]["vllm"]["base_url"] == "env:VLLM_BASE"
    made_text = LOCAL.replace("os.environ/VLLM_BASE", "http://localhost:8001/v1")
    assert await found(made_text, "llama", "mine", "theirs") == [
        ["ollama/llama3.1"],
        ["host-10-0-0-5-8000/my-model"],
        ["vllm/qwen"],
    ]


def test_an_address_has_two_names():
    text = LOCAL.replace("openai/my-model", "litellm_proxy/my-model")
    assert converted(text.replace("api_base", "base_url"))[1] == converted(text)[1]


async def test_patterns_are_whole_providers():
    text = 'model_list:\n  - model_name: "anthropic/*"\n    litellm_params: {model: "anthropic/*"}\n'
    assert await found(text, "anthropic/claude-opus-4-1") == [["anthropic/claude-opus-4-1"]]


async def test_fallbacks_aliases_and_ids():
    text = (
        ONE
        + """
  - model_name: claude
    litellm_params: {model: claude-sonnet-4-5}
    model_info: {id: my-claude}
router_settings:
  fallbacks: [{"gpt-4o": ["my-claude"]}]
  model_group_alias: {gpt-4: gpt-4o, hidden: {model: claude, hidden: true}, gone: nobody}
litellm_settings:
  default_fallbacks: ["gpt-4o"]
"""
    )
    told = await found(text, "gpt-4", "hidden")
    assert told == [
        ["openai/gpt-4o", "anthropic/claude-sonnet-4-5"],
        ["anthropic/claude-sonnet-4-5", "openai/gpt-4o"],
    ]
    assert any("gone" in one for one in notes(converted(text)[0], "left out"))


def test_settings_that_have_a_counterpart():
    _, told = converted(
        ONE
        + """
litellm_settings:
  num_retries: 3
  request_timeout: 120
  max_budget: 100.5
  budget_duration: 30d
  timezone: US/Eastern
  json_logs: true
  cache: true
  cache_params: {type: local, ttl: 600}
  content_policy_fallbacks: [{"gpt-4o": ["gpt-4o"]}]
router_settings:
  timeout: 60
  provider_budget_config: {openai: {budget_limit: 12, time_period: 1d}, nobody: {budget_limit: 1, time_period: 1d}}
"""
    )
    assert told["delivery"] == {"retries": 3, "timeout_s": 60.0, "content_refusal": "fallback"}
    assert told["budgets"] == {
        "all": {"amount_usd": 100.5, "period": "month", "timezone": "US/Eastern"},
        "provider-openai": {"amount_usd": 12, "period": "day", "match": {"provider": "openai"}},
    }
    assert told["answers"] == {"enabled": True, "any_temperature": True, "store": "memory", "ttl_s": 600.0}
    assert told["telemetry"] == {"log": "json"}


def test_prices_windows_and_capabilities():
    _, told = converted(
        LOCAL.partition("  - model_name: mine")[0]
        + """    model_info:
      input_cost_per_token: 1.5e-06
      output_cost_per_token: "0.000006"
      cache_read_input_token_cost: 0
      max_input_tokens: 8192
      max_output_tokens: 1024
      supports_function_calling: true
      supports_vision: false
"""
    )
    assert told["models"]["ollama/llama3.1"] == {
        "context_window": 8192,
        "max_output_tokens": 1024,
        "tools": True,
        "vision": False,
        "price": {"input": 1.5, "output": 6, "cache_read": 0},
    }


def test_no_key_and_no_password_of_the_file_is_written_or_told():
    made, told = converted(
        """
model_list:
  - model_name: a
    litellm_params: {model: openai/gpt-4.1, api_key: sk-secret-1}
  - model_name: b
    litellm_params: {model: anthropic/claude-sonnet-4-5, litellm_credential_name: mine}
  - model_name: c
    litellm_params: {model: bedrock/x, aws_access_key_id: AKIA-secret-2, aws_secret_access_key: secret-3}
credential_list:
  - {credential_name: mine, credential_values: {api_key: sk-secret-4}}
general_settings: {master_key: sk-secret-5, database_url: "postgresql://u:secret-6@db/x"}
environment_variables: {LANGFUSE_KEY: secret-7}
"""
    )
    assert "secret-" not in made.text + str(made.notes)
    assert made.needed == ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "LITELLM_MASTER_KEY")
    assert told["keys"]["master"]["key"] == told["server"]["admin_key"] == "env:LITELLM_MASTER_KEY"
    assert len(notes(made, "todo")) == 5


def test_what_has_no_counterpart_is_named_with_its_reason():
    made, _ = converted(
        ONE
        + """
  - model_name: picture
    litellm_params: {model: openai/dall-e-3}
    model_info: {mode: image_generation}
  - model_name: sage
    litellm_params: {model: sagemaker/x}
  - model_name: none
    litellm_params: {model: 3}
litellm_settings: {callbacks: ["langfuse", "my_module.handler", "prometheus"], drop_params: true, brand_new: 1}
router_settings: {routing_strategy: least-busy, redis_host: localhost, redis_password: x}
general_settings: {custom_auth: my.auth}
mcp_servers: {}
"""
    )
    left = "\n".join(notes(made, "left out"))
    for said in ("image_generation", "sagemaker", "no model_name", "langfuse", "my_module.handler", "/metrics"):
        assert said in left
    for path in ("litellm_settings.drop_params", "brand_new", "routing_strategy", "redis_host", "custom_auth", "mcp_s"):
        assert path in left
    assert "nothing like it here" in left


@pytest.mark.parametrize("prefix", HOSTS)
def test_every_host_makes_a_valid_config(prefix):
    params = {"model": f"{prefix}/some-model", "api_base": "https://host.example/v1"}
    made = convert({"model_list": [{"model_name": "x", "litellm_params": params}]})
    assert made.models == 1
    known = convert(
        {"model_list": [{"model_name": "x", "litellm_params": {"model": f"{prefix}/some-model"}}, ONE_ENTRY]}
    )
    assert known.providers >= 1


ONE_ENTRY = {"model_name": "y", "litellm_params": {"model": "openai/gpt-4o"}}


@pytest.mark.parametrize(
    "told", [{}, {"model_list": None}, {"model_list": []}, {"model_list": [{}]}, {"model_list": "x"}]
)
def test_nothing_to_serve(told):
    with pytest.raises(InvalidRequest):
        convert(told)


def test_hostile_names_stay_names():
    name = 'x"]\n[server]\nhost = "0.0.0.0'
    made = convert({"model_list": [{"model_name": name, "litellm_params": {"model": f"openai/{name}"}}], name: 1})
    told = tomllib.loads(made.text)
    assert "server" not in told
    assert told["aliases"] == {name: f"openai/{name}"}


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
)
SETTING_NAMES = st.sampled_from(
    [
        "num_retries",
        "timeout",
        "fallbacks",
        "default_fallbacks",
        "model_group_alias",
        "max_budget",
        "budget_duration",
        "provider_budget_config",
        "cache",
        "cache_params",
        "callbacks",
        "alerting",
        "master_key",
        "redis_host",
        "timezone",
    ]
)


@example({"num_retries": False}, {})
@example({"num_retries": True}, {"order": True})
@given(st.dictionaries(SETTING_NAMES, VALUES, max_size=6), st.dictionaries(st.text(max_size=20), VALUES, max_size=3))
def test_any_values_make_a_valid_config(settings, params):
    told = {
        "model_list": [ONE_ENTRY, {"model_name": "z", "litellm_params": {"model": "groq/x", **params}}],
        "litellm_settings": settings,
        "router_settings": settings,
    }
    made = convert(told)
    parse_config(made.text, dict.fromkeys(made.needed, "x"))
