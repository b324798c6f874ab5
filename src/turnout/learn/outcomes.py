"""A table of outcomes: what several models scored on the same queries, read from parquet, CSV or JSONL.

One row of a file is one model's answer to one query: `dataset, query_id, query, model, score` (0 to 1), and where it is
known `cost_usd`, `input_tokens`, `output_tokens` (`in_tok`, `out_tok`), `meta`. In memory it is a matrix of queries by
models, with NaN where a model was not asked.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import duckdb
import numpy as np
from msgspec import Struct
from msgspec.structs import replace
from numpy.typing import NDArray

from turnout.errors import InvalidRequest

__all__ = ["CONTAMINATED", "Floats", "OutcomeTable", "Rows", "read_outcomes"]

Floats = NDArray[np.float64]
Rows = NDArray[np.intp]
"""Indices of a table's queries (or of its models)."""

CONTAMINATED = "contaminated"
"""In `meta`: the query was in some router's training data. RouteLLM leaves such prompts out of its evaluation."""

READERS = {
    ".parquet": "read_parquet(?)",
    ".csv": "read_csv(?, header = true, all_varchar = true)",
    ".jsonl": "read_json(?, format = 'newline_delimited')",
    ".ndjson": "read_json(?, format = 'newline_delimited')",
}
NEEDED = ("dataset", "query_id", "query", "model", "score")
NUMBERS = {"cost_usd": ("cost_usd",), "input": ("input_tokens", "in_tok"), "output": ("output_tokens", "out_tok")}
"""What we keep -> the columns that may hold it, the first that is there."""


class _Row(NamedTuple):
    dataset: str | None
    query_id: str | None
    query: str | None
    model: str | None
    score: float | None
    cost_usd: float | None
    input: float | None
    output: float | None
    meta: str | None


class OutcomeTable(Struct, frozen=True, kw_only=True, eq=False):
    """Matrices are [queries, models]; `costs` in USD. `meta` is the query's own remark. `left_out` counts the rows of
    the file that are not in here, by reason; `estimated_costs`: priced from tokens, and not recorded."""

    name: str
    datasets: tuple[str, ...]
    query_ids: tuple[str, ...]
    queries: tuple[str, ...]
    models: tuple[str, ...]
    scores: Floats
    costs: Floats
    input_tokens: Floats
    output_tokens: Floats
    meta: tuple[str, ...]
    left_out: Mapping[str, int]
    estimated_costs: bool = False

    def __len__(self) -> int:
        return len(self.queries)

    def index(self, model: str) -> int:
        """The column of a model. Raises InvalidRequest that names those there are."""
        if model not in self.models:
            raise InvalidRequest(f"{self.name} has no model {model!r}; it has {', '.join(self.models)}", param="model")
        return self.models.index(model)

    def of_models(self, models: Sequence[str]) -> OutcomeTable:
        """The same queries, and of the models only these, in this order. Raises InvalidRequest for an unknown one."""
        columns = [self.index(m) for m in models]
        return replace(
            self,
            models=tuple(models),
            scores=self.scores[:, columns],
            costs=self.costs[:, columns],
            input_tokens=self.input_tokens[:, columns],
            output_tokens=self.output_tokens[:, columns],
        )

    def of_rows(self, rows: Rows) -> OutcomeTable:
        """Only these queries."""
        return replace(
            self,
            datasets=tuple(self.datasets[i] for i in rows),
            query_ids=tuple(self.query_ids[i] for i in rows),
            queries=tuple(self.queries[i] for i in rows),
            meta=tuple(self.meta[i] for i in rows),
            scores=self.scores[rows],
            costs=self.costs[rows],
            input_tokens=self.input_tokens[rows],
            output_tokens=self.output_tokens[rows],
        )


def read_outcomes(file: Path) -> OutcomeTable:
    """Read a file. Rows that cannot be used are counted in `left_out`.

    Raises InvalidRequest where the file cannot be read, lacks a column, or has no usable row.
    """
    left_out: Counter[str] = Counter()
    seen: dict[tuple[str, str], int] = {}
    columns: dict[str, int] = {}
    texts: list[tuple[str, str, str, str]] = []
    cells: dict[tuple[int, int], _Row] = {}
    for row in _rows(file):
        fault = _fault(row)
        if fault:
            left_out[fault] += 1
            continue
        key = (row.dataset or "", row.query_id or "")
        told = (*key, row.query or "", row.meta or "")
        query = seen.setdefault(key, len(seen))
        if query == len(texts):
            texts.append(told)
        cell = (query, columns.setdefault(row.model or "", len(columns)))
        if texts[query][2] != told[2]:
            left_out["the query's id has another text elsewhere"] += 1
        elif cell in cells:
            left_out["a second answer of the model to the query"] += 1
        else:
            cells[cell] = row
    if not cells:
        raise InvalidRequest(f"{file}: no row can be used ({_told(left_out)})")
    return _table(file.stem, texts, columns, cells, left_out)


