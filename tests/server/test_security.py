"""Lessons of this field's own incidents: injected queries, evaluated configs, borrowed URLs, open doors."""

import ast
import asyncio
import json
import re
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

import turnout
from support.calls import CHAT, post
from support.gateway import gateway, host, lab
from support.hostile_requests import http, send, status_of
from support.upstream import ScriptedUpstream, answer
from turnout.config import Secret, parse_config
from turnout.errors import InvalidRequest
from turnout.spend.spent import Question
from turnout.spend.wanted import Wanted
from turnout.stores.finding import find_query
from turnout.stores.spending import spending_query
from turnout.stores.sums import sessions_query, sums_query

SOURCE = Path(turnout.__file__).parent
SQL = "x'; DROP TABLE requests; --"
ASK = {"model": "lab/small", "messages": [{"role": "user", "content": "hi"}]}
CHAT_PATH = "/v1/chat/completions"
KEYS = '[keys.team]\nkey = "sk-team-0123456789"\n[server]\nadmin_key = "sk-admin-0123456789"\n'


async def get(gw, path, headers=()):
    got = await send(int(gw.url.rpartition(":")[2]), http("GET", path, b"", list(headers)))
    return status_of(got), got


async def test_queries_are_parameterised(tmp_path):
    """CVE-2026-42208: a gateway's key check was open to SQL, before any key was checked."""
    async with ScriptedUpstream(answer(CHAT)) as up, gateway(lab(up.url), tmp_path) as gw:
        headers = [("x-turnout-session", SQL), ("x-turnout-tags", f"team={SQL}"), ("authorization", f"Bearer {SQL}")]
        asked = {**ASK, "metadata": {"session": SQL}, "user": SQL}
        assert (await post(gw.url, CHAT_PATH, json.dumps(asked).encode(), headers))[0] == 200
        (row,) = await gw.booked()
        await post(gw.url, "/v1/responses", json.dumps({**ASK, "input": "hi", "previous_response_id": SQL}).encode())
        assert (await get(gw, "/admin/requests/x';%20DROP%20TABLE%20requests;%20--"))[0] == 404
        assert (row.session_id, row.tags["team"]) == (SQL, SQL)
        await gw.booked()
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as books:
        assert books.execute("select count(*) from requests").fetchone()[0] >= 1


def test_no_query_is_put_together_from_values():
    """Statements are texts, or joined of the columns' own names (`COLUMNS`, a grouping of ours). Those of the sums and
    of what is looked for are put together of tables of names: the next tests hold what comes from outside against
    them."""
    joined = {SOURCE / "stores" / name for name in ("sums.py", "spending.py", "finding.py")}
    for file in set((SOURCE / "stores").glob("*.py")) - joined:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.JoinedStr) and re.search(
                r"(?i)\b(select|insert|update|delete)\b", ast.unparse(node)
            ):
                names = {ast.unparse(v.value) for v in node.values if isinstance(v, ast.FormattedValue)}
                assert all(re.fullmatch(r"_?[A-Z_]+|.*COLUMNS.*|by|expression|column", name) for name in names), names


def test_of_the_sums_only_groups_of_ours_are_asked():
    for by in (SQL, "feature'--", "feature, key", "hour_sums", "", "FEATURE", "key\0"):
        with pytest.raises(InvalidRequest):
            sums_query(by)
        assert sessions_query(by) is None


def test_of_spending_nothing_but_what_is_asked_for_changes_the_query():
    since = datetime(2026, 11, 1, tzinfo=UTC)
    for told in ({"tags": (SQL,)}, {"tags": ("feature",)}, {"sessions": (SQL,)}):
        query, values = spending_query(Question(since=since, **told))
        assert SQL not in query
        assert "feature" not in query
        assert query.count(";") == 0
        assert len(values) >= 2


def test_of_what_is_looked_for_nothing_stands_in_the_query():
    names = ("session", "model", "key", "feature", "reason", "before")
    query, values = find_query(Wanted(failed=True, **dict.fromkeys(names, SQL)), 10, number="rowid")
    assert SQL not in query
    assert query.count(";") == 0
    assert values == [SQL] * len(names) + [10]


