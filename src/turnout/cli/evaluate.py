"""`turnout eval`: routers on tables of outcomes, beside the baselines that every claim must beat."""

from __future__ import annotations

import argparse
import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from turnout.errors import InvalidRequest

if TYPE_CHECKING:
    from rich.table import Table

    from turnout.learn.evaluate import Learned, Report, Row, Scores

__all__ = ["add_evaluation", "evaluation"]

LEARNED = "turnout"
EXTRA = frozenset({"duckdb", "numpy", "sklearn"})
WIDTH = 170
"""Of what is piped."""

COLUMNS = (
    *("queries", "APGR", "", "CPT50", "CPT80"),
    *("AIQ", "", "saved@95", "@98", "@100", "arena", "ECE", "p50/p99 ms", "below"),
)

NOTES = (
    "APGR, CPT (percent of strong calls): as RouteLLM, between the two models named",
    "AIQ as RouterBench; saved: beside the best single model, at 95, 98, 100 % of its quality; arena: as RouterArena,",
    "  its best setting: all three over all models, by what they cost",
    "brackets: 95 % over queries (bootstrap, the same resamples for every router); published: as printed elsewhere",
)


def add_evaluation(parser: argparse.ArgumentParser) -> None:
    """The verb's options."""
    parser.add_argument("--outcomes", action="append", required=True, metavar="FILE", help="parquet, csv or jsonl")
    parser.add_argument(
        "--router",
        action="append",
        default=[],
        metavar="R",
        help="random, length, zero, best, oracle, turnout, the folder of a trained model, or NAME=FILE of another"
        " router's scores; all that need no file where left out",
    )
    parser.add_argument(
        "--labels",
        action="append",
        type=int,
        default=[],
        metavar="N",
        help="learn from N of the queries, test on the rest",
    )
    parser.add_argument("--folds", type=int, metavar="K", help="test each of K folds by what the others teach")
    parser.add_argument("--by-dataset", action="store_true", help="test each dataset by what the others teach")
    parser.add_argument("--strong", metavar="MODEL", help="of the two models of APGR (default: the best)")
    parser.add_argument("--weak", metavar="MODEL", help="the other (default: the cheapest; without costs, the worst)")
    parser.add_argument(
        "--models", nargs="+", default=[], metavar="MODEL", help="only these (default: all that were asked everything)"
    )
    parser.add_argument("--prices", metavar="FILE", help="csv or toml: model, input, output in USD per million tokens")
    parser.add_argument("--seed", type=int, default=0, help="of splits and intervals (default 0)")
    parser.add_argument("--json", action="store_true")


def evaluation(args: argparse.Namespace) -> int:
    """Read, measure and print. Raises InvalidRequest."""
    try:
        reports = _reports(args)
    except ModuleNotFoundError as error:
        if error.name not in EXTRA:
            raise
        raise InvalidRequest(f"{error.name} is not installed; pip install 'turnout[learn]'") from None
    if args.json:
        sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode({"data": reports}), indent=2) + b"\n")
    else:
        _show(reports)
    return 0


def _reports(args: argparse.Namespace) -> list[Report]:
    from turnout.learn.baselines import BASELINES
    from turnout.learn.evaluate import Plan, evaluate, usable
    from turnout.learn.outcomes import read_outcomes
    from turnout.learn.pricing import priced, read_prices

    prices = read_prices(Path(args.prices)) if args.prices else {}
    asked = args.router or [*BASELINES, *([LEARNED] if _has_fit() else [])]
    learned, scored = _routers([name for name in asked if name not in BASELINES])
    plan = Plan(
        baselines=tuple(name for name in BASELINES if name in asked),
        labels=tuple(args.labels),
        folds=args.folds,
        by_dataset=args.by_dataset,
        strong=args.strong,
        weak=args.weak,
        seed=args.seed,
    )
    tables = {file: read_outcomes(Path(file)) for file in dict.fromkeys(args.outcomes)}
    reports: list[Report] = []
    for file, whole in tables.items():
        table, said = usable(priced(whole, prices)[0], args.models)
        others = {other: told.queries for other, told in tables.items() if other != file}
        report = evaluate(table, plan, learned=learned, scored=scored, others=others)
        left_out = [f"{n:,} rows of the file are left out: {why}" for why, n in whole.left_out.items()]
        reports.append(msgspec.structs.replace(report, notes=[*left_out, *said, *report.notes]))
    return reports


