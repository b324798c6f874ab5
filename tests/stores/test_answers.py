"""Stores of answers, in memory, in SQLite and in PostgreSQL: one set of promises for all."""

import pytest

from support.stores import KINDS, house
from turnout.answers import Kept
from turnout.chat import Usage
from turnout.stores.answers import MemoryAnswers, SqliteAnswers
from turnout.stores.postgres import answers as postgres


def kept(body=b"x", made_s=100.0, ttl_s=60.0):
    return Kept(
        body=body,
        form="stream+usage",
        deployment="up/big",
        request_id="req_1",
        made_s=made_s,
        expires_s=made_s + ttl_s,
        usage=Usage(input=3, output=1, raw={"a": [1]}),
        warnings=("lost",),
    )


@pytest.fixture(params=["memory", *KINDS])
def store(request, tmp_path, monkeypatch):
    monkeypatch.setattr(postgres, "USED_WITHIN_S", 0.0)
    if request.param == "memory":
        yield MemoryAnswers()
        return
    with house(request.param, tmp_path) as made:
        yield made.open().answers


async def test_what_is_kept_is_found_as_it_was(store):
    assert await store.find(b"k", now_s=100) is None
    await store.keep(b"k", kept(b"\x00\xff answer"), max_bytes=1000)
    assert await store.find(b"k", now_s=100) == kept(b"\x00\xff answer")
    assert await store.find(b"other", now_s=100) is None


async def test_a_newer_answer_takes_the_place_of_an_older(store):
    await store.keep(b"k", kept(b"old"), max_bytes=1000)
    await store.keep(b"k", kept(b"new", made_s=101), max_bytes=1000)
    assert (await store.find(b"k", now_s=102)).body == b"new"


async def test_an_answer_is_given_until_it_expires_and_use_does_not_prolong_it(store):
    await store.keep(b"k", kept(ttl_s=60), max_bytes=1000)
    assert await store.find(b"k", now_s=159.9) is not None
    assert await store.find(b"k", now_s=160) is None


async def test_the_longest_unused_goes_when_all_are_too_much(store):
    for at, name in enumerate([b"a", b"b", b"c"]):
        await store.keep(name, kept(b"0123456789", made_s=100 + at), max_bytes=30)
    assert await store.find(b"a", now_s=110) is not None
    await store.keep(b"d", kept(b"0123456789", made_s=111), max_bytes=30)
    found = [name for name in (b"a", b"b", b"c", b"d") if await store.find(name, now_s=112)]
    assert found == [b"a", b"c", b"d"]


async def test_a_smaller_bound_holds_from_the_next_answer_on(store):
    for at, name in enumerate([b"a", b"b", b"c"]):
        await store.keep(name, kept(b"0123456789", made_s=100 + at), max_bytes=100)
    await store.keep(b"d", kept(b"0123456789", made_s=104), max_bytes=20)
    found = [name for name in (b"a", b"b", b"c", b"d") if await store.find(name, now_s=112)]
    assert found == [b"c", b"d"]


async def test_they_outlive_a_restart_and_gateways_share_them(stores_at):
    one, two = stores_at.open(), stores_at.open()
    await one.answers.keep(b"k", kept(), max_bytes=1000)
    assert await two.answers.find(b"k", now_s=101) == kept()
    one.close()
    two.close()
    assert await stores_at.open().answers.find(b"k", now_s=101) == kept()


async def test_a_file_that_fails_costs_a_hit_and_no_more(tmp_path, caplog):
    (tmp_path / "ledger.db").write_bytes(b"no database at all" * 100)
    store = SqliteAnswers(tmp_path / "ledger.db")
    await store.keep(b"k", kept(), max_bytes=1000)
    assert await store.find(b"k", now_s=101) is None
    assert "was not kept" in caplog.text
    store.close()
