"""`turnout train` and `turnout calibrate`: a predictor from one's own outcomes, taken only where it earns its place."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from turnout.errors import InvalidRequest

if TYPE_CHECKING:
    from turnout.learn.outcomes import OutcomeTable

__all__ = ["add_calibration", "add_training", "calibrate", "train"]

EXTRA = frozenset({"duckdb", "numpy", "sklearn", "scipy"})
SEED = 0


def add_training(parser: argparse.ArgumentParser) -> None:
    """The verb's options."""
    parser.add_argument("--outcomes", action="append", default=[], metavar="FILE", help="parquet, csv or jsonl")
    parser.add_argument("--out", required=True, metavar="DIR", help="where the predictor and its versions are kept")
    parser.add_argument("--models", nargs="+", default=[], metavar="MODEL", help="only these")
    parser.add_argument("--prices", metavar="FILE", help="csv or toml: model, input, output in USD per million tokens")
    parser.add_argument("--force", action="store_true", help="take it even where it does not beat the zero router")
    parser.add_argument("--use", type=int, metavar="N", help="put version N in use again, and train nothing")
    parser.add_argument("--json", action="store_true")


def add_calibration(parser: argparse.ArgumentParser) -> None:
    """The verb's options."""
    parser.add_argument("--outcomes", required=True, metavar="FILE", help="that it was not trained on")
    parser.add_argument("--router", required=True, metavar="DIR", help="the folder of turnout train")
    parser.add_argument("--json", action="store_true")


def train(args: argparse.Namespace) -> int:
    """Fit, validate, keep. Raises InvalidRequest, ConfigError."""
    try:
        told = _used(args) if args.use is not None else _trained(args)
    except ModuleNotFoundError as error:
        raise _missing(error) from None
    _tell(told, as_json=args.json)
    return 0


def calibrate(args: argparse.Namespace) -> int:
    """Bend the chances to what other outcomes show. Raises InvalidRequest, ConfigError."""
    try:
        told = _calibrated(Path(args.outcomes), Path(args.router))
    except ModuleNotFoundError as error:
        raise _missing(error) from None
    _tell(told, as_json=args.json)
    return 0


def _missing(error: ModuleNotFoundError) -> Exception:
    if error.name not in EXTRA:
        return error
    return InvalidRequest(f"{error.name} is not installed; pip install 'turnout[learn]'")


def _used(args: argparse.Namespace) -> dict[str, object]:
    from turnout.stores.versions import Versions

    versions = Versions(args.out)
    versions.use(args.use)
    return {"version": args.use, "versions": [v.number for v in versions.listing()], "folder": args.out}


def _trained(args: argparse.Namespace) -> dict[str, object]:
    from turnout.learn.evaluate import Plan, pair_of, usable
    from turnout.learn.fit import Fit, fit_weights, validation_rows
    from turnout.learn.gate import validated
    from turnout.learn.outcomes import read_outcomes
    from turnout.learn.pricing import priced, read_prices
    from turnout.routing.features import features_of
    from turnout.stores.versions import Versions

    if len(args.outcomes) != 1:
        raise InvalidRequest("name one table of outcomes with --outcomes FILE (or --use N to go back to a version)")
    prices = read_prices(Path(args.prices)) if args.prices else {}
    whole = priced(read_outcomes(Path(args.outcomes[0])), prices)[0]
    table, notes = usable(whole, args.models)
    rows = validation_rows(len(table), SEED)
    verdict = validated(Fit(), table, rows, pair_of(table, Plan()), SEED)
    if verdict.failed and not args.force:
        raise InvalidRequest(
            f"not taken: on {len(rows):,} rows of {table.name} that were held out, it does not beat the best mix of"
            " single models (or is no better than chance); gather more outcomes, or take it with --force"
        )
    taught = whole.of_models(list(args.models)) if args.models else whole
    weights = fit_weights(
        [features_of(query) for query in taught.queries], taught.scores, taught.models, name=taught.name
    )
    number = Versions(args.out).put(weights.encode())
    return {
        "version": number,
        "folder": args.out,
        "outcomes": weights.count,
        "models": len(weights.models),
        "bytes": len(weights.encode()),
        "validated": {"apgr": verdict.apgr, "aiq": verdict.aiq},
        "left_out": dict(whole.left_out),
        "notes": notes,
    }


def _calibrated(outcomes: Path, folder: Path) -> dict[str, object]:
    from turnout.learn.calibrate import bent
    from turnout.learn.outcomes import read_outcomes
    from turnout.predicting import weights_of
    from turnout.stores.versions import Versions

    weights = weights_of(folder)
    table: OutcomeTable = read_outcomes(outcomes)
    better, before, after, count = bent(weights, table)
    number = Versions(folder).put(better.encode())
    return {"version": number, "folder": str(folder), "outcomes": count, "error_before": before, "error_after": after}


def _tell(told: dict[str, object], *, as_json: bool) -> None:
    if as_json:
        sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(told), indent=2) + b"\n")
        return
    for name, value in told.items():
        if value not in ({}, []):
            print(f"{name}: {value}")
