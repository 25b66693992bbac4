"""Profiles: the numbers of each partition and column, their scales, and what became of columns that are gone."""

from datetime import date

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_platform.ml.monitored import DEPARTED, Limits, Profiled, judged
from ml_platform.ml.profiles import matrix_of, profiles, scales_of

FIRST, SECOND = date(2024, 1, 1), date(2024, 1, 2)
REFERENCE = pl.DataFrame(
    {
        "partition": [FIRST] * 4,
        "amount": [1.0, 2.0, 3.0, None],
        "constant": [5, 5, 5, 5],
        "new": [True, False, True, True],
        "city": ["Bern", "Bern", "Rome", None],
    }
)
FEATURES = ["amount", "constant", "new", "city"]


def found(rows: pl.DataFrame) -> dict[tuple[date, str, str], tuple[float, float, float]]:
    """Value, scaled value and sampling variance of rows by partition, column and metric, next to the reference."""
    table = profiles(rows.lazy(), scales_of(REFERENCE.lazy(), FEATURES))
    return {(day, column, metric): (value, scaled, noise) for day, column, metric, value, scaled, noise in table.rows()}


def test_each_number_has_its_value_scale_and_sampling_variance() -> None:
    numbers = found(REFERENCE)
    assert numbers[FIRST, "amount", "mean"] == (2.0, 2.0, 0.25)
    assert numbers[FIRST, "amount", "spread"] == (1.0, pytest.approx(np.log(1.01)), 0.125)
    assert numbers[FIRST, "amount", "nulls"] == (0.25, pytest.approx(2 * np.arcsin(0.5)), 0.25)
    assert numbers[FIRST, "constant", "mean"] == (5.0, 5.0, 0.25)
    assert numbers[FIRST, "new", "mean"][0] == 0.75
    assert numbers[FIRST, "city", "share of Bern"][0] == 0.5
    assert numbers[FIRST, "city", "new categories"][0] == 0
    assert numbers[FIRST, "rows", "rows"] == (4.0, pytest.approx(np.log(4)), 0.25)


def test_new_categories_numbers_that_are_not_finite_and_columns_that_are_gone_are_seen() -> None:
    rows = pl.DataFrame(
        {"partition": [SECOND] * 2, "amount": [float("nan"), 1.0], "city": ["Oslo\x1f", "Bern"], "new": [None, True]}
    )
    numbers = found(rows)
    assert numbers[SECOND, "amount", "nulls"][0] == 0.5
    assert numbers[SECOND, "amount", "mean"][0] == 1.0
    assert numbers[SECOND, "constant", "nulls"][0] == 1.0
    assert numbers[SECOND, "city", "new categories"][0] == 0.5
    assert numbers[SECOND, "city", "share of Rome"][0] == 0.0


@given(st.permutations(range(4)), st.integers(1, 4))
def test_neither_the_order_of_rows_nor_other_partitions_change_a_partition(order: list[int], others: int) -> None:
    more = REFERENCE.head(others).with_columns(pl.lit(SECOND).alias("partition"))
    numbers = found(pl.concat([more, REFERENCE[order]]))
    for name, values in found(REFERENCE).items():
        assert numbers[name] == pytest.approx(values, nan_ok=True)


def test_a_matrix_has_nan_where_a_partition_has_no_number() -> None:
    table = profiles(REFERENCE.lazy(), scales_of(REFERENCE.lazy(), ["amount"]))
    names = pl.DataFrame({"column": ["amount", "amount"], "metric": ["nulls", "median"]})
    matrix = matrix_of(table, "value", [FIRST, SECOND], names)
    np.testing.assert_array_equal(matrix, [[0.25, np.nan], [np.nan, np.nan]])


def test_a_share_that_jumps_departs_and_others_do_not() -> None:
    """Thirty days of two cities, one of them twice as frequent at week-ends; then a city that nobody knows."""
    rng = np.random.default_rng(0)
    days = pl.date_range(FIRST, date(2024, 2, 9), eager=True).to_list()
    rows = pl.concat(
        pl.DataFrame(
            {
                "partition": [day] * 1000,
                "city": rng.choice(["Bern", "Rome", "Oslo"], 1000, p=shares(day)),
                "amount": rng.normal(size=1000),
            }
        )
        for day in days
    )
    then, now = rows.filter(pl.col("partition") < days[30]), rows.filter(pl.col("partition") >= days[30])
    scales = scales_of(then.lazy(), ["city", "amount"])
    reference = Profiled(days[:30], profiles(then.lazy(), scales))
    limits = Limits(window=5, error_rate=1e-4, least=0.1, weekly=True, worse={})
    table = judged("data", reference, set(days[:21]), Profiled(days[30:], profiles(now.lazy(), scales)), limits)
    departed = table.filter(verdict=DEPARTED)
    assert set(departed["metric"]) == {"new categories", "share of Bern"}
    assert departed["partition"].min() >= date(2024, 2, 5)  # type: ignore[operator]


def shares(day: date) -> list[float]:
    """The shares of Bern, Rome and Oslo on a day."""
    rome = 0.4 if day.weekday() >= 5 else 0.2
    oslo = 0.15 if day >= date(2024, 2, 5) else 0.0
    return [1 - rome - oslo, rome, oslo]
