"""Console sessions over two gateways: signed in and out at one is signed in and out at both."""

from contextlib import asynccontextmanager

from server.test_console import Browser
from support.gateway import gateway
from support.shared import until
from turnout.server.access import session_name
from turnout.stores.shared.memory import MemoryEngine, MemoryShared

TOML = 'server.admin_key = "adm-secret"\n[providers.lab]\ndialect = "openai-chat"\nbase_url = "http://127.0.0.1:9"\n'
TOML += 'api_key = "sk-x"\n[models."lab/small"]\ntier = "small"\n'


@asynccontextmanager
async def two(tmp_path):
    engine = MemoryEngine()
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    # The same ledger file: it has the secret that keys are hashed with.
    ledger = f"sqlite:///{tmp_path}/ledger.db"
    async with (
        gateway(TOML, tmp_path / "one", shared=MemoryShared("one", engine), ledger=ledger) as one,
        gateway(TOML, tmp_path / "two", shared=MemoryShared("two", engine), ledger=ledger) as other,
    ):
        yield one, other


def elsewhere(browser, gw):
    """The same browser, whose next request another gateway gets."""
    browser.port = int(gw.url.rpartition(":")[2])
    browser.host = f"127.0.0.1:{browser.port}"
    return browser


async def test_signed_in_at_one_is_signed_in_at_the_other_until_signed_out_anywhere(tmp_path):
    async with two(tmp_path) as (one, other):
        browser = Browser(one.url)
        assert (await browser.sign_in("adm-secret"))[0] == 200
        elsewhere(browser, other)
        assert (await browser.ask("GET", "/admin/keys"))[0] == 200
        assert (await browser.ask("POST", "/admin/keys", {"name": "ci"}))[0] == 200
        assert (await browser.ask("POST", "/admin/keys", {"name": "di"}, x_turnout_csrf="wrong"))[0] == 403
        assert (await browser.ask("POST", "/console/logout"))[0] == 200
        assert (await elsewhere(browser, one).ask("GET", "/admin/keys"))[0] == 401


async def test_a_sign_out_that_could_not_be_told_is_told_later(tmp_path, monkeypatch):
    monkeypatch.setattr("turnout.server.shared_access.AGAIN_S", 0.01)
    async with two(tmp_path) as (one, other):
        browser = Browser(one.url)
        await browser.sign_in("adm-secret")
        engine = one.engine.state.shared._engine
        engine.away = True
        status, _, body = await browser.ask("POST", "/console/logout")
        assert (status, b"the other gateways do not know yet" in body) == (503, True)
        assert (await browser.ask("GET", "/admin/keys"))[0] == 401
        engine.away = False
        assert (await browser.ask("GET", "/admin/keys"))[0] == 401, "what others still have does not bring it back"
        await until(lambda: not one.app.visits._untold)
        assert (await elsewhere(browser, other).ask("GET", "/admin/keys"))[0] == 401


async def test_a_sign_in_that_could_not_be_told_is_told_later(tmp_path, monkeypatch):
    monkeypatch.setattr("turnout.server.shared_access.AGAIN_S", 0.01)
    async with two(tmp_path) as (one, other):
        engine = one.engine.state.shared._engine
        engine.away = True
        browser = Browser(one.url)
        assert (await browser.sign_in("adm-secret"))[0] == 200
        engine.away = False
        assert (await browser.ask("GET", "/admin/keys"))[0] == 200
        await until(lambda: not one.app.visits._untold)
        assert (await elsewhere(browser, other).ask("GET", "/admin/keys"))[0] == 200


async def test_what_no_gateway_sealed_opens_nothing(tmp_path):
    async with two(tmp_path) as (one, other):
        browser = Browser(one.url)
        await browser.sign_in("adm-secret")
        name = session_name({"cookie": f"turnout_session={browser.cookie}"})
        (kept,) = await one.engine.state.shared.get([f"console:{name}"])
        theirs = session_name({"cookie": "turnout_session=theirs"})
        await one.engine.state.shared.put({f"console:{theirs}": kept}, ttl_s=60)
        browser.cookie = "theirs"
        for gw in (one, other):
            assert (await elsewhere(browser, gw).ask("GET", "/admin/keys"))[0] == 401


async def test_a_cookie_that_is_no_session_leaves_nothing_behind(tmp_path):
    async with two(tmp_path) as (one, _):
        browser = Browser(one.url)
        browser.cookie = "anything"
        assert (await browser.ask("POST", "/console/logout"))[0] == 200
        name = session_name({"cookie": "turnout_session=anything"})
        assert await one.engine.state.shared.get([f"console:{name}", f"console-ended:{name}"]) == [None, None]
