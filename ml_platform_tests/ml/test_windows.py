"""The trailing windows against exact arithmetic row by row, whatever else is in the frame, and for people."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from fractions import Fraction
from math import fsum, inf, isclose, nan
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from ml_platform.ml.windows import Aggregate, trailing_windows

Row = tuple[str | None, int, float | None, bool | None]

START = datetime(2018, 4, 1)
NO_DELAY = timedelta(0)
AGGREGATES = [
    Aggregate("count_{window}", "count"),
    Aggregate("sum_{window}", "sum", "amount"),
    Aggregate("mean_{window}", "mean", "amount"),
    Aggregate("min_{window}", "min", "amount"),
    Aggregate("max_{window}", "max", "amount", empty=-1.0),
    Aggregate("share_{window}", "share", "fraud", empty=0.0),
]

cards = st.sampled_from(["a", "b", "c", None])
amounts = st.one_of(
    st.none(),
    st.sampled_from([0.0, -0.0, 0.1, 5e-324, -1e290, 1e290, 2.0**53, -(2.0**53)]),
    st.integers(-9999, 9999).map(lambda cents: cents / 100),
    st.floats(-1e290, 1e290),
)
frauds = st.sampled_from([None, True, False])
rows_of_frames = st.lists(st.tuples(cards, st.integers(-20, 20), amounts, frauds), max_size=40)
lengths = st.lists(st.integers(1, 25), min_size=1, max_size=3, unique=True)
delays = st.integers(0, 15)


def hours(number: int) -> timedelta:
    return timedelta(hours=number)


def frame(rows: Sequence[Row]) -> pl.DataFrame:
    schema = {"card": pl.String(), "at": pl.Datetime("us"), "amount": pl.Float64(), "fraud": pl.Boolean()}
    return pl.DataFrame([(card, START + hours(at), *rest) for card, at, *rest in rows], schema=schema, orient="row")


def trailing(events: pl.DataFrame, windows: Mapping[str, timedelta], delay: timedelta = NO_DELAY) -> pl.DataFrame:
    return trailing_windows(events, entity="card", time="at", windows=windows, aggregates=AGGREGATES, delay=delay)


def in_window(row: Row, of: Row, length: int, delay: int) -> bool:
    return row[0] is not None and row[0] == of[0] and of[1] - delay - length < row[1] <= of[1] - delay


def exactly(inside: Sequence[Row]) -> list[float | None]:
    """The aggregates of the rows of one window, each rounded once."""
    values = [amount for *_, amount, _ in inside if amount is not None]
    known = [fraud for *_, fraud in inside if fraud is not None]
    total = sum(map(Fraction, values), Fraction(0))
    return [
        len(inside),
        float(total),
        float(total / len(values)) if values else None,
        min(values, default=None),
        max(values, default=-1.0),
        sum(known) / len(known) if known else 0.0,
    ]


def almost(value: float | None, exact: float | None) -> bool:
    """Whether two numbers differ by a few units in the last place at most."""
    if value is None or exact is None:
        return value is exact
    return isclose(value, exact, rel_tol=1e-15, abs_tol=1e-323)


def bits(values: Sequence[Any]) -> list[Any]:
    return [value.hex() if isinstance(value, float) else value for value in values]


@settings(deadline=None)
@given(rows_of_frames, lengths, delays)
def test_equals_exact_arithmetic(rows: list[Row], lengths: list[int], delay: int) -> None:
    found = trailing(frame(rows), {str(length): hours(length) for length in lengths}, hours(delay))
    assert found.columns == [each.name.replace("{window}", str(length)) for each in AGGREGATES for length in lengths]
    assert len(found) == len(rows)
    for length in lengths:
        for row, values in zip(rows, found.select(rf"^.*_{length}$").rows(), strict=True):
            inside = [other for other in rows if in_window(other, row, length, delay)]
            assert all(map(almost, values, exactly(inside)))


@settings(deadline=None)
@given(rows_of_frames.filter(bool), st.integers(1, 25), delays, st.data())
def test_is_the_same_to_the_last_bit_without_the_rows_outside_the_window(
    rows: list[Row], length: int, delay: int, data: st.DataObject
) -> None:
    row = data.draw(st.sampled_from(rows))
    inside = [other for other in rows if other is not row and in_window(other, row, length, delay)]
    alone = frame([row, *data.draw(st.permutations(inside))])
    windows = {"w": hours(length)}
    everything = trailing(frame(rows), windows, hours(delay)).row(rows.index(row))
    assert bits(everything) == bits(trailing(alone, windows, hours(delay)).row(0))


def test_does_not_carry_the_rounding_of_earlier_rows() -> None:
    rows: list[Row] = [("a", 0, 1e290, None), ("a", 1, -3e-9, None), ("a", 50, 0.1, None), ("a", 51, 0.2, None)]
    windows = {"w": hours(2)}
    assert bits(trailing(frame(rows), windows).row(3)) == bits(trailing(frame(rows[2:]), windows).row(1))
    assert trailing(frame(rows), windows)["sum_w"][3] == 0.1 + 0.2


def test_the_order_of_ties_does_not_choose_between_the_zeros() -> None:
    zeros: list[Row] = [("a", 0, 0.0, None), ("a", 0, -0.0, None)]
    windows = {"w": hours(1)}
    assert bits(trailing(frame(zeros), windows).row(0)) == bits(trailing(frame(zeros[::-1]), windows).row(0))


def test_one_entity_may_own_every_row() -> None:
    rng = np.random.default_rng(1)
    amounts = rng.uniform(2**25, 2**26, 30_000)
    events = pl.DataFrame(
        {"card": "a", "at": pl.int_range(30_000, eager=True).cast(pl.Datetime("ms")), "amount": amounts, "fraud": False}
    )
    found = trailing(events, {"w": timedelta(seconds=20), "all": hours(1)}, timedelta(seconds=5))
    for last in range(0, 30_000, 1777):
        for label, first in (("w", max(last - 24_999, 0)), ("all", 0)):
            inside = amounts[first : max(last - 4_999, 0)].tolist()
            count, total, _, low, high, _ = found.select(rf"^.*_{label}$").row(last)
            assert (count, low, high) == (len(inside), min(inside, default=None), max(inside, default=-1.0))
            assert almost(total, fsum(inside))
    recent = {"w": timedelta(seconds=2)}
    assert bits(trailing(events, recent).row(-1)) == bits(trailing(events.tail(2_000), recent).row(-1))


def test_agrees_with_polars_on_many_entities() -> None:
    rng = np.random.default_rng(2)
    events = pl.DataFrame(
        {
            "card": rng.integers(0, 900, 20_000),
            "at": pl.Series(rng.integers(0, 60 * 86_400, 20_000) * 1000).cast(pl.Datetime("ms")),
            "amount": rng.lognormal(3, 1, 20_000),
            "fraud": rng.random(20_000) < 0.1,
        }
    ).with_columns(pl.col("card").cast(pl.String))
    found = events.hstack(trailing(events, {"w": timedelta(days=7)}, timedelta(days=3)))
    rolled = (
        events.sort("at")
        .rolling("at", period="7d", offset="-10d", group_by="card")
        .agg(pl.len().alias("count_w"), pl.mean("amount").alias("mean_w"))
    )
    key = ["card", "at"]
    assert_frame_equal(
        found.select(rolled.columns).unique(key).sort(key),
        rolled.unique(key).sort(key),
        check_dtypes=False,
        rel_tol=1e-12,
    )


@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
def test_takes_every_time_unit(unit: Any) -> None:
    rows: list[Row] = [("a", 0, 1.0, True), ("b", 1, 2.0, True), ("a", 24, 4.0, False), ("a", 23, None, None)]
    windows = {"1DAY": timedelta(days=1)}
    events = frame(rows)
    found = trailing(events.with_columns(pl.col("at").dt.cast_time_unit(unit)), windows)
    assert_frame_equal(found, trailing(events, windows))
    assert found["count_1DAY"].to_list() == [1, 1, 2, 2]


def test_keeps_nanoseconds_apart() -> None:
    at = pl.Series([0, 999, 1000, 1001], dtype=pl.Int64).cast(pl.Datetime("ns"))
    events = pl.DataFrame({"card": "a", "at": at, "amount": 1.0, "fraud": False})
    assert trailing(events, {"w": timedelta(microseconds=1)})["count_w"].to_list() == [1, 2, 2, 3]


def test_a_day_has_24_hours_in_every_time_zone() -> None:
    local = pl.Series([datetime(2018, 3, 24, 12), datetime(2018, 3, 25, 12, 30)]).dt.replace_time_zone("Europe/Berlin")
    events = pl.DataFrame({"card": "a", "at": local, "amount": 1.0, "fraud": False})
    assert trailing(events, {"1DAY": timedelta(days=1)})["count_1DAY"].to_list() == [1, 2]


@pytest.mark.parametrize("dtype", [pl.Int64, pl.UInt8, pl.Float32, pl.Decimal(10, 2), pl.Boolean])
def test_takes_every_numeric_column(dtype: Any) -> None:
    events = frame([("a", hour, float(hour % 2), hour % 2 == 1) for hour in range(9)])
    windows = {"w": hours(4)}
    cast = events.with_columns(pl.col("amount").cast(pl.Int64).cast(dtype), pl.col("fraud").cast(pl.Int8))
    assert_frame_equal(trailing(cast, windows), trailing(events, windows))


def test_an_empty_frame_gives_empty_columns() -> None:
    found = trailing(frame([]), {"w": hours(1)})
    assert found.is_empty()
    assert found.dtypes == [pl.Int64, *[pl.Float64] * 5]


def test_leaves_the_events_alone() -> None:
    events = frame([("b", 3, 1.0, None), ("a", 1, -0.0, True), (None, 2, None, False)])
    before = events.clone()
    trailing(events, {"w": hours(2)})
    assert_frame_equal(events, before)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("x", "average", "amount"), "there is no function 'average'; there is 'count'"),
        (("x", "count", "amount"), "count takes no column, every other function takes one; remove the column"),
        (("x", "mean"), "count takes no column, every other function takes one; give it the column"),
        (("x", "sum", "amount", 1.0), "Aggregate 'x': sum is 0 over no rows; remove its empty value"),
    ],
)
def test_says_what_is_wrong_with_an_aggregate(arguments: tuple[Any, ...], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        Aggregate(*arguments)


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"entity": "crad"}, "no column 'crad' in the events; did you mean 'card'"),
        ({"time": "amount"}, "needs Datetime in 'amount' and found Float64; cast it"),
        ({"time": "later"}, "found 1 events without 'later'; fill or drop them"),
        ({"aggregates": [Aggregate("x", "mean", "card")]}, "needs numbers in 'card' and found String; cast it"),
        ({"aggregates": [Aggregate("x", "max", "nan")]}, "NaN or values beyond 1e[+]290 in 'nan'; make them null"),
        ({"aggregates": [Aggregate("x", "sum", "inf")]}, "NaN or values beyond 1e[+]290 in 'inf'; make them null"),
        ({"aggregates": [Aggregate("x", "share", "amount")]}, "found more than 0 and 1 in 'amount'; take its mean"),
        ({"aggregates": [Aggregate("x", "count")] * 2}, "two columns 'x'; put {window} into their name"),
        ({"windows": {"w": NO_DELAY}}, "looks back, by 100 years at most; correct the lengths or the delay"),
        ({"windows": {"w": timedelta.max}}, "looks back, by 100 years at most"),
        ({"delay": -hours(1)}, "looks back, by 100 years at most"),
        ({"delay": timedelta.max}, "looks back, by 100 years at most"),
    ],
)
def test_says_what_is_wrong_with_the_arguments(changed: dict[str, Any], sentence: str) -> None:
    events = frame([("a", 0, 5.0, True), ("a", 1, None, None)]).with_columns(
        later=pl.col("at").shift(1), nan=pl.lit(nan), inf=pl.lit(-inf)
    )
    arguments = {"entity": "card", "time": "at", "windows": {"w": hours(1)}, "aggregates": AGGREGATES, **changed}
    with pytest.raises(ValueError, match=sentence):
        trailing_windows(events, **arguments)
