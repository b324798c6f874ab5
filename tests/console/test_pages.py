"""Every page of the console in a real browser, on a ledger of the packaged sessions and live requests: its figures are
the ledger's, its buttons do what they say, hostile names stay text, nothing is wrong for those who cannot see."""

import json
import re
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from support.browser import audit, browsing, needs_browser
from support.calls import CHAT, post
from support.gateway import gateway, lab
from support.ledgers import packaged_rows
from support.upstream import ScriptedUpstream, answer
from turnout.errors import TurnoutError
from turnout.stores.sqlite import SqliteLedger

needs_browser()
pytestmark = pytest.mark.browser

TOML = """
[models."lab/frontier"]
tier = "frontier"
price = { input = 2, output = 8, cache_read = 0.5 }
[budgets.company]
amount_usd = 100
[server]
admin_key = "adm-secret"
viewer_key = "view-secret"
"""
EVIL = '<script>document.title="x"</script>"\'><img src=x onerror=alert(1)>'
PAGES = ("", "tokens", "sessions", "sessions/live-one", "decisions", "models", "budgets", "keys")


def filled(folder):
    ledger = SqliteLedger(folder / "ledger.db")
    for row in packaged_rows(until=datetime.now(UTC) - timedelta(minutes=5)):
        ledger.append(row)
    ledger.flush()
    ledger.close()


async def admin(gw, path, value):
    return json.loads(
        (await post(gw.url, path, json.dumps(value).encode(), [("authorization", "Bearer adm-secret")]))[2]
    )


async def ask(gw, key, session, *, feature="live", model="lab/frontier"):
    body = {"model": model, "messages": [{"role": "user", "content": "hi"}], "metadata": {"tags": {"feature": feature}}}
    headers = [("authorization", f"Bearer {key}"), ("x-turnout-session", session)]
    return await post(gw.url, "/v1/chat/completions", json.dumps(body).encode(), headers)


@pytest.fixture
async def gw(tmp_path):
    filled(tmp_path)
    async with ScriptedUpstream(answer(CHAT)) as up, gateway(lab(up.url) + TOML, tmp_path) as gw:
        gw.key = (await admin(gw, "/admin/keys", {"name": "ci", "team": "core"}))["key"]
        for _ in range(3):
            assert (await ask(gw, gw.key, "live-one"))[0] == 200
        gw.engine.ledger.flush()
        yield gw


async def enter(page, gw, at="", key="adm-secret"):
    await page.goto(f"{gw.url}/console#/{at}")
    await page.fill("input[name=key]", key)
    await page.click("button[type=submit]")
    await page.wait_for_selector("main h1")
    await settled(page)


async def settled(page):
    await page.wait_for_selector(".loading", state="detached")


async def visit(page, gw, at):
    await page.goto(f"{gw.url}/console#/{at}")
    await page.wait_for_selector("main h1")
    await settled(page)


async def exact(page, label):
    """The figure of that label as the page holds it, before it was rounded for people."""
    told = page.locator(".figure", has=page.locator("dt", has_text=re.compile(f"^{label}$"))).locator(".value")
    return float(await told.get_attribute("data-exact"))


async def test_the_overviews_figures_are_the_ledgers(gw):
    rows = gw.rows()
    async with browsing() as (page, wrong):
        await enter(page, gw)
        await page.wait_for_selector(".figure")
        assert await exact(page, "Requests") == len(rows)
        assert await exact(page, "Spent") == pytest.approx(sum(r.cost_nano_usd for r in rows) / 1e9)
        assert await exact(page, "Input tokens") == sum(r.input_tokens for r in rows)
        assert await exact(page, "Output tokens") == sum(r.output_tokens for r in rows)
        cached = sum(r.cache_read_tokens for r in rows) / sum(r.input_tokens for r in rows)
        assert f"{cached:.0%} read from a cache" in await page.inner_text("main")
        assert await page.locator(".coming").count() == 0  # what stood there while the program came
        assert (await page.locator("main").bounding_box())["width"] > 1_000
        # What the budget says it has spent, its own way, is what the ledger's rows add up to.
        told = gw.engine.state.memory.budgets.state("company").spent_nano_usd
        assert float(await page.get_attribute(".budget-line .value", "data-exact")) == pytest.approx(told / 1e9)
        assert wrong == []


