"""Plug-ins that are missing, broken, of another kind or version, or there twice: each is told with the config's key."""

import sys
import time

import pytest

from support.calls import post
from support.gateway import gateway, host
from support.upstream import ScriptedUpstream
from support.wire import says
from turnout.call import Call
from turnout.config import parse_config
from turnout.engine import build_engine
from turnout.errors import ConfigError
from turnout.plugged import chooser_of, embedder_of
from turnout.plugging import begun, installed, load
from turnout.plugins import EmbeddingPlugin, ProviderPlugin, RouterPlugin, StorePlugin
from turnout.server.paths import FIXED

ROUTER = "from turnout.plugins import API, Choice, RouterPlugin\n"
CHOOSES = "PLUGIN = RouterPlugin(api=API, make=lambda setup: lambda question: {})\n"


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Puts a package with one plug-in where Python finds it, as pip would."""
    monkeypatch.syspath_prepend(tmp_path)

    def install(module, source, group, name, dist="acme-plugin", variable="PLUGIN"):
        (tmp_path / f"{module}.py").write_text(source)
        info = tmp_path / f"{dist.replace('-', '_')}-2.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {dist}\nVersion: 2.0\n")
        (info / "entry_points.txt").write_text(f"[{group}]\n{name} = {module}:{variable}\n")
        made.append(module)

    made = []
    yield install
    for module in made:
        sys.modules.pop(module, None)


def told(kind, name="acme", key="routing.plugin"):
    with pytest.raises(ConfigError) as raised:
        load(kind, name, key)
    assert raised.value.param == key
    return raised.value.message


def test_one_that_is_not_installed(package):
    assert "no installed package has such a plug-in of turnout.stores (none is installed)" in told(StorePlugin)
    package("acme_router", ROUTER, "turnout.routers", "acme")
    assert "did you mean acme?" in told(RouterPlugin, "acne")
    assert "there are acme" in told(RouterPlugin, "zzz")
    assert installed("turnout.routers") == ["acme"]


def test_one_whose_module_fails(package):
    package("acme_router", "import nothing_of_that_name\n", "turnout.routers", "acme")
    message = told(RouterPlugin)
    assert "plug-in 'acme' of acme-plugin 2.0 cannot be loaded (ModuleNotFoundError: No module named" in message


def test_one_whose_variable_is_not_there(package):
    package("acme_router", "", "turnout.routers", "acme")
    assert "cannot be loaded (AttributeError" in told(RouterPlugin)


def test_one_that_is_something_else(package):
    package("acme_router", "PLUGIN = 7\n", "turnout.routers", "acme")
    assert "acme_router:PLUGIN of acme-plugin 2.0 is no RouterPlugin but a int" in told(RouterPlugin)


def test_one_of_another_kind(package):
    package("acme_router", ROUTER + CHOOSES.format(None), "turnout.providers", "acme")
    assert "is no ProviderPlugin but a RouterPlugin" in told(ProviderPlugin)


def test_one_for_another_version(package):
    package("acme_router", ROUTER + "PLUGIN = RouterPlugin(api=2, make=print)\n", "turnout.routers", "acme")
    assert "written for version 2 of plug-ins, and this Turnout has version 1" in told(RouterPlugin)


def test_one_that_is_there_twice(package):
    package("acme_router", ROUTER, "turnout.routers", "acme")
    package("other_router", ROUTER, "turnout.routers", "acme", dist="other-plugin")
    assert "acme-plugin 2.0 and other-plugin 2.0 both have a plug-in 'acme'" in told(RouterPlugin)


def test_one_that_fails_to_start(package):
    with pytest.raises(ConfigError, match="plug-in 'acme' failed to start \\(ZeroDivisionError"):
        begun(lambda: 1 // 0, "acme", "routing.plugin")
    refused = ConfigError("routing.options.x = 1: must be a text")

    def refuse():
        raise refused

    with pytest.raises(ConfigError) as raised:
        begun(refuse, "acme", "routing.plugin")
    assert raised.value is refused


def test_what_a_config_cannot_mean():
    semantic = "[answers.semantic]\nthreshold = 0.9\n"
    for more in ("", 'model = "up/e"\nplugin = "acme"\n'):
        with pytest.raises(ConfigError, match="either a model that embeds or a plugin"):
            parse_config(semantic + more, {})
    with pytest.raises(ConfigError, match="must begin with one of sqlite"):
        parse_config('store.ledger = "acme://x"', {})


async def test_a_provider_plugin_has_no_places_of_ours(tmp_path):
    config = parse_config(
        f'store.ledger = "sqlite:///{tmp_path}/l.db"\n[providers.mine]\nplugin = "acme"\napi_keys = ["a"]\n', {}
    )
    with pytest.raises(ConfigError, match=r"providers\.mine\.plugin: dialect, api_keys and endpoints"):
        await build_engine(config, {})


ASK = b'{"model": "auto", "messages": [{"role": "user", "content": "Hello?"}]}'


@pytest.mark.parametrize(
    ("choice", "reason", "logged"),
    [
        ("Choice(model='up/big', why='so it is')", "plugin", ""),
        ("None", "short", ""),
        ("Choice(model='up/none', why='?')", "short", "chose up/none, which cannot take the request"),
        ("1 // 0", "short", "the router plug-in failed"),
    ],
)
async def test_a_router_that_fails_fails_no_request(package, tmp_path, caplog, choice, reason, logged):
    package("acme_router", ROUTER + CHOOSES.format(choice), "turnout.routers", "acme")
    async with ScriptedUpstream(says("openai-chat")) as up:
        toml = '[routing]\nplugin = "acme"\n' + host(up.url, "openai-chat") + '[models."up/small"]\ntier = "small"\n'
        async with gateway(toml, tmp_path) as running:
            status, headers, _ = await post(running.url, "/v1/chat/completions", ASK)
            assert (status, headers["x-turnout-reason"]) == (200, reason)
            assert logged in caplog.text
            status, headers, _ = await post(running.url, "/v1/chat/completions", ASK.replace(b"auto", b"tier/small"))
            assert headers["x-turnout-reason"] == "explicit"


async def test_an_embedding_that_fails_leaves_the_question_to_a_model(package, tmp_path, caplog):
    source = (
        "from turnout.plugins import API, EmbeddingPlugin\n"
        "async def embed(text): raise OSError('no')\n"
        "PLUGIN = EmbeddingPlugin(api=API, make=lambda setup: embed)\n"
    )
    package("acme_vectors", source, "turnout.embeddings", "acme")
    assert load(EmbeddingPlugin, "acme", "k").group == "turnout.embeddings"
    async with ScriptedUpstream(says("openai-chat")) as up:
        toml = '[answers]\nenabled = true\nany_temperature = true\n[answers.semantic]\nplugin = "acme"\n'
        async with gateway(toml + host(up.url, "openai-chat"), tmp_path) as running:
            status, headers, _ = await post(running.url, "/v1/chat/completions", ASK)
            assert (status, headers["x-turnout-cache"]) == (200, "miss")
            assert "the embedding plug-in failed" in caplog.text


def test_nothing_is_made_where_nothing_is_named():
    config = parse_config("", {})
    assert chooser_of(config.routing) is None
    assert embedder_of(config.answers.semantic) is None


RELABELLED = """
from turnout.plugins import API, ProviderParts, ProviderPlugin