def _has_fit() -> bool:
    return importlib.util.find_spec("turnout.learn.fit") is not None


def _routers(asked: Sequence[str]) -> tuple[dict[str, Learned], dict[str, Scores]]:
    from turnout.learn.evaluate import read_scores

    learned: dict[str, Learned] = {}
    scored: dict[str, Scores] = {}
    for text in asked:
        name, found, file = text.partition("=")
        if found and name:
            scored[name] = read_scores(Path(file))
        elif text == LEARNED or Path(text).is_dir():
            learned[text] = _learned(text)
        else:
            raise InvalidRequest(
                f"there is no router {text!r}; write random, length, zero, best, oracle, turnout, the folder of a"
                " trained model, or NAME=FILE"
            )
    return learned, scored


def _learned(text: str) -> Learned:
    """What `turnout train` fits. Only the packaged one learns anew from labels: a folder is measured as it is."""
    from turnout.learn.evaluate import Learned

    if not _has_fit():
        raise InvalidRequest(f"--router {text}: this installation has no learned router (turnout.learn.fit)")
    fit = importlib.import_module("turnout.learn.fit")
    if text != LEARNED:
        return Learned(predictor=fit.load(text))
    return Learned(predictor=fit.load(None), fitter=fit.Fit())


def _show(reports: Sequence[Report]) -> None:
    from rich.console import Console

    console = Console(width=None if sys.stdout.isatty() else WIDTH)
    for report in reports:
        told = report.table
        for dataset in dict.fromkeys(row.dataset for row in report.routers):
            queries = told.datasets.get(dataset, told.queries)
            title = (
                f"{told.name}: {dataset}, {queries:,} queries, {len(told.models)} models; {told.weak} to {told.strong}"
            )
            console.print(_table(title, [row for row in report.routers if row.dataset == dataset]))
        for note in report.notes:
            console.print(note, style="yellow", highlight=False, markup=False)
        if told.estimated_costs:
            console.print("costs: the file's token counts at list prices", style="dim", highlight=False)
    for note in NOTES:
        console.print(note, style="dim", highlight=False)


def _table(title: str, rows: Sequence[Row]) -> Table:
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    table.add_column("router", no_wrap=True)
    table.add_column("protocol", no_wrap=True)
    for head in COLUMNS:
        table.add_column(head, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*_cells(row), style="red" if row.below else None)
    return table


def _cells(row: Row) -> list[str]:
    latency = row.latency_ms
    return [
        row.name,
        ("" if row.protocol == "none" else row.protocol) + (", gated" if row.gated else ""),
        "" if row.queries is None else f"{row.queries:,}",
        _figure(row.apgr and row.apgr.value, ".3f"),
        _range(row.apgr and row.apgr.low, row.apgr and row.apgr.high),
        _figure(row.cpt50, ".1f"),
        _figure(row.cpt80, ".1f"),
        _figure(row.aiq and row.aiq.value, ".3f"),
        _range(row.aiq and row.aiq.low, row.aiq and row.aiq.high),
        *(_figure(row.saved.get(level), ".0%") for level in ("95", "98", "100")),
        _figure(row.arena, ".3f"),
        _figure(row.ece, ".3f"),
        f"{latency['p50']:.2f}/{latency['p99']:.2f}" if latency else "",
        ", ".join(row.below),
    ]


def _figure(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def _range(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f"\\[{low:.3f}, {high:.3f}]"
