"""HTML that texts cannot break out of, and numbers for people."""

import pytest

from turnout.lab.audit.markup import Markup, clean, joined, percent, short, tag, tokens, usd


def test_texts_and_attributes_are_escaped_and_markup_is_not_twice():
    inner = tag("b", "<i>&")
    assert inner == "<b>&lt;i&gt;&amp;</b>"
    made = tag("a", inner, " \"'", None, href="#x", data_v=1.5, title="\"'><script>", class_=None)
    assert made == ('<a href="#x" data-v="1.5" title="&quot;&#x27;&gt;&lt;script&gt;"><b>&lt;i&gt;&amp;</b> "\'</a>')
    assert joined("<", None, Markup("<br>")) == "&lt;<br>"
    assert tag("meta", charset="utf-8") == '<meta charset="utf-8">'


def test_what_cannot_be_seen_or_turns_the_direction_is_shown_as_strange():
    assert clean("a\u202eb\u2066c\x00d\x1b[31m\u200b\ud800") == "a�b�c�d�[31m��"
    assert clean("two\nlines") == "two\nlines"
    assert clean("日本語 naïve") == "日本語 naïve"


def test_a_name_of_any_length_is_cut():
    assert short("x" * 100_000, 10) == "<bdi>xxxxxxxxx…</bdi>"
    assert len(tag("p", "y" * 100_000, title="z" * 100_000)) < 5_000


@pytest.mark.parametrize(
    ("count", "told"),
    [(0, "0"), (812.4, "812"), (999.6, "1\u202fk"), (45_120, "45.1\u202fk"), (12_345_678, "12.3\u202fM")],
)
def test_tokens_for_people(count, told):
    assert tokens(count) == told


@pytest.mark.parametrize(
    ("amount", "told"),
    [
        (0, "$0.00"),
        (0.00001, "< $0.0001"),
        (0.01234, "$0.0123"),
        (12.345, "$12.35"),
        (999.999, "$1,000"),
        (1_234.5, "$1,234"),
        (-1_234.5, "-$1,234"),
        (3_456_789, "$3.46\u202fM"),
    ],
)
def test_money_for_people(amount, told):
    assert usd(amount) == told


def test_shares_for_people():
    assert [percent(share) for share in (0, 0.00001, 0.004, 0.43, 1)] == ["0%", "< 0.1%", "0.4%", "43%", "100%"]
