"""The port and the keys as the doctor sees them, on real sockets."""

import asyncio
import socket
from types import SimpleNamespace

import pytest

from support.gateway import gateway, lab
from turnout.config import parse_config
from turnout.keys import Key, StoredKey, digest_of
from turnout.newcomer.doctor.listening import check_binding, check_port
from turnout.newcomer.keyed import has_keys
from turnout.plugging import API
from turnout.plugins import StorePlugin
from turnout.stores.keys import SqliteKeys

OUTSIDE = "0.0.0.0"


def test_a_free_port():
    assert check_port("127.0.0.1", 0).state == "ok"


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_port_that_something_else_has():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        found = check_port("127.0.0.1", taken.getsockname()[1])
    assert found.state == "fail"
    assert "--port" in found.next


def test_a_port_that_is_none():
    assert check_port("127.0.0.1", 99_999).state == "fail"


async def test_a_port_that_a_gateway_has(tmp_path):
    async with gateway(lab("http://127.0.0.1:9"), tmp_path) as gw:
        port = int(gw.url.rpartition(":")[2])
        found = await asyncio.to_thread(check_port, "127.0.0.1", port)
    assert (found.state, "a gateway is running there" in found.told) == ("ok", True)


def config(folder, more=""):
    return parse_config(f'{more}\n[store]\nledger = "sqlite:///{folder}/t.db"\n', {})


def test_beyond_this_machine_only_with_keys(tmp_path):
    assert check_binding(config(tmp_path), "127.0.0.1").state == "ok"
    assert check_binding(config(tmp_path), OUTSIDE).state == "fail"
    keyed = config(tmp_path, '[keys.me]\nkey = "k"\n')
    assert check_binding(keyed, OUTSIDE).state == "warn", "nobody can look at the console"
    admin = config(tmp_path, '[keys.me]\nkey = "k"\n[server]\nadmin_key = "a"\n')
    assert check_binding(admin, OUTSIDE).state == "ok"


def test_keys_of_the_store_count_and_asking_makes_no_store(tmp_path):
    assert not has_keys(config(tmp_path))
    assert list(tmp_path.iterdir()) == []
    keys = SqliteKeys(f"{tmp_path}/t.db")
    assert not has_keys(config(tmp_path))
    stored = StoredKey(key=Key(name="ci"), digest=digest_of("k", b"s"), hint="k", created_at="2026-01-01T00:00:00Z")
    keys.put(stored)
    keys.close()
    assert has_keys(config(tmp_path))


@pytest.mark.parametrize("there", [[], ["a key"]])
def test_keys_that_a_plugin_keeps(monkeypatch, there):
    monkeypatch.setattr("turnout.store_rules.installed", lambda _: ["acme"])
    stores = SimpleNamespace(keys=SimpleNamespace(all=lambda: there), close=lambda: None)
    plugin = StorePlugin(api=API, make=lambda _: stores)
    monkeypatch.setattr("turnout.stores.opening.load", lambda *_: plugin)
    assert has_keys(parse_config('store.ledger = "acme://x"', {})) is bool(there)


def test_a_store_that_cannot_be_read(tmp_path):
    (tmp_path / "t.db").write_text("no ledger at all, but long enough to be looked at\n" * 100)
    assert check_binding(config(tmp_path), "127.0.0.1").state == "fail"