async def test_tokens_by_group_are_the_ledgers(gw):
    wanted = Counter()
    for row in gw.rows():
        wanted[row.tags["feature"]] += row.cost_nano_usd
    async with browsing() as (page, wrong):
        await enter(page, gw, "tokens")
        table = page.locator("table[aria-label='Tokens by feature'] tbody tr")
        await table.first.wait_for()
        told = {
            await row.locator("td").nth(0).inner_text(): float(
                await row.locator("td").nth(1).locator("[data-exact]").get_attribute("data-exact")
            )
            for row in await table.all()
        }
        assert told == pytest.approx({feature: nano / 1e9 for feature, nano in wanted.items()})
        assert list(told.values()) == sorted(told.values(), reverse=True)
        await page.click("text=Show the change >> nth=0")
        assert "[" in await page.inner_text("dialog pre")
        await page.keyboard.press("Escape")
        await page.wait_for_selector("dialog", state="detached")
        assert wrong == []


async def test_a_session_is_a_timeline_that_can_be_held(gw):
    async with browsing() as (page, wrong):
        await enter(page, gw, "sessions")
        await page.click("a:has-text('live-one')")
        await page.wait_for_selector(".timeline li")
        steps = [row for row in reversed(gw.rows()) if row.session_id == "live-one"]
        costs = [float(await m.get_attribute("data-exact")) for m in await page.locator(".timeline .money").all()]
        assert costs == pytest.approx([row.cost_nano_usd / 1e9 for row in steps])
        await page.click("main button:has-text('Pause')")
        await page.fill("dialog [name=by]", "ann")
        await page.fill("dialog [name=why]", "it dreams")
        await page.click("dialog button[type=submit]")
        await page.wait_for_selector(".notice:has-text('paused by ann: it dreams')")
        status, _, raw = await ask(gw, gw.key, "live-one")
        assert (status, json.loads(raw)["error"]["code"]) == (403, "run_paused")
        assert b"paused by ann: it dreams; resume it with POST /admin/sessions/live-one/resume" in raw
        await page.click("button:has-text('Resume')")
        await page.wait_for_selector("button:has-text('Pause')")
        assert (await ask(gw, gw.key, "live-one"))[0] == 200
        await page.click("button:has-text('Raise its limits')")
        await page.fill("dialog [name=max_session_steps]", "1")
        await page.click("dialog button[type=submit]")
        await page.wait_for_selector("dialog", state="detached")
        assert b"max_session_steps" in (await ask(gw, gw.key, "live-one"))[2]
        await page.click("button:has-text('Raise its limits')")
        await page.fill("dialog [name=max_session_steps]", "9")
        await page.click("dialog button[type=submit]")
        await page.wait_for_selector("dialog", state="detached")
        assert (await ask(gw, gw.key, "live-one"))[0] == 200
        assert wrong == []


async def test_a_decision_and_a_prompt_that_is_only_thought_of(gw):
    newest = gw.rows()[0]
    async with browsing() as (page, wrong):
        await enter(page, gw, f"decisions/{newest.request_id}")
        text = await page.inner_text("main")
        assert newest.deployment in text
        assert newest.decision["explanation"] in text
        await visit(page, gw, "decisions")
        await page.click("summary")
        await page.fill("[name=prompt]", f"What is 2 + 2? {EVIL}")
        await page.click("button:has-text('Explain')")
        await page.wait_for_selector(".try table")
        assert await page.locator(".try tbody tr").count() == len(gw.engine.fleet)
        assert len(gw.rows()) == len([r for r in gw.rows() if r.outcome == "ok"])  # nobody was called
        assert await page.input_value("[name=prompt]") == f"What is 2 + 2? {EVIL}"
        await page.fill("[name=model]", "no/such")
        await page.click("button:has-text('Explain')")
        await page.wait_for_selector(".try .wrong")
        assert [w for w in wrong if "404" not in w] == []


