"""Whom certificates are believed from, and what is said where nobody can be."""

import ssl
from pathlib import Path
from types import SimpleNamespace

import pytest
import trustme

from support.rawhost import RawHost, get, raw_server
from turnout.errors import UpstreamUnreachable
from turnout.providers.http import tls

CERTIFICATE = Path(__file__).with_name("localhost.pem")
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"


def speaks(certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols(["h2", "http/1.1"])
    certificate.configure_cert(context)
    return context


async def test_a_host_that_would_rather_speak_http2_is_asked_for_http1(transport, authority):
    chosen = []

    async def notes(reader, writer):
        chosen.append(writer.get_extra_info("ssl_object").selected_alpn_protocol())
        await RawHost(OK)(reader, writer)

    async with raw_server(notes, ssl=speaks(authority.issue_cert("localhost"))) as port:
        response = await transport.send(get(f"https://localhost:{port}"))
        assert await response.read(10) == b"{}"
        await response.aclose()
    assert chosen == ["http/1.1"]


@pytest.mark.parametrize("name", ["other.example", "127.0.0.1"])
async def test_a_certificate_for_another_name_is_refused(transport, authority, name):
    async with raw_server(RawHost(OK), ssl=speaks(authority.issue_cert(name))) as port:
        with pytest.raises(UpstreamUnreachable, match="certificate is not to be trusted") as caught:
            await transport.send(get(f"https://localhost:{port}"))
    assert name not in caught.value.message


async def test_a_certificate_for_an_address_is_checked_too(transport, authority):
    async with raw_server(RawHost(OK), ssl=speaks(authority.issue_cert("127.0.0.1"))) as port:
        response = await transport.send(get(f"https://127.0.0.1:{port}"))
        assert await response.read(10) == b"{}"
        await response.aclose()


async def test_an_authority_in_the_middle_may_be_the_one_that_is_trusted(transport, monkeypatch, tmp_path):
    middle = trustme.CA().create_child_ca()
    middle.cert_pem.write_to_path(tmp_path / "middle.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "middle.pem"))
    async with raw_server(RawHost(OK), ssl=speaks(middle.issue_cert("localhost"))) as port:
        response = await transport.send(get(f"https://localhost:{port}"))
        assert await response.read(10) == b"{}"
        await response.aclose()


async def test_a_host_that_speaks_no_tls_is_no_connection(transport, authority):
    async def answers_in_clear(reader, writer):
        await reader.read(1000)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with raw_server(answers_in_clear) as port:
        with pytest.raises(UpstreamUnreachable, match="no connection to the provider"):
            await transport.send(get(f"https://localhost:{port}"))


def test_a_file_without_certificates_is_said_to_be_none(tmp_path):
    (tmp_path / "empty.pem").write_text("none here\n")
    with pytest.raises(UpstreamUnreachable, match="SSL_CERT_FILE names holds no certificates"):
        tls.client_context({"SSL_CERT_FILE": str(tmp_path / "empty.pem")})


def test_a_system_without_authorities_is_told_what_to_install(monkeypatch, tmp_path):
    bare = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    monkeypatch.setattr(ssl, "create_default_context", lambda **_: bare)
    for folder in (None, str(tmp_path)):
        monkeypatch.setattr(ssl, "get_default_verify_paths", lambda folder=folder: SimpleNamespace(capath=folder))
        with pytest.raises(UpstreamUnreachable, match="install its package ca-certificates, or name a file"):
            tls.client_context({})
    (tmp_path / "0a1b2c3d.0").touch()
    assert tls.client_context({}) is bare


def test_checks_are_on():
    context = tls.client_context({"SSL_CERT_FILE": str(CERTIFICATE)})
    assert context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