class Relabelled:
    def __init__(self, http, team):
        self.http, self.team, self.closed = http, team, 0
    async def send(self, request):
        request.headers.append(("x-team", self.team))
        return await self.http.send(request)
    async def aclose(self):
        self.closed += 1

MADE = []
def make(setup):
    MADE.append(Relabelled(setup.http, setup.options["team"]))
    return ProviderParts(transport=MADE[-1], dialect="openai-chat", models=("one", "two"))

PLUGIN = ProviderPlugin(api=API, make=make)
"""


def proxy(url, folder, team="core", more=""):
    return parse_config(
        f'store.ledger = "sqlite:///{folder}/l.db"\n[providers.proxy]\nplugin = "acme"\nbase_url = "{url}/v1"\n'
        f'api_key = "sk-proxy"\noptions = {{ team = "{team}" }}\n{more}',
        {},
    )


async def test_a_provider_plugin_over_our_own_network_lives_as_long_as_the_config_says_the_same(package, tmp_path):
    package("acme_proxy", RELABELLED, "turnout.providers", "acme")
    async with ScriptedUpstream(says("openai-chat")) as up:
        engine = await build_engine(proxy(up.url, tmp_path), {})
        made = sys.modules["acme_proxy"].MADE
        again = await build_engine(proxy(up.url, tmp_path, more="[modes]\na = 'auto'\n"), {}, state=engine.state)
        assert len(made) == 1
        other = await build_engine(proxy(up.url, tmp_path, team="search"), {}, state=engine.state)
        assert [transport.team for transport in made] == ["core", "search"]
        assert [deployment.id for deployment in other.fleet] == ["proxy/one", "proxy/two"]
        call = Call(
            request_id="r",
            operation=FIXED["/v1/chat/completions"],
            body=b'{"model": "proxy/one", "messages": [{"role": "user", "content": "?"}]}',
            headers={},
            started_s=time.monotonic(),
        )
        await again.pipeline.run(call)
        (sent,) = up.requests
        assert (sent.headers["x-team"], sent.headers["authorization"]) == ("core", "Bearer sk-proxy")
        await other.aclose()
        assert [transport.closed for transport in made] == [1, 1]