def _table(
    name: str,
    texts: Sequence[tuple[str, str, str, str]],
    columns: Mapping[str, int],
    cells: Mapping[tuple[int, int], _Row],
    left_out: Mapping[str, int],
) -> OutcomeTable:
    places = np.array(list(cells), dtype=np.intp)

    def matrix(values: Sequence[float | None]) -> Floats:
        told = np.full((len(texts), len(columns)), np.nan)
        told[places[:, 0], places[:, 1]] = np.array(values, dtype=np.float64)
        return told

    rows = list(cells.values())
    return OutcomeTable(
        name=name,
        datasets=tuple(t[0] for t in texts),
        query_ids=tuple(t[1] for t in texts),
        queries=tuple(t[2] for t in texts),
        meta=tuple(t[3] for t in texts),
        models=tuple(columns),
        scores=matrix([r.score for r in rows]),
        costs=matrix([_positive(r.cost_usd) for r in rows]),
        input_tokens=matrix([_positive(r.input) for r in rows]),
        output_tokens=matrix([_positive(r.output) for r in rows]),
        left_out=dict(left_out),
    )


def _rows(file: Path) -> list[_Row]:
    reader = READERS.get(file.suffix.lower())
    if reader is None:
        raise InvalidRequest(f"{file}: a table of outcomes is one of {', '.join(READERS)}")
    if not file.is_file():
        raise InvalidRequest(f"{file}: there is no such file")
    # What reads these formats is built in: nothing is to be fetched for it.
    settings: dict[str, str | bool | int | float | list[str]] = {"autoinstall_known_extensions": "false"}
    try:
        with duckdb.connect(config=settings) as database:
            found = database.execute(f"DESCRIBE SELECT * FROM {reader}", [str(file)]).fetchall()  # noqa: S608
            wanted = _selection(file, [str(row[0]) for row in found])
            told = database.execute(f"SELECT {wanted} FROM {reader}", [str(file)]).fetchall()  # noqa: S608
    except duckdb.Error as error:
        raise InvalidRequest(
            f"{file}: cannot be read as {file.suffix[1:]}: {' '.join(str(error).split())[:200]}"
        ) from None
    return [_Row(*row) for row in told]


def _selection(file: Path, columns: Sequence[str]) -> str:
    """What to select, in the order of `_Row`: a number that is none reads as NULL. Column names are ours, not the
    file's."""
    lacking = [name for name in NEEDED if name not in columns]
    if lacking:
        raise InvalidRequest(f"{file}: lacks {', '.join(lacking)}; it has {', '.join(columns)}")
    told = [f'CAST("{name}" AS VARCHAR)' for name in NEEDED[:-1]]
    told.append(_number("score"))
    for names in NUMBERS.values():
        name = next((n for n in names if n in columns), None)
        told.append(_number(name) if name else "NULL")
    told.append('CAST("meta" AS VARCHAR)' if "meta" in columns else "NULL")
    return ", ".join(told)


def _number(name: str) -> str:
    # Trimmed, or duckdb would let its CSV reader convert, which fails where TRY_CAST gives NULL.
    return f'TRY_CAST(trim(CAST("{name}" AS VARCHAR)) AS DOUBLE)'


def _fault(row: _Row) -> str | None:
    if row.score is None or not 0 <= row.score <= 1:
        return "the score is not a number from 0 to 1"
    if not row.model or not row.query_id or not row.dataset:
        return "no model, query_id or dataset"
    if not row.query or not row.query.strip():
        return "no text of the query"
    return None


def _positive(value: float | None) -> float:
    return math.nan if value is None or not math.isfinite(value) or value < 0 else value


def _told(left_out: Mapping[str, int]) -> str:
    return "; ".join(f"{n:,} x {why}" for why, n in left_out.items()) or "it is empty"
