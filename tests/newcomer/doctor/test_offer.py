"""What a gateway would offer, as the doctor sees it; nobody is called."""

import pytest

from turnout.config import parse_config
from turnout.newcomer.doctor.offer import examine
from turnout.plugging import API
from turnout.plugins import ProviderParts, ProviderPlugin

ENV = {"OPENAI_API_KEY": "sk-secret-of-mine"}
LAB = '[providers.lab]\ndialect = "openai-chat"\nbase_url = "http://127.0.0.1:9/v1"\n'
PRICED = (
    LAB
    + '[models."lab/a"]\ntier = "small"\nprice = { input = 1, output = 2 }\n'
    + '[models."lab/b"]\ntier = "frontier"\nprice = { input = 1, output = 2 }\n'
)


async def found(toml, env=ENV):
    *_, findings = await examine(parse_config(toml, env), env, discover=False)
    return findings


async def ill(toml, env=ENV):
    return [(one.state, f"{one.check}: {one.told}; {one.next}") for one in await found(toml, env) if one.state != "ok"]


async def test_a_good_config_has_nothing_to_mend():
    assert await ill("[providers.openai]\n") == []
    assert await ill(PRICED) == []


async def test_no_key_is_shown():
    assert "sk-secret" not in str(await found("[providers.openai]\n"))


async def test_a_provider_without_a_key():
    ((state, told),) = await ill("[providers.openai]\n", {})
    assert state == "fail"
    assert "export OPENAI_API_KEY=..." in told


@pytest.mark.parametrize("key", ["sk-x\n", " sk-x", '"sk-x"', "'sk-x'", "sk\tx"])
async def test_a_key_that_was_spoiled_on_its_way(key):
    ((state, told),) = await ill("[providers.openai]\n", {"OPENAI_API_KEY": key})
    assert state == "fail"
    assert "blanks, quotes or line breaks" in told
    assert "sk" not in told.replace("asked", "")


async def test_every_key_of_a_provider_is_a_place():
    places, *_ = await examine(
        parse_config('[providers.openai]\napi_key = "a"\napi_keys = ["b", "c"]\n', {}), {}, discover=False
    )
    assert list(places) == ["openai", "openai@key2", "openai@key3"]


async def test_a_provider_that_a_plugin_makes(monkeypatch):
    plugin = ProviderPlugin(
        api=API, make=lambda told: ProviderParts(transport=told.http, dialect="openai-chat", models=("x",))
    )
    monkeypatch.setattr("turnout.plugged.load", lambda *_: plugin)
    places, fleet, _ = await examine(parse_config('[providers.mine]\nplugin = "acme"\n', {}), {}, discover=False)
    assert (list(places), [d.id for d in fleet]) == (["mine"], ["mine/x"])


async def test_nothing_to_choose_between_and_no_price():
    told = await ill(LAB + '[models."lab/x"]\ntier = "small"\n')
    assert [state for state, _ in told] == ["warn", "warn"]
    assert "nothing to choose between" in told[0][1]
    assert "lab/x" in told[1][1]


async def test_no_model_at_all():
    ((state, told),) = await ill(LAB)
    assert state == "fail"
    assert "turnout init" in told


@pytest.mark.parametrize(
    ("toml", "said"),
    [
        ('[modes]\nplan = "lab/nope/x"\n', None),
        ('[modes]\nplan = "nope"\n', "modes.plan: model 'nope' does not exist"),
        ('[modes]\nplan = "tier/mid"\n', "there is no model of tier mid"),
        ('[aliases]\nbig = "bigg"\nbigg = "big"\n', "leads in a circle"),
        ('[routing]\ndefault = "mode/plan"\n', "routing.default: mode 'plan' is not in the config"),
        ('[routing]\nbaseline = "gone"\n', "routing.baseline"),
    ],
)
async def test_names_that_lead_nowhere(toml, said):
    told = await ill(PRICED + toml)
    assert (said is None and told == []) or (told[0][0] == "fail" and said in told[0][1])


async def test_a_fallback_that_leads_nowhere_is_only_passed_over():
    ((state, told),) = await ill(PRICED + '[fallbacks]\n"lab/a" = ["gone/x"]\n')
    assert state == "warn"
    assert "gone/x" in told


async def test_a_budget_of_a_model_that_is_not_there():
    ((state, told),) = await ill(PRICED + '[budgets.x]\namount_usd = 1\nmatch = { model = "gone" }\n')
    assert state == "warn"
    assert "covers nothing" in told
