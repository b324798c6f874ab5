"""What was said, on the page of a request: text whatever it holds, whole for admins alone."""

import json

import pytest

from support.browser import audit, browsing, needs_browser
from support.calls import CHAT, post
from support.gateway import gateway, lab
from support.upstream import ScriptedUpstream, answer

needs_browser()
pytestmark = pytest.mark.browser

TOML = """
[server]
admin_key = "adm-secret"
viewer_key = "view-secret"
[keys.team]
key = "sk-team-0123456789"
[learning]
keep_prompts = true
"""
EVIL = (
    '<img src=x onerror="document.title=1">\n</pre><script>document.title=1</script>\u202e\x1b]0;x\x07 ann@example.com'
)


@pytest.fixture
async def gw(tmp_path):
    said = {"index": 0, "message": {"role": "assistant", "content": f"You said: {EVIL}"}, "finish_reason": "stop"}
    async with ScriptedUpstream(answer({**CHAT, "choices": [said]})) as up, gateway(lab(up.url) + TOML, tmp_path) as gw:
        call = {"id": "c", "type": "function", "function": {"name": "run", "arguments": json.dumps({"c": EVIL})}}
        messages = [
            {"role": "user", "content": EVIL},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c", "content": EVIL},
        ]
        body = json.dumps({"model": "lab/small", "messages": messages}).encode()
        headers = [("authorization", "Bearer sk-team-0123456789")]
        status, told, _ = await post(gw.url, "/v1/chat/completions", body, headers)
        assert status == 200
        gw.request_id = told["x-turnout-request-id"]
        await gw.booked()
        yield gw


async def look(page, gw, key):
    await page.goto(f"{gw.url}/console#/decisions/{gw.request_id}")
    await page.fill("input[name=key]", key)
    await page.click("button[type=submit]")
    await page.wait_for_selector(".said .turns")


@pytest.mark.parametrize("width", [1440, 390])
async def test_it_is_redacted_until_an_admin_asks_for_all_of_it(gw, width):
    async with browsing(width=width) as (page, wrong):
        await look(page, gw, "adm-secret")
        said = page.locator(".said")
        assert "Taken out: 4 email" in await said.inner_text()
        assert "ann@example.com" not in await said.inner_text()
        assert await page.locator(".said img, .said script").count() == 0
        first = (await said.locator("pre").first.inner_text()).splitlines()
        assert first[0] == '<img src=x onerror="document.title=1">'
        assert first[1] == "</pre><script>document.title=1</script>\\u202e\\u001b]0;x\\u0007 [EMAIL]"
        assert await audit(page) == []
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        await said.get_by_role("button", name="Show it whole").click()
        await page.wait_for_selector(".said :text('ann@example.com')")
        assert await said.locator("pre").count() == 4
        await said.get_by_role("button", name="Redact again").click()
        await page.wait_for_selector(".said :text('Taken out: 4 email')")
        assert "Turnout" in await page.title()
        assert wrong == []


async def test_a_viewer_has_no_such_button(gw):
    async with browsing() as (page, wrong):
        await look(page, gw, "view-secret")
        assert await page.locator(".said button").count() == 0
        assert "ann@example.com" not in await page.inner_text("main")
        assert wrong == []