async def test_budgets_are_made_changed_and_taken_away_at_once(gw):
    async with browsing() as (page, wrong):
        await enter(page, gw, "budgets")
        company = page.locator(".budget", has_text="company")
        assert "change it there" in await company.inner_text()
        assert await company.locator("button:has-text('Change')").count() == 0
        await page.click("text=New budget")
        for field, told in {"name": "live", "amount_usd": "0.001", "value": "feature=live"}.items():
            await page.fill(f"dialog [name={field}]", told)
        await page.select_option("dialog [name=covers]", "tag")
        await page.click("dialog button[type=submit]")
        await page.wait_for_selector(".budget:has-text('live')")
        spent = sum(row.cost_nano_usd for row in gw.rows() if row.tags["feature"] == "live") / 1e9
        live = page.locator(".budget", has_text="feature=live")
        assert float(await live.locator(".value").get_attribute("data-exact")) == pytest.approx(spent)
        assert (await ask(gw, gw.key, "another"))[0] == 402
        await live.locator("button:has-text('Change')").click()
        # By hand: in Firefox `fill` adds to what stands in a field of numbers.
        await page.press("dialog [name=amount_usd]", "ControlOrMeta+a")
        await page.keyboard.type("10")
        await page.click("dialog button[type=submit]")
        await page.wait_for_selector("dialog", state="detached")
        assert (await ask(gw, gw.key, "another"))[0] == 200
        page.on("dialog", lambda d: d.accept())
        await live.locator("button:has-text('Take away')").click()
        await live.wait_for(state="detached")
        assert [rule.name for rule in gw.engine.state.memory.budgets.rules] == ["company"]
        assert wrong == []


async def test_keys_are_made_rotated_and_revoked(gw):
    async with browsing() as (page, wrong):
        page.on("dialog", lambda d: d.accept())
        await enter(page, gw, "keys")
        await page.click("text=New key")
        await page.fill("dialog [name=name]", "bot")
        await page.fill("dialog [name=models]", "tier/small, lab/*")
        await page.fill("dialog [name=rpm]", "5")
        await page.click("dialog button[type=submit]")
        first = await page.inner_text(".secret code")
        await page.click("[aria-label=Close]")
        row = page.locator("tr", has_text="bot")
        assert "5 requests/min" in await row.inner_text()
        assert gw.engine.keyring.caller({"x-api-key": first}).models == ("tier/small", "lab/*")
        await row.locator("button:has-text('Rotate')").click()
        second = await page.inner_text(".secret code")
        await page.click("[aria-label=Close]")
        assert second != first
        assert gw.engine.keyring.caller({"x-api-key": first}).name == "bot"  # for an hour more
        await row.locator("button:has-text('Revoke')").click()
        await page.wait_for_selector("tr:has-text('bot') .tag.bad")
        with pytest.raises(TurnoutError):
            gw.engine.keyring.caller({"x-api-key": second})
        assert wrong == []


async def test_hostile_names_stay_text(gw):
    for session in (EVIL, "a/../b?c#d%2F", "\u202etxt.exe".encode().decode("latin-1")):
        await ask(gw, gw.key, session, feature=EVIL + "\u202e", model=f"lab/{EVIL}")
    gw.rows()
    async with browsing() as (page, wrong):
        await enter(page, gw)
        for at in (*PAGES, "sessions/" + "%3Cscript%3E"):
            await visit(page, gw, at)
            assert await page.locator("main img, main script, main iframe").count() == 0, at
            assert "Turnout" in await page.title()
        await visit(page, gw, "sessions")
        await page.locator("a", has_text=EVIL).first.click()
        await page.wait_for_selector(".timeline li")
        assert await page.inner_text("h1") == EVIL
        await visit(page, gw, "sessions")
        await page.locator("a", has_text="a/../b").first.click()
        await page.wait_for_selector(".timeline li")
        await visit(page, gw, "tokens")
        assert f"{EVIL}\\u202e" in await page.inner_text("main")
        assert [w for w in wrong if "404" not in w] == []


async def test_a_viewer_sees_no_buttons_that_change_things(gw):
    async with browsing() as (page, wrong):
        await enter(page, gw, "budgets", key="view-secret")
        for at in PAGES:
            await visit(page, gw, at)
            told = await page.locator("main button").all_inner_texts()
            assert not {"New budget", "Change", "Add money", "New key", "Rotate", "Revoke", "Pause"} & set(told), at
        assert wrong == []