async def test_nothing_that_users_or_callers_write_is_evaluated(tmp_path):
    for text in ("{{7*7}}", "${env:HOME}", "$(id)", "__import__('os')", "%(x)s", "{0.__class__}"):
        config = parse_config(
            f'[providers.lab]\ndialect = "openai-chat"\nbase_url = "http://x/{text}"\n', {"HOME": "/h"}
        )
        assert config.providers["lab"].base_url == f"http://x/{text}"
    async with ScriptedUpstream(answer(CHAT)) as up, gateway(lab(up.url), tmp_path) as gw:
        said = "{{7*7}} ${env:PATH} {0.__class__}"
        asked = {**ASK, "messages": [{"role": "user", "content": said}]}
        await post(gw.url, CHAT_PATH, json.dumps(asked).encode(), [("x-turnout-mode", "{{7*7}}")])
        (row,) = await gw.booked()
    assert up.requests[0].json()["messages"][0]["content"] == said
    assert row.mode == "{{7*7}}"


def test_no_code_is_made_from_text():
    wrong = {"eval", "exec", "compile", "__import__"}
    reads_yaml = SOURCE / "newcomer/litellm/reading.py"
    assert set(re.findall(r"Loader=\S+?(?=[,)])", reads_yaml.read_text())) == {"Loader=yaml.SafeLoader"}
    for file in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id not in wrong, file
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                names = [a.name for a in node.names] + [getattr(node, "module", None) or ""]
                assert not {"pickle", "marshal", "shelve", "jinja2"} & set(names), file
                assert "yaml" not in names or file == reads_yaml


async def test_a_caller_cannot_choose_where_a_request_goes(tmp_path):
    """SSRF through a client-set base URL."""
    async with (
        ScriptedUpstream(answer(CHAT)) as up,
        ScriptedUpstream(answer(CHAT)) as lure,
        gateway(lab(up.url), tmp_path) as gw,
    ):
        fields = {"base_url": lure.url, "api_base": lure.url, "api_key": "sk-x", "custom_llm_provider": "openai"}
        headers = [
            ("x-base-url", lure.url),
            ("x-portkey-custom-host", lure.url),
            ("x-forwarded-host", lure.url),
            ("forwarded", f"host={lure.url}"),
            ("x-turnout-base-url", lure.url),
        ]
        assert (await post(gw.url, CHAT_PATH, json.dumps({**ASK, **fields}).encode(), headers))[0] == 200
        assert lure.requests == []
        assert up.requests[0].headers["host"] == up.url.removeprefix("http://")
        for name in (lure.url, f"{lure.url}/x", "../../admin", f"lab@{lure.url.removeprefix('http://')}/m"):
            status, _, _ = await post(gw.url, CHAT_PATH, json.dumps({**ASK, "model": name}).encode())
            assert status == 404
    assert lure.requests == []


@pytest.mark.parametrize(
    "name", ["../../../admin", "m?x=y#z", "m\r\nx: y", "m/../../x", "%2e%2e/x", "m x", "m\x00", "%252e%252e/x"]
)
async def test_a_model_s_name_stays_in_its_place_in_the_path(tmp_path, name):
    async with ScriptedUpstream(answer({})) as up, gateway(host(up.url, "gemini", "known"), tmp_path) as gw:
        asked = {**ASK, "model": f"up/{name}"}
        await post(gw.url, CHAT_PATH, json.dumps(asked).encode())
        paths = [r.path for r in up.requests]
    for path in paths:
        assert path.startswith("/v1beta/models/")
        assert path.endswith(":generateContent")
        assert ".." not in path.split("/")
        assert not {"\r", "\n", " ", "?", "#"} & set(path)


async def test_what_providers_and_callers_say_cannot_break_a_header(tmp_path):
    evil = "a\r\nset-cookie: x=y\r\n\r\n<html>"
    said = answer({"error": {"message": evil, "code": evil, "type": evil}}, 400, headers={"x-request-id": "id"})
    async with ScriptedUpstream(said) as up, gateway(lab(up.url), tmp_path) as gw:
        asked = {**ASK, "metadata": {"session": evil, "mode": evil, "tags": f"a={evil}"}}
        raw = await send(int(gw.url.rpartition(":")[2]), http("POST", CHAT_PATH, json.dumps(asked).encode()))
        ok = ScriptedUpstream(answer({**CHAT, "model": evil, "id": evil}))
        head = raw.partition(b"\r\n\r\n")[0]
        assert b"set-cookie" not in head
    async with ok, gateway(lab(ok.url), tmp_path) as gw:
        raw = await send(int(gw.url.rpartition(":")[2]), http("POST", CHAT_PATH, json.dumps(asked).encode()))
        head = raw.partition(b"\r\n\r\n")[0]
        assert status_of(raw) == 200
        assert b"set-cookie" not in head.lower().split(b"\r\n")[-1]
        assert not any(line.lower().startswith(b"set-cookie") for line in head.split(b"\r\n"))


