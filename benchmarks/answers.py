"""Whether contenders gave the same answer: a fast wrong answer is none."""

from collections.abc import Sequence
from datetime import date
from pathlib import Path

import polars as pl
from polars.testing import assert_frame_equal

TABLES = ("raw_data", "quarantine", "validated_data", "features")
KEY = "TRANSACTION_ID"
DAYS_AT_ONCE = 20


def check_equal_tables(one: Path, other: Path, days: Sequence[date], tables: Sequence[str] = TABLES) -> None:
    """Compare the rows of some days in the tables of two lakes, sorted by key.

    Raises:
        SystemExit: they differ.
    """
    for table in tables:
        for start in range(0, len(days), DAYS_AT_ONCE):
            some = days[start : start + DAYS_AT_ONCE]
            first, second = (_rows(lake / table, some) for lake in (one, other))
            check_equal(first, second, f"{table} of {some[0]}..{some[-1]}")


def check_equal(first: pl.DataFrame, second: pl.DataFrame, what: str) -> None:
    """Compare two frames.

    Raises:
        SystemExit: they differ, or hold nothing.
    """
    try:
        assert_frame_equal(first, second, check_column_order=False, check_exact=True)
    except AssertionError as error:
        raise SystemExit(f"the contenders give different answers in {what}: {error}") from None
    if first.is_empty():
        raise SystemExit(f"the contenders gave no rows in {what}.")


def _rows(table: Path, days: Sequence[date]) -> pl.DataFrame:
    rows = pl.scan_delta(str(table)).filter(pl.col("partition").is_between(days[0], days[-1])).collect()
    # two payments may share an id in raw data and in quarantine
    return rows.sort(KEY, *sorted({"TX_DATETIME", "CUSTOMER_ID", "TERMINAL_ID"} & set(rows.columns)))
