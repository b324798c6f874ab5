"""What the packaged recordings carry for nothing, by kind; and the command that prints it."""

import json
from datetime import date

import pytest

from turnout.catalog.cache_rules import cache_rule_of
from turnout.catalog.catalog import Catalog
from turnout.cli import main
from turnout.lab.hygiene import look, summed
from turnout.lab.sessions import packaged_sessions, packaged_tools
from turnout.spend.trimming import Billing


@pytest.fixture(scope="module")
def kinds():
    price = Catalog.load().price("openai", "gpt-4.1", date(2026, 11, 1))
    billing = Billing(price=price, rule=cache_rule_of("openai", "gpt-4.1"))
    tools = packaged_tools()
    return {told.kind: told for told in summed(look(s, tools, billing, "gpt-4.1") for s in packaged_sessions())}


def test_support_agents_pay_mostly_for_tools_they_do_not_call(kinds):
    retail = kinds["tau2-retail"]
    assert retail.sessions == 6
    assert 0.3 < retail.tools_share < 0.5
    assert 0.5 < retail.shares["unused_tool"] / retail.tools_share < 1
    assert retail.sums["unused_tool"].net_nano_usd > retail.sums["unreferenced_result"].net_nano_usd
    assert abs(retail.off) < 0.05, "estimated tokens are near those that the provider reported"


def test_tools_that_no_session_called_are_fewer_than_those_that_one_did_not(kinds):
    retail = kinds["tau2-retail"]
    assert 0 < retail.never_called_share < retail.shares["unused_tool"]
    assert 0 < len(retail.never_called) < retail.offered


def test_tools_that_were_inferred_are_said_to_be(kinds):
    assert kinds["swe-agent-demos"].inferred
    assert not kinds["tau2-retail"].inferred


def test_the_command_prints_a_table_and_json(capsys):
    assert main(["lab", "context"]) == 0
    printed = capsys.readouterr().out
    assert "tau2-retail" in printed
    assert "a model can use what it does not quote" in " ".join(printed.split())
    assert main(["lab", "context", "--json", "--model", "anthropic/claude-sonnet-4-5"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["cache"] == "anthropic-explicit"
    assert told["data"][0]["kind"] == "tau2-retail"


def test_tools_are_found_beside_the_traces(tmp_path, capsys):
    session = {
        "id": "s1",
        "kind": "coding-agent",
        "tools": "mine",
        "steps": [{"add": [{"role": "user", "content": "hi"}], "out": {"role": "assistant", "content": "hello"}}],
    }
    (tmp_path / "traces.jsonl").write_text(json.dumps(session) + "\nno session\n")
    tool = {"type": "function", "function": {"name": "deploy", "description": "x " * 200, "parameters": {}}}
    (tmp_path / "tools.json").write_text(json.dumps({"mine": [tool]}))
    assert main(["lab", "context", "--json", str(tmp_path)]) == 0
    told = capsys.readouterr()
    (kind,) = json.loads(told.out)["data"]
    assert (kind["kind"], kind["never_called"]) == ("coding-agent", ["deploy"])
    assert "1 lines left out; traces.jsonl line 2" in told.err


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (["nowhere.jsonl"], "cannot read nowhere.jsonl"),
        (["--model", "nobody/nothing"], "no price is known; write provider/model"),
        (["--patience", "0"], "must be at least 1"),
    ],
)
def test_what_cannot_be_is_said_in_one_sentence(args, told, capsys):
    assert main(["lab", "context", *args]) == 1
    assert told in capsys.readouterr().err
