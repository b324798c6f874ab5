"""The audit's page: what stands in it, what is said where nothing is known, and names that want out."""

import re
from base64 import b64encode
from hashlib import sha256
from html.parser import HTMLParser

import pytest
from msgspec.structs import replace

from support.reports import EVIL, empty_report, hostile_report, large_report
from turnout.lab.audit.page import page_of
from turnout.lab.audit.report import ModelRow

VOID = {"meta", "br", "link"}


class Page(HTMLParser):
    """A page as a browser reads it: elements with their attributes, texts, and whether all that opens is closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.inside: list[str] = []
        self.owned: dict[str, str] = {}
        self.feed(page)
        self.close()
        assert self.inside == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.inside.append(tag)

    def handle_endtag(self, tag):
        assert self.inside.pop() == tag

    def handle_data(self, data):
        if self.inside and self.inside[-1] in {"style", "script"}:
            self.owned[self.inside[-1]] = data
        else:
            self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())

    def all(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.elements if tag == name]


def hashed(text: str) -> str:
    return b64encode(sha256(text.encode()).digest()).decode()


REPORTS = {
    "empty": empty_report(),
    "large": large_report(),
    "hostile": hostile_report(),
    "no times": replace(large_report(), since=None, until=None, days=(), month=None),
}


@pytest.mark.parametrize("report", REPORTS.values(), ids=REPORTS)
def test_nothing_is_loaded_and_nothing_but_its_own_script_runs(report):
    page = Page(page_of(report))
    policy = page.all("meta")[1]["content"]
    assert policy == (
        f"default-src 'none'; style-src 'sha256-{hashed(page.owned['style'])}'; "
        f"script-src 'sha256-{hashed(page.owned['script'])}'; base-uri 'none'; form-action 'none'"
    )
    names = [name for name, _ in page.elements]
    assert (names.count("script"), names.count("style")) == (1, 1)
    assert {"img", "link", "iframe", "object", "embed", "form", "base", "use", "image", "foreignobject"}.isdisjoint(
        names
    )
    for _, attributes in page.elements:
        assert not [name for name in attributes if name.startswith("on") or name in {"src", "style", "xlink:href"}]
        assert (attributes.get("href") or "#").startswith("#")
    assert not re.search(r"url\(|@import", page.owned["style"])
    assert not re.search(r"fetch|XMLHttp|import|WebSocket|sendBeacon|innerHTML|eval", page.owned["script"])


@pytest.mark.parametrize("report", REPORTS.values(), ids=REPORTS)
def test_each_plot_is_named_told_and_has_its_figures(report):
    page = Page(page_of(report))
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    for svg in page.all("svg"):
        if svg.get("role") == "img":
            assert svg["aria-labelledby"] in ids
    plots = [svg for svg in page.all("svg") if svg.get("role") == "img" and "on-narrow" not in (svg["class"] or "")]
    assert len(page.all("details")) == len(plots)
    assert page.all("html") == [{"lang": "en"}]
    assert len(page.all("h1")) == len(page.all("main")) == 1
    assert {link["href"].removeprefix("#") for link in page.all("a")} <= set(ids)


def test_the_headline_says_what_was_spent_what_would_have_been_saved_and_on_what_that_rests():
    text = Page(page_of(large_report())).text
    assert "$7,200 was spent at list price; $2,880 of it (40%) would have been saved" in text
    assert "assumed what would have been saved: so" in text
    assert "estimated $1,440 of that by caching alone: so" in text


def test_a_what_if_of_a_part_does_not_speak_for_all():
    report = large_report()
    text = Page(page_of(replace(report, totals=replace(report.totals, cost_usd=20_000.0)))).text
    assert "$20,000 was spent at list price; $2,880 of the $7,200 that can be priced otherwise (40%) would" in text


def test_findings_show_basis_money_and_what_to_do():
    page = Page(page_of(large_report()))
    assert (
        "$30.00 could be saved of $40.00 ◐ estimated 78% was read Measured: tokens What to do: set marks" in page.text
    )
    assert '[cache] repair = true ttl = "1h"' in page.text
    assert "$90.00 was its cost ● measured Sent before" in page.text
    assert "$300.00 a month ◐ estimated" in page.text


def test_logs_without_calls():
    text = Page(page_of(empty_report())).text
    assert "No call of a model was found in these logs" in text
    assert "These logs have no times, so nothing can be shown by day." in text
    assert "nothing can be priced otherwise" in text
    assert "No log tells what was read from caches." in text


def test_logs_without_times():
    text = Page(page_of(REPORTS["no times"])).text
    assert "These logs have no times" in text
    assert "A month at this rate" not in text


def test_models_without_a_price_are_shown_by_tokens():
    report = large_report(days=5)
    unpriced = replace(
        report,
        totals=replace(report.totals, cost_usd=0.0, unpriced_calls=report.totals.calls),
        models=tuple(replace(row, cost_usd=0.0, unpriced=row.calls) for row in report.models),
        days=tuple(replace(row, cost_usd=0.0) for row in report.days),
        what_if=(),
    )
    text = Page(page_of(unpriced)).text
    assert "61.2 M tokens were used, by models without a list price" in text
    assert "Input tokens by day and model" in text
    assert "no price" in text


def test_a_price_of_part_of_a_models_calls_is_shown():
    row: ModelRow = replace(large_report().models[0], model="half/priced", unpriced=4)
    assert "half/priced $10.00" in Page(page_of(replace(large_report(), models=(row,)))).text


def test_hostile_names_stay_texts_and_are_cut():
    made = page_of(hostile_report())
    assert len(made.encode()) < 300_000
    page = Page(made)
    assert "<script>document.title=" in page.text
    assert "\u202e" not in made
    assert "\x00" not in made
    assert "</script><style" not in made
    assert page.text.count(EVIL[:20]) > 10


def test_large_reports_stay_small():
    """Three years of twelve models."""
    report = large_report(days=1_100)
    made = page_of(report)
    assert len(made.encode()) < 500_000
    assert "Cost by month and model" in made


def test_texts_are_shown_only_where_they_were_asked_for():
    report = large_report()
    told = replace(report, sessions=(replace(report.sessions[0], opening="please mend the tests"),))
    assert "please mend the tests" not in page_of(told)
    assert "please mend the tests" in page_of(replace(told, with_text=True))
