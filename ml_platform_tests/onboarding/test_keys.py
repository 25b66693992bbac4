"""What names a row and when it happened: proposals from the data."""

from datetime import datetime, timedelta

import polars as pl

from ml_platform.onboarding.columns import columns_of
from ml_platform.onboarding.keys import Key, choose_key, key_of, likely_times, repeating_ids

ROWS = 200
START = datetime(2024, 1, 1)


def key(rows: pl.DataFrame, time: str | None = None) -> Key:
    return choose_key(rows, columns_of(rows, None), ["target"], time)


def test_a_unique_column_is_the_key_one_with_such_a_name_first() -> None:
    rows = pl.DataFrame({"amount": range(ROWS), "order_id": range(ROWS), "target": range(ROWS)})
    assert key(rows).columns == ("order_id",)
    assert key(rows.drop("order_id")).columns == ("amount",)


def test_a_nearly_unique_column_is_the_key_and_repeats_are_counted() -> None:
    rows = pl.DataFrame({"id": [*range(ROWS), 0, 1]})
    assert key(rows) == Key(("id",), 2, "2 rows repeat one")


def test_columns_that_are_unique_together_are_the_key_with_as_few_as_it_takes() -> None:
    rows = pl.DataFrame(
        {
            "always": ["x"] * ROWS,
            "kind": ["a", "b"] * (ROWS // 2),
            "day": [START + timedelta(days=row // 4) for row in range(ROWS)],
            "hour": [row // 2 % 2 for row in range(ROWS)],
        }
    )
    assert set(key(rows, "day").columns) == {"kind", "day", "hour"}
    assert key(pl.concat([rows, rows.head(3)]), "day").repeated == 3


def test_columns_with_missing_values_and_floats_are_no_key() -> None:
    rows = pl.DataFrame({"id": [None, *range(1, ROWS)], "measure": [0.5 + row for row in range(ROWS)]})
    assert key(rows).columns == ()


def test_a_given_key_tells_how_often_it_repeats() -> None:
    rows = pl.DataFrame({"one": [1, 1, 2], "other": [1, 1, 1]})
    assert key_of(rows, ["one", "other"]).repeated == 1


def test_the_earliest_filled_time_comes_first_and_births_last() -> None:
    days = [START + timedelta(days=row) for row in range(ROWS)]
    rows = pl.DataFrame(
        {
            "born": [day - timedelta(days=9000) for day in days],
            "paid": [day + timedelta(days=9) for day in days],
            "ordered": days,
            "returned": [None] * (ROWS // 2) + days[: ROWS // 2],
        }
    )
    assert likely_times(rows, columns_of(rows, None), "target") == ["ordered", "paid", "born"]


def test_ids_that_repeat_are_entities_perhaps() -> None:
    rows = pl.DataFrame({"customer_id": [row // 3 for row in range(ROWS)], "size": [row // 3 for row in range(ROWS)]})
    assert repeating_ids(rows, columns_of(rows, None), []) == {"customer_id": 67}
