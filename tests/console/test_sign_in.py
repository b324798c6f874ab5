"""Signing in by name, in a real browser: the button, the way to the provider and back, what a refusal is like."""

import pytest

from support.browser import audit, browsing, needs_browser
from support.gateway import gateway, lab
from support.openid import CLIENT, SECRET, OpenId
from turnout.config import parse_config

needs_browser()
pytestmark = pytest.mark.browser


@pytest.fixture
async def provider():
    async with OpenId() as provider:
        yield provider


@pytest.fixture
async def gw(tmp_path, provider):
    keys = '[server]\nadmin_key = "adm-secret"\n'
    async with gateway(keys + lab("http://127.0.0.1:9"), tmp_path) as gw:
        # The address to come back to is known once it listens.
        told = f"""
[server.oidc]
issuer = "{provider.url}"
client_id = "{CLIENT}"
client_secret = "{SECRET}"
redirect_uri = "{gw.url}/console/oidc/callback"
viewers = ["*@example.com"]
"""
        gw.app.sign_in.follow(parse_config(keys + told, {}).server.oidc)
        yield gw


async def test_the_button_leads_to_the_provider_and_back_in(gw):
    async with browsing() as (page, wrong):
        await page.goto(f"{gw.url}/console")
        await page.get_by_role("link", name="Sign in with your organisation").click()
        await page.wait_for_selector("header .who")
        assert await page.inner_text("header .who") == "ann@example.com (viewer)"
        await page.get_by_role("button", name="Sign out").click()
        await page.wait_for_selector("input[name=key]")
        assert wrong == []


@pytest.mark.parametrize("width", [1440, 390])
async def test_a_refusal_is_a_page_with_a_way_back(gw, provider, width):
    provider.claims["email"] = "<b>eve</b>@evil.example"
    async with browsing(width=width) as (page, wrong):
        await page.goto(f"{gw.url}/console")
        await page.wait_for_selector("input[name=key]")
        assert await audit(page) == []
        await page.get_by_role("link", name="Sign in with your organisation").click()
        await page.wait_for_selector("h1:has-text('Not signed in')")
        assert "<b>eve</b>@evil.example may not come in here" in await page.inner_text("main")
        assert await audit(page) == []
        await page.get_by_role("link", name="To the sign-in").click()
        await page.wait_for_selector("input[name=key]")
        # The browser itself says that the page came with a 403.
        assert [said for said in wrong if "403" not in said] == []
