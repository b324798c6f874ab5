"""What may name or open something is taken out; what programs and people write otherwise stays."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnout.redaction import KINDS, Redactor


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("write to ana.maria+x@mail.example.org today", "write to [EMAIL] today"),
        ("电话 +86 138 0013 8000。", "电话 [PHONE]。"),
        ("call (030) 1234-5678 or 555-123-4567", "call [PHONE] or [PHONE]"),
        ("card 4111 1111 1111 1111, cvv", "card [CARD], cvv"),
        ("host 192.168.10.7:8080 and fe80::1ff:fe23:4567:890a", "host [IP]:8080 and [IP]"),
        ("key sk-proj-abcdEFGH1234abcdEFGH", "key [KEY]"),
        ("OPENAI_API_KEY=sk-ant-REDACTED", "OPENAI_API_KEY=[KEY]"),
        ("AKIAIOSFODNN7EXAMPLE", "[KEY]"),
        ("jwt eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NSJ9.abcdefghijk_-123", "jwt [KEY]"),
        ("sha 3f786850e387550fdab836ed7e6dc881de23001b", "sha [SECRET]"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIB\n-----END RSA PRIVATE KEY-----", "[KEY]"),
    ],
)
def test_what_is_taken_out(text, left):
    assert Redactor().text(text) == left


@pytest.mark.parametrize(
    "text",
    [
        "on 2026-11-23 at 10:00:00, version 1.2.3 and 10.4",
        "12:30:45 and a::b and std::vector",
        "1234567890123456 is no card: its check digit is wrong",
        "0000 0000 0000 0000",
        "def test_that_the_second_case_of_4_goes_on_working(self):",
        "src/turnout/routing/trajectory.py:123:45",
        "3.14159 26535 and 1_000_000",
        "the year 2024 2025 2026",
        "用户说了什么",
    ],
)
def test_what_stays(text):
    assert Redactor().text(text) == text


def test_json_is_redacted_all_through_and_counted():
    redactor = Redactor()
    told = redactor.json({"to": ["a@b.example", {"card": 4111111111111111, "n": 7, "ok": True}], "none": None})
    assert told == {"to": ["[EMAIL]", {"card": "[CARD]", "n": 7, "ok": True}], "none": None}
    assert redactor.counts == {"EMAIL": 1, "CARD": 1}


@given(st.text(max_size=500))
def test_once_redacted_nothing_more_is_found(text):
    redactor = Redactor()
    once = redactor.text(text)
    found = sum(redactor.counts.values())
    again = Redactor()
    again.text(once)
    assert sum(again.counts.values()) <= found
    if not found:
        assert once == text


@pytest.mark.parametrize("kind", KINDS)
def test_a_megabyte_of_what_almost_matches_takes_no_age(kind):
    """No timing: a pattern that ran away would not come back within the test run's patience."""
    for piece in ("1 ", "a", "@", ":", "1.", "a@", "eyJ", "-----BEGIN A PRIVATE KEY-----", "sk-", "(1", "+1 "):
        KINDS[kind][0].sub("", piece * (100_000 // len(piece)))