async def test_the_page_says_when_it_cannot_read_and_goes_on_when_it_can(gw):
    async with browsing() as (page, _):
        await enter(page, gw, "budgets")
        await page.context.set_offline(True)
        await page.wait_for_selector("[role=alert]:has-text('does not answer')", timeout=15_000)
        assert "company" in await page.inner_text("main")
        await page.context.set_offline(False)
        await page.wait_for_selector("[role=alert]", state="detached", timeout=15_000)


async def test_a_wrong_key_is_told_in_words(gw):
    async with browsing() as (page, wrong):
        await page.goto(f"{gw.url}/console")
        await page.fill("input[name=key]", "guess")
        await page.click("button[type=submit]")
        await page.wait_for_selector("[role=alert]:has-text('needs the admin key')")
        assert [w for w in wrong if "401" not in w] == []


@pytest.mark.parametrize(("width", "height", "scheme"), [(1440, 900, "light"), (390, 844, "dark"), (360, 740, "light")])
async def test_nothing_is_in_the_way_of_those_who_see_differently(gw, width, height, scheme):
    newest = gw.rows()[0].request_id
    async with browsing(width, height, scheme) as (page, wrong):
        await page.goto(f"{gw.url}/console")
        await page.wait_for_selector("form")
        assert await audit(page) == []
        await enter(page, gw)
        for at in (*PAGES, f"decisions/{newest}"):
            await visit(page, gw, at)
            await page.wait_for_timeout(300)
            assert await audit(page) == [], at
            assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth"), at
        await visit(page, gw, "budgets")
        await page.click("text=New budget")
        assert await audit(page) == []
        assert wrong == []


async def test_by_keyboard_alone(gw):
    async with browsing() as (page, wrong):
        await enter(page, gw)
        await page.reload()
        await page.wait_for_selector("main h1")
        await page.keyboard.press("Tab")
        assert await page.evaluate("document.activeElement.className") == "skip"
        await page.keyboard.press("Enter")
        assert await page.evaluate("document.activeElement.id") == "main"
        await page.focus("nav a[href='#/budgets']")
        await page.keyboard.press("Enter")
        await page.wait_for_selector("h1:has-text('Budgets')")
        assert await page.evaluate("document.activeElement.id") == "main"  # where the new page begins
        assert wrong == []


async def test_without_any_request_a_page_says_what_to_do_first(tmp_path):
    async with gateway(lab("http://127.0.0.1:9"), tmp_path) as gw, browsing() as (page, wrong):
        await page.goto(f"{gw.url}/console")
        await page.wait_for_selector("h1")
        said = {"": "curl", "tokens": "No tokens", "sessions": "x-turnout-session", "decisions": "Try a prompt",
                "budgets": "New budget", "keys": "No keys"}  # fmt: skip
        for at, words in said.items():
            await visit(page, gw, at)
            await page.wait_for_selector(f"main >> text={words} >> nth=0")
        assert wrong == []


async def test_requests_are_found_by_what_they_have_and_older_ones_follow(gw):
    assert (await ask(gw, gw.key, "wrong", model="no/such"))[0] == 404
    rows = gw.rows()
    async with browsing() as (page, wrong):
        await enter(page, gw)
        await page.click("a:has-text('1 failed')")
        await page.wait_for_selector("h2:has-text('Requests looked for')")
        table = page.locator("table[aria-label='The newest requests'] tbody tr")
        assert await table.count() == 1
        assert "model_not_found" in await table.first.inner_text()
        await page.uncheck("[name=failed]")
        await page.fill("[name=feature]", "search")
        await page.click("button:has-text('Find')")
        await page.wait_for_selector("tr:nth-child(2)")
        assert await table.count() == sum(row.tags["feature"] == "search" for row in rows)
        await page.fill("[name=key]", EVIL)
        await page.keyboard.press("Enter")
        await page.wait_for_selector("text=None of the newest 100,000 requests is like that")
        await page.click(".filters a:has-text('All')")
        await page.wait_for_selector("tr:nth-child(100)")
        await page.click("button:has-text('Older ones')")
        await page.wait_for_selector("tr:nth-child(101)")
        assert await table.count() == len(rows)
        assert await page.locator("button:has-text('Older ones')").count() == 0
        assert wrong == []


