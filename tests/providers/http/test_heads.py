"""Requests as they go over the wire, and URLs as they are understood."""

import pytest

from turnout.providers.http.addresses import target_of
from turnout.providers.http.heads import USER_AGENT, head_of
from turnout.providers.transport import UpstreamRequest


def lines(url="https://models.example/v1/x", method="POST", body=b"{}", headers=(), proxy=None):
    asked = UpstreamRequest(method=method, url=url, headers=list(headers), body=body)
    head = head_of(asked, target_of(url), proxy)
    assert head.endswith(b"\r\n\r\n")
    return head.removesuffix(b"\r\n\r\n").decode("latin-1").split("\r\n")


def test_what_every_request_has():
    assert lines(headers=[("authorization", "Bearer k")]) == [
        "POST /v1/x HTTP/1.1",
        "host: models.example",
        f"user-agent: {USER_AGENT}",
        "authorization: Bearer k",
        "content-length: 2",
    ]
    assert lines(method="GET", body=b"")[-1] == f"user-agent: {USER_AGENT}", "no body, no length"
    assert lines(body=b"")[-1] == "content-length: 0"


def test_what_the_caller_says_counts_but_not_the_length():
    said = [("host", "other.example"), ("user-agent", "a"), ("content-length", "7"), ("x", "1"), ("x", "2")]
    assert lines(headers=said) == [
        "POST /v1/x HTTP/1.1",
        "host: other.example",
        "user-agent: a",
        "x: 2",
        "content-length: 2",
    ]


def test_values_beyond_ascii_go_out_as_they_came_in():
    assert lines(headers=[("x", "é\t")])[3] == "x: é\t"
    assert lines(headers=[("x", "ключ")])[3].encode("latin-1") == "x: ключ".encode()


@pytest.mark.parametrize(
    ("url", "host", "path"),
    [
        ("http://h", "h", "/"),
        ("http://h:80/", "h", "/"),
        ("https://h:8443/a", "h:8443", "/a"),
        ("http://[::1]:9/a?b#c", "[::1]:9", "/a?b"),
        ("http://h/a b/é?q=ü&x=%20", "h", "/a%20b/%C3%A9?q=%C3%BC&x=%20"),
        ("http://h/models/a:b@1/x%3A0", "h", "/models/a:b@1/x%3A0"),
        ("http://h?x=1", "h", "/?x=1"),
        ("HTTP://MiXed.Example/A", "mixed.example", "/A"),
        ("http://bücher.example/", "xn--bcher-kva.example", "/"),
    ],
)
def test_urls(url, host, path):
    assert lines(url, method="GET", body=b"")[:2] == [f"GET {path} HTTP/1.1", f"host: {host}"]


def test_who_is_named_in_a_url_is_told_to_the_host():
    assert "authorization: Basic dTpwQHNz" in lines("https://u:p%40ss@models.example/")
    assert "authorization: Bearer k" in lines("https://u:p@models.example/", headers=[("authorization", "Bearer k")])


@pytest.mark.parametrize(
    "url",
    [
        "",
        "x",
        "ftp://h",
        "http://",
        "http:///x",
        "http://a b",
        "http://h:port",
        "http://h:99999",
        "http://[::1",
        "http://[x]/",
    ],
)
def test_what_is_no_url(url):
    with pytest.raises(ValueError):  # noqa: PT011 (its words are not ours)
        target_of(url)
