"""`turnout usage --csv` and `--parquet`: the ledger's costs in FOCUS columns."""

import csv
import json
import sys
from datetime import UTC, datetime
from decimal import Decimal

import duckdb
import pytest

from turnout.cli import main
from turnout.cli.focus import write_charges
from turnout.errors import ConfigError
from turnout.spend.focus import COLUMNS, Charged, focus_record
from turnout.spend.ledger import LedgerRow
from turnout.stores.sqlite import SqliteLedger

DAY = datetime(2026, 11, 3, tzinfo=UTC)


def row(n: int, **more) -> LedgerRow:
    fields = {
        "request_id": f"req_{n}",
        "received_at": f"2026-11-03T1{n}:00:00.000Z",
        "key_id": "ci",
        "team": "core",
        "mode": "=HYPERLINK(1)",
        "tags": {"feature": "search"},
        "deployment": "lab/small",
        "provider": "lab",
        "input_tokens": 1_000,
        "cache_read_tokens": 400,
        "output_tokens": 10,
        "cost_nano_usd": 1_000_000_001,
        "attempt_log": [{"deployment": "lab/small"}],
    }
    return LedgerRow(**(fields | more))


@pytest.fixture
def config(tmp_path):
    ledger = SqliteLedger(tmp_path / "ledger.db")
    ledger.append(row(0))
    lost = {"deployment": "lab/big", "cost_nano_usd": 5, "input_tokens": 7, "output_tokens": 1}
    ledger.append(row(1, cost_nano_usd=1_000_000_006, attempt_log=[lost, {"deployment": "lab/small"}]))
    ledger.append(row(2, cost_nano_usd=None, deployment="lab/unpriced", attempt_log=[{"deployment": "lab/unpriced"}]))
    ledger.close()
    file = tmp_path / "turnout.toml"
    file.write_text(f'store.ledger = "sqlite:///{tmp_path}/ledger.db"\n')
    return file


def export(config, *options: str) -> int:
    return main(["usage", "--config", str(config), "--since", "2026-11-01", "--until", "2026-11-05", *options])


def test_costs_go_to_whom_they_were_paid_and_the_unpriced_has_none(config, tmp_path):
    assert export(config, "--csv", str(tmp_path / "out.csv")) == 0
    with (tmp_path / "out.csv").open(newline="") as file:
        rows = {told["SkuId"]: told for told in csv.DictReader(file)}
    assert list(next(iter(rows.values()))) == list(COLUMNS)
    small = rows["lab/small"]
    assert Decimal(small["BilledCost"]) == Decimal(small["EffectiveCost"]) == Decimal("2.000000002")
    assert (small["ChargePeriodStart"], small["ChargePeriodEnd"]) == ("2026-11-03T00:00:00Z", "2026-11-04T00:00:00Z")
    assert (small["ConsumedQuantity"], small["ConsumedUnit"], small["x_Calls"]) == ("2020", "Tokens", "2")
    assert (small["ProviderName"], small["SubAccountId"]) == ("lab", "ci")
    assert json.loads(small["Tags"]) == {"feature": "search", "turnout/team": "core", "turnout/mode": "=HYPERLINK(1)"}
    assert Decimal(rows["lab/big"]["BilledCost"]) == Decimal("0.000000005")
    assert (rows["lab/unpriced"]["BilledCost"], rows["lab/unpriced"]["ConsumedQuantity"]) == ("", "1010")
    assert not any(value.startswith("=") for told in rows.values() for value in told.values())


def test_parquet_says_the_same_with_types(config, tmp_path):
    out = tmp_path / "it's.parquet"
    assert export(config, "--parquet", str(out)) == 0
    told = duckdb.read_parquet(str(out))
    assert dict(zip(told.columns, map(str, told.types), strict=True)) == {
        name: kind.replace("TIMESTAMPTZ", "TIMESTAMP WITH TIME ZONE") for name, kind in COLUMNS.items()
    }
    assert duckdb.sql("SELECT sum(BilledCost), min(ChargePeriodStart) FROM told").fetchall() == [
        (Decimal("2.000000007"), DAY)
    ]
    assert sorted(p.name for p in tmp_path.glob("*.part*")) == []


def test_without_duckdb_it_says_what_to_install(config, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "duckdb", None)
    assert export(config, "--parquet", str(tmp_path / "out.parquet")) == 1
    assert "pip install 'turnout[learn]'" in capsys.readouterr().err
    assert not (tmp_path / "out.parquet").exists()


def test_a_file_that_cannot_be_written_is_told(tmp_path):
    with pytest.raises(ConfigError, match="name another file"):
        write_charges([], to_csv=str(tmp_path / "missing/out.csv"), to_parquet=None)


def test_a_record_has_a_value_for_every_column():
    charged = Charged(
        day="2026-12-31",
        deployment="up/a/b",
        key_id=None,
        team=None,
        mode=None,
        tags=None,
        calls=1,
        input_tokens=1,
        cache_read_tokens=0,
        cache_write_tokens=0,
        output_tokens=0,
        cost_nano_usd=1,
    )
    told = dict(zip(COLUMNS, focus_record(charged), strict=True))
    assert told["ChargePeriodEnd"] == "2027-01-01T00:00:00Z"
    assert (told["ProviderName"], told["Tags"]) == ("up", "{}")