async def test_admin_has_a_key_of_its_own_that_opens_nothing_else(tmp_path):
    """A role escalation through an admin API led to code execution in a gateway of this field."""
    async with ScriptedUpstream(answer(CHAT)) as up, gateway(lab(up.url) + KEYS, tmp_path) as gw:
        team, admin = ("authorization", b"Bearer sk-team-0123456789"), ("authorization", b"Bearer sk-admin-0123456789")
        port = int(gw.url.rpartition(":")[2])
        body = json.dumps(ASK).encode()
        assert status_of(await send(port, http("POST", CHAT_PATH, body, [team]))) == 200
        assert status_of(await send(port, http("POST", CHAT_PATH, body, [admin]))) == 401
        assert status_of(await send(port, http("POST", CHAT_PATH, body))) == 401
        (row,) = await gw.booked()
        story = f"/admin/requests/{row.request_id}"
        assert (await get(gw, story, [team]))[0] in {401, 403}
        assert (await get(gw, story))[0] == 401
        assert (await get(gw, story, [admin]))[0] == 200
    without = KEYS.partition("[server]")[0]
    async with ScriptedUpstream(answer(CHAT)) as up, gateway(lab(up.url) + without, tmp_path) as gw:
        assert (await get(gw, story, [team]))[0] in {401, 403}


async def test_keys_are_nowhere_to_be_read(tmp_path, caplog):
    wrong = [("authorization", b"Bearer sk-wrong-0123456789")]
    async with ScriptedUpstream(answer({}, 401)) as up, gateway(lab(up.url) + KEYS, tmp_path) as gw:
        port = int(gw.url.rpartition(":")[2])
        body = json.dumps(ASK).encode()
        told = await send(port, http("POST", CHAT_PATH, body, wrong))
        told += await send(port, http("POST", CHAT_PATH, body, [("x-api-key", b"sk-team-0123456789")]))
        (row,) = await gw.booked()
        keyring = repr(vars(gw.engine.keyring))
    books = b"".join(file.read_bytes() for file in tmp_path.iterdir() if file.is_file())
    everything = told + books + (caplog.text + keyring + repr(row) + repr(Secret("sk-lab-secret"))).encode()
    for key in (b"sk-wrong", b"sk-team-", b"sk-admin-", b"sk-lab-secret"):
        assert key not in everything


def test_keys_are_compared_in_constant_time():
    text = (SOURCE / "server" / "auth.py").read_text()
    assert "hmac.compare_digest" in text
    assert not re.search(r"key\s*==|==\s*key", text)


async def test_a_caller_s_own_credentials_stay_here(tmp_path):
    async with ScriptedUpstream(answer(CHAT)) as up, gateway(lab(up.url) + KEYS, tmp_path) as gw:
        headers = [
            ("authorization", "Bearer sk-team-0123456789"),
            ("cookie", "session=mine"),
            ("proxy-authorization", "Basic eDp5"),
            ("x-api-key", "sk-team-0123456789"),
            ("x-forwarded-for", "10.1.2.3"),
            ("te", "trailers"),
        ]
        assert (await post(gw.url, CHAT_PATH, json.dumps(ASK).encode(), headers))[0] == 200
        await asyncio.sleep(0)
    sent = up.requests[0].headers
    assert sent["authorization"] == "Bearer sk-lab-secret"
    assert not {"cookie", "proxy-authorization", "x-api-key", "x-forwarded-for", "te"} & set(sent)
    assert b"sk-team" not in up.requests[0].body


def test_releases_cannot_slip_in():
    """A poisoned release of a gateway of this field read every key: what is installed here is pinned, by hash."""
    root = SOURCE.parent.parent
    for name in ("demo", "dev"):
        text = (root / "requirements" / f"{name}.txt").read_text().replace("\\\n", "")
        pins = [line for line in text.splitlines() if line and not line.startswith("#")]
        assert len(pins) > 15
        for pin in pins:
            assert re.fullmatch(r"[a-z0-9-]+==\S+( +--hash=sha256:[0-9a-f]{64})+", pin), pin
    makefile = (root / "Makefile").read_text()
    assert makefile.count("$(PIP)") == makefile.count("$(PIP) --require-hashes") + 1, "one line installs Turnout itself"
