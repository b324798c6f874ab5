"""`turnout eval` as its user runs it."""

import builtins
import importlib.util
import json
import sys
from types import ModuleType

import pytest

from support.outcomes import ZEROEVAL, Clairvoyant, LengthPredictor
from turnout.cli import main
from turnout.learn.outcomes import read_outcomes


def told(capsysbinary):
    return json.loads(capsysbinary.readouterr().out)["data"]


@pytest.fixture
def fit(monkeypatch):
    """A stand-in for the learned router."""
    module = ModuleType("turnout.learn.fit")
    module.load = lambda router: LengthPredictor(100 if router else 400)
    module.Fit = Clairvoyant
    module.__spec__ = importlib.util.spec_from_loader("turnout.learn.fit", loader=None)
    monkeypatch.setitem(sys.modules, "turnout.learn.fit", module)


def test_the_schema_of_json(capsysbinary, fit, tmp_path):
    asked = ["--router", "turnout", "--router", "length", "--router", str(tmp_path), "--labels", "40", "--folds", "3"]
    assert main(["eval", "--outcomes", str(ZEROEVAL), *asked, "--json"]) == 0
    (report,) = told(capsysbinary)
    assert set(report) == {"table", "leakage", "routers", "notes"}
    assert set(report["leakage"]) == {
        *("queries", "empty", "repeated", "near", "elsewhere", "one_answer", "name_tells", "bounded"),
    }
    rows = {(r["name"], r["protocol"]): r for r in report["routers"] if r["dataset"] == "all"}
    assert set(rows) == {
        ("length", "none"),
        ("turnout", "transfer"),
        ("turnout", "40 labels"),
        ("turnout", "3-fold"),
        (str(tmp_path), "transfer"),
    }
    row = rows["turnout", "transfer"]
    assert set(row) == {
        *("name", "kind", "protocol", "dataset", "queries", "apgr", "cpt50", "cpt80", "aiq", "saved", "arena", "ece"),
        *("latency_ms", "gated", "below"),
    }
    assert set(row["apgr"]) == set(row["aiq"]) == {"value", "low", "high"}
    assert set(row["saved"]) == {"95", "98", "100"}
    assert set(row["latency_ms"]) == {"p50", "p99"}


def test_tables_for_people(capsys):
    asked = [option for name in ("random", "length", "zero", "oracle") for option in ("--router", name)]
    assert main(["eval", "--outcomes", str(ZEROEVAL), *asked]) == 0
    out = capsys.readouterr().out
    for word in ("zeroeval_gsm", "oracle", "APGR", "AIQ", "saved@95", "list prices", "bootstrap"):
        assert word in out


def test_another_routers_file_and_the_tables_beside(capsysbinary, tmp_path):
    table = read_outcomes(ZEROEVAL)
    scores = tmp_path / "peer.jsonl"
    lines = [json.dumps({"query_id": k, "score": len(q)}) for k, q in zip(table.query_ids, table.queries, strict=True)]
    scores.write_text("\n".join(lines))
    other = tmp_path / "other.csv"
    other.write_text(
        "dataset,query_id,query,model,score\n"
        + "".join(f'd,{i},"{table.queries[i]}",m{k},{(i + k) % 2}\n' for i in range(9) for k in range(2))
    )
    asked = ["--router", f"peer={scores}", "--outcomes", str(ZEROEVAL), "--outcomes", str(other)]
    assert main(["eval", *asked[2:], "--router", "length", "--json"]) == 0
    first, second = told(capsysbinary)
    assert first["leakage"]["elsewhere"][str(other)] == 9
    assert second["leakage"]["elsewhere"][str(ZEROEVAL)] == 9
    assert main(["eval", *asked[:4], "--router", "length", "--json"]) == 0
    rows = {r["name"]: r for r in told(capsysbinary)[0]["routers"] if r["dataset"] == "all"}
    assert rows["peer"]["apgr"] == rows["length"]["apgr"]
    assert rows["peer"]["kind"] == "file"


def test_prices_of_a_file(capsysbinary, tmp_path):
    prices = tmp_path / "prices.csv"
    prices.write_text("model,input,output\no1-mini-2024-09-12,3,12\n")
    costs = []
    for more in ([], ["--prices", str(prices)]):
        assert main(["eval", "--outcomes", str(ZEROEVAL), "--router", "zero", "--json", *more]) == 0
        costs.append(told(capsysbinary)[0]["table"]["models"]["o1-mini-2024-09-12"][1])
    assert costs[1] == pytest.approx(costs[0] * 3 / 1.1, rel=0.01)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--router", "nope"], "there is no router 'nope'"),
        (["--router", "peer=/nowhere.jsonl"], "cannot be read"),
        (["--models", "gpt-9"], "has no model 'gpt-9'"),
    ],
)
def test_a_failed_job_is_one_sentence_and_status_1(capsys, options, said):
    assert main(["eval", "--outcomes", str(ZEROEVAL), *options]) == 1
    assert said in capsys.readouterr().err


def test_without_the_extra_it_says_what_to_install(capsys, monkeypatch):
    real = builtins.__import__

    def without_numpy(name, *rest, **more):
        if name.startswith("turnout.learn"):
            raise ModuleNotFoundError("No module named 'numpy'", name="numpy")
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without_numpy)
    assert main(["eval", "--outcomes", str(ZEROEVAL)]) == 1
    assert capsys.readouterr().err == "turnout eval: numpy is not installed; pip install 'turnout[learn]'\n"
