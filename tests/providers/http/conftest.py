"""Every test of the client runs on both event loops: the gateway's, and the one of the commands beside it."""

import asyncio

import pytest
import trustme
import uvloop

from turnout.providers.http import HttpTransport

PROXY_VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


def pytest_asyncio_loop_factories(config, item):
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch):
    """The machine's own proxies and authorities are no part of a test."""
    for name in (*PROXY_VARIABLES, *map(str.lower, PROXY_VARIABLES), "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
async def transport():
    http = HttpTransport()
    yield http
    await http.aclose()


@pytest.fixture
def authority(monkeypatch, tmp_path):
    """Vouches for hosts of this test."""
    made = trustme.CA()
    made.cert_pem.write_to_path(tmp_path / "authority.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    return made
