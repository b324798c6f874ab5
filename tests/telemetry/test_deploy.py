"""The dashboard and the alert rules that we ship: whole, and every name in their expressions is on our page."""

import json
import re
from pathlib import Path

import pytest
import yaml

from turnout.telemetry.exposition import names_on_the_page

DEPLOY = Path(__file__).parents[2] / "deploy"
NAMES = names_on_the_page()
SERIES = re.compile(r"\b(turnout_\w+)(?:\{([^}]*)\})?")


def dashboard():
    return json.loads((DEPLOY / "grafana/turnout.json").read_text())


def rules():
    told = yaml.safe_load((DEPLOY / "prometheus/rules.yml").read_text())
    return [rule for group in told["groups"] for rule in group["rules"]]


def expressions():
    for panel in dashboard()["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"]
    for rule in rules():
        yield rule["alert"], rule["expr"]


@pytest.mark.parametrize(("where", "expression"), list(expressions()), ids=lambda told: told[:40])
def test_every_expression_names_series_and_labels_that_exist(where, expression):
    found = SERIES.findall(expression)
    assert found, f"{where} looks at nothing of ours"
    for name, matchers in found:
        assert name in NAMES, f"{where}: no series is called {name}"
        asked = {m.partition("=")[0].rstrip("!") for m in matchers.split(",") if m} - {"instance"}
        assert asked <= NAMES[name], f"{where}: {name} has no label {asked - NAMES[name]}"
    assert expression.count("(") == expression.count(")")


def test_what_is_grouped_by_is_a_label_of_a_series_in_the_expression():
    for where, expression in expressions():
        labels = set().union(*(NAMES[name] for name, _ in SERIES.findall(expression)))
        for group in re.findall(r"\bby \(([^)]*)\)", expression):
            assert {label.strip() for label in group.split(",")} <= labels, where


def test_the_dashboard_is_one():
    told = dashboard()
    assert told["uid"] == "turnout"
    assert len({panel["id"] for panel in told["panels"]}) == len(told["panels"])
    taken = [panel["gridPos"] for panel in told["panels"]]
    cells = [
        (x, y) for at in taken for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])
    ]
    assert len(cells) == len(set(cells)), "panels lie on one another"


def test_every_alert_says_what_it_is_about():
    for rule in rules():
        assert rule["annotations"]["summary"]
        assert rule["labels"]["severity"] in {"critical", "warning", "info"}
