"""A URL of `store.shared` opens what it names, and what is missing is said with the next step."""

import importlib.util
import subprocess
import sys

import pytest

from turnout.errors import ConfigError
from turnout.store_rules import ALONE, SHARED
from turnout.stores.shared.opening import open_shared
from turnout.stores.shared.sqlite import SqliteShared


def test_a_url_opens_what_it_names(tmp_path):
    opened = open_shared(f"sqlite:///{tmp_path}/shared.db", "a", lease_s=3)
    assert isinstance(opened, SqliteShared)
    assert (opened.gateway, opened.lease_s) == ("a", 3)


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("valkey://10.0.0.1", "Valkey at 10.0.0.1:6379"),
        ("redis://user:word@h:7000/2", "Valkey at h:7000"),
        ("rediss://h", "Valkey at h:6379 (TLS)"),
        ("valkeys://h?ssl_ca_certs=/x", "Valkey at h:6379 (TLS)"),
        ("unix:///run/valkey.sock", "Valkey at /run/valkey.sock"),
        ("valkey+sentinel://:word@h1,h2:5/main/1", "Valkey at main of Sentinels h1:26379, h2:5"),
    ],
)
def test_where_valkey_is(url, place):
    pytest.importorskip("redis", reason="turnout[valkey] is not installed; `make test` installs it")
    assert open_shared(url, "a")._address.place == place


def test_every_scheme_of_the_config_opens_something(tmp_path):
    pytest.importorskip("redis", reason="turnout[valkey] is not installed; `make test` installs it")
    ends = {"sqlite": f"{tmp_path}/shared.db", "unix": "/run/valkey.sock"}
    for scheme, begins in SHARED.items():
        if begins != ALONE:
            end = "h/main" if scheme.endswith("+sentinel") else ends.get(scheme, "h")
            assert open_shared(begins + end, "a").gateway == "a"


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://h", "must begin with one of memory:, sqlite:///, valkey://"),
        ("valkey://h:port-word", "is no URL of Valkey or Redis"),
        ("valkey://h?no_such=1", "has an option that redis-py does not know"),
        ("valkey+sentinel://h1,h2", "names no service"),
    ],
)
def test_a_url_that_is_wrong_is_said_without_what_stands_in_it(url, words):
    with pytest.raises(ConfigError, match=words) as caught:
        open_shared(url, "a")
    assert "port-word" not in repr(caught.value)
    assert caught.value.param == "store.shared"


def test_what_is_not_installed_is_said(monkeypatch):
    monkeypatch.setattr("turnout.stores.shared.opening.find_spec", lambda _: None)
    with pytest.raises(ConfigError, match=r"pip install 'turnout\[valkey\]'"):
        open_shared("valkey://h", "a")


def test_nothing_of_valkey_is_loaded_for_others():
    code = (
        "import sys; from turnout.stores.shared.opening import open_shared; "
        "open_shared('sqlite:///x', 'a'); print('redis' in sys.modules)"
    )
    assert importlib.util.find_spec("turnout") is not None
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
