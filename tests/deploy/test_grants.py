"""The rights that the guide gives a gateway at its engines: enough for all that it does, and no more. Real engines."""

import re
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest

from support.deploying import ROOT
from turnout.shared_state import Claim, KeyAdmission

GUIDE = (ROOT / "docs/guides/scale.md").read_text()


def block(kind, about):
    """The guide's first code block of this language that has these words."""
    return next(text for text in re.findall(rf"```{kind}\n(.*?)```", GUIDE, re.DOTALL) if about in text)


# ---- Valkey ------------------------------------------------------------------------------------------------------


async def test_the_acl_of_the_guide_is_enough_and_no_more():
    valkey = pytest.importorskip("support.valkey", reason="stores/shared/valkey.py is not here yet")
    redis = pytest.importorskip("redis")
    from turnout.stores.shared.valkey import ValkeyShared

    rule = block("text", "ACL SETUSER turnout")
    with valkey.Valkey() as server, closing(redis.Redis(port=server.port)) as admin:
        told = rule.replace("\\\n", " ").split()
        if tuple(map(int, admin.info("server")["redis_version"].split(".")))[:2] < (7, 2):
            assert "before 7.2 leave out `+client|setinfo`" in GUIDE
            told.remove("+client|setinfo")
        admin.execute_command(*told)
        shared = ValkeyShared(f"valkey://turnout:PASSWORD@127.0.0.1:{server.port}/0", "a", recently=False)
        await shared.start()
        heard = []
        shared.hear("purses", heard.append)
        window = timedelta(days=30)
        for claim in (
            Claim(purse="company@2026-11-01", amount=100, spent=1, held=1, want=10),
            Claim(purse="rolling@", amount=100, spent=1, held=1, want=10, window=window, pieces={1: 1}),
        ):
            await shared.lease([claim])
            await shared.fill(claim.purse, {"": 1}, added={"e-1": 1})
            await shared.add(claim.purse, 1, entry="e-2")
            await shared.lease([claim])
        assert await shared.silent() == []
        admission = KeyAdmission(key="k", request_id="r", tokens=10, rpm=10, tpm=100, at_once=2)
        assert await shared.admit(admission) == 0
        await shared.leave(admission, used=5)
        await shared.put({"session:1": b"x"}, ttl_s=10)
        assert await shared.get(["session:1"]) == [b"x"]
        assert await shared.count({"breaker": {"ok": 1}}, ttl_s=10) == {"breaker": {"ok": 1}}
        assert await shared.first("alert", ttl_s=10)
        await shared.tell("purses", b"x")
        await shared.aclose()
        assert admin.execute_command("ACL", "LOG") == []
        with closing(redis.Redis(port=server.port, username="turnout", password="PASSWORD")) as gateway:
            for refused in (
                "GET other",
                "KEYS *",
                "FLUSHALL",
                "CONFIG GET *",
                "EVAL 0 0",
                "PUBLISH other x",
                "ACL LIST",
            ):
                with pytest.raises(redis.exceptions.NoPermissionError):
                    gateway.execute_command(*refused.split())


# ---- PostgreSQL --------------------------------------------------------------------------------------------------


def test_the_roles_of_the_guide_are_enough_and_no_more(tmp_path):
    psycopg = pytest.importorskip("psycopg")
    postgres = pytest.importorskip("support.postgres")
    ledger = pytest.importorskip("turnout.stores.postgres.ledger", reason="the ledger in PostgreSQL is not here yet")
    from support.ledgers import packaged_rows

    with postgres.own_server() as server:
        with psycopg.connect(server.url(), autocommit=True) as admin:
            for statement in statements(block("sql", "CREATE DATABASE turnout")):
                admin.execute(statement)
        with psycopg.connect(server.url("turnout"), autocommit=True) as admin:
            for statement in statements(block("sql", "CREATE SCHEMA turnout")):
                admin.execute(statement)
        url = server.url("turnout").replace("postgres@", "turnout@")
        books = ledger.PostgresLedger(url, spool=tmp_path)
        books.append(next(packaged_rows(until=datetime.now(UTC))))
        assert books.flush()
        assert len(books.recent(10)) == 1
        books.close()
        with psycopg.connect(server.url("turnout"), autocommit=True) as admin:
            for statement in statements(block("sql", "turnout_reader")):
                admin.execute(statement)
        with psycopg.connect(url.replace("turnout@", "turnout_reader@"), autocommit=True) as reader:
            assert reader.execute("SELECT count(*) FROM turnout.requests").fetchone() == (1,)
            for refused in ("DELETE FROM turnout.requests", "CREATE TABLE turnout.x (a int)"):
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    reader.execute(refused)
        with psycopg.connect(url, autocommit=True) as gateway:
            for refused in ("CREATE DATABASE more", "CREATE ROLE more", "CREATE SCHEMA more"):
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    gateway.execute(refused)


def statements(text):
    return [told for told in map(str.strip, re.sub(r"--.*", "", text).split(";")) if told]