async def test_with_older_ones_below_them_no_request_falls_out_of_the_list(gw):
    before = len(gw.rows())
    async with browsing() as (page, wrong):
        await page.clock.install()
        await enter(page, gw, "decisions")
        links = page.locator("table[aria-label='The newest requests'] td.head a")
        await page.click("button:has-text('Older ones')")
        await page.wait_for_selector("tr:nth-child(101)")
        shown = set(await links.evaluate_all("links => links.map((a) => a.hash)"))
        assert len(shown) == before
        for _ in range(3):
            assert (await ask(gw, gw.key, "later"))[0] == 200
        await gw.booked(before + 3)
        await page.clock.fast_forward(6_000)
        await page.wait_for_timeout(300)
        assert shown <= set(await links.evaluate_all("links => links.map((a) => a.hash)"))
        assert wrong == []


async def test_a_key_shows_what_it_took(gw):
    taken = [row for row in gw.rows() if row.key_id == "ci"]
    async with browsing() as (page, wrong):
        await enter(page, gw, "keys")
        cost = page.locator("tr:has-text('ci') [data-exact]")
        await page.wait_for_selector(f"tr:has-text('ci') a:has-text('{len(taken)}')")
        assert float(await cost.get_attribute("data-exact")) == pytest.approx(sum(r.cost_nano_usd for r in taken) / 1e9)
        await page.click("tr:has-text('ci') a")
        await page.wait_for_selector("h2:has-text('Requests looked for')")
        await settled(page)
        assert await page.locator("table tbody tr").count() == len(taken)
        assert wrong == []


async def test_an_empty_day_has_its_place_on_the_axis(gw):
    days = {row.received_at[:10] for row in gw.rows()}
    first, last = (datetime.fromisoformat(day) for day in (min(days), max(days)))
    async with browsing() as (page, wrong):
        await enter(page, gw)
        await page.wait_for_selector(".chart .catch")
        assert (
            await page.locator("figure:has(caption:has-text('Cost by day')) .catch").count() == (last - first).days + 1
        )
        assert wrong == []


async def test_who_stood_in_and_why_is_told(tmp_path):
    down = answer({"error": {"message": "overloaded"}}, 503)
    toml = lab("{up}") + TOML + "[context]\nreport = true\n[delivery]\nretries = 0\n"
    async with ScriptedUpstream(down, answer(CHAT)) as up, gateway(toml.replace("{up}", up.url), tmp_path) as gw:
        key = (await admin(gw, "/admin/keys", {"name": "ci"}))["key"]
        assert (await ask(gw, key, "agent", model="auto"))[0] == 200
        row = (await gw.booked())[0]
        first = row.decision["candidates"][0]["deployment"]
        assert first != row.deployment
        async with browsing() as (page, wrong):
            await enter(page, gw, f"decisions/{row.request_id}")
            await page.wait_for_selector(f"text=First choice was {first}; {row.deployment} stood in")
            told = await page.locator("table[aria-label='Candidates'] tbody tr").all_inner_texts()
            assert "asked in vain: 503 overloaded" in told[0]
            assert "answered" in told[1]
            await visit(page, gw, "sessions/agent")
            await page.wait_for_selector("h2:has-text('Carried for nothing')")
            await settled(page)
            assert await audit(page) == []
            assert wrong == []


async def test_who_answered_at_the_second_try_was_not_asked_in_vain(tmp_path):
    down = answer({"error": {"message": "overloaded"}}, 503)
    toml = "[delivery]\nretries = 1\n" + TOML
    async with ScriptedUpstream(down, answer(CHAT)) as up, gateway(lab(up.url) + toml, tmp_path) as gw:
        key = (await admin(gw, "/admin/keys", {"name": "ci"}))["key"]
        assert (await ask(gw, key, "agent"))[0] == 200
        row = (await gw.booked())[0]
        assert [attempt["deployment"] for attempt in row.attempt_log] == ["lab/frontier", "lab/frontier"]
        async with browsing() as (page, wrong):
            await enter(page, gw, f"decisions/{row.request_id}")
            told = await page.locator("table[aria-label='Candidates'] tbody tr").first.inner_text()
            assert "answered" in told
            assert "in vain" not in told
            assert wrong == []
