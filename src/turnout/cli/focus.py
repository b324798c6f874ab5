"""`turnout usage --csv` and `--parquet`: each day's costs in FOCUS columns, for tools that hold a company's bills."""

from __future__ import annotations

import csv
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from turnout.errors import ConfigError
from turnout.spend.focus import COLUMNS, Charged, focus_record

__all__ = ["write_charges"]


def write_charges(charges: Iterable[Charged], *, to_csv: str | None, to_parquet: str | None) -> None:
    """Write the files that are named, whole or not at all. Raises ConfigError where one cannot be written."""
    rows = [focus_record(charged) for charged in charges]
    for name, option, write in ((to_csv, "--csv", _csv), (to_parquet, "--parquet", _parquet)):
        if name is None:
            continue
        draft = Path(f"{name}.part")
        try:
            write(rows, draft)
            draft.replace(name)
        except OSError as error:
            raise ConfigError(f"{option} {name}: cannot be written ({error.strerror}); name another file") from error
        finally:
            draft.unlink(missing_ok=True)
        print(f"{name}: {len(rows)} {'row' if len(rows) == 1 else 'rows'}", file=sys.stderr)


Rows = Sequence[tuple[object, ...]]


def _csv(rows: Rows, file: Path) -> None:
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(COLUMNS)
        writer.writerows(rows)


def _parquet(rows: Rows, file: Path) -> None:
    try:
        import duckdb
    except ImportError:
        raise ConfigError("--parquet needs duckdb: pip install 'turnout[learn]', or write --csv") from None
    table = Path(f"{file}.csv")
    try:
        _csv(rows, table)
        with duckdb.connect() as db:
            db.execute("SET TimeZone = 'UTC'")
            db.read_csv(str(table), header=True, dtype=COLUMNS, delimiter=",", quotechar='"').write_parquet(str(file))
    finally:
        table.unlink(missing_ok=True)
