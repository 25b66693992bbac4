"""A function as source: called once for the whole span, its rows cut by event time."""

from datetime import date, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from ml_platform.partitions import data_partitions, windows_of
from ml_platform.sources import python
from ml_platform.sources.delivery import Delivery, Session, delivered
from ml_platform.use_case import PythonSource, UseCase

DAYS = ["2024-01-01", "2024-01-02", "2024-01-03"]

calls: list[tuple[Any, ...]] = []


@pytest.fixture(autouse=True)
def _no_calls() -> None:
    calls.clear()


def sales(at: Any) -> pl.DataFrame:
    return pl.DataFrame({"id": range(1, len(at) + 1), "at": at, "amount": [1.5] * len(at)}, strict=False)


def daily(start: datetime, end: datetime, **arguments: Any) -> pl.DataFrame:
    """One row at noon of each day of the window."""
    calls.append((start, end, arguments))
    return sales(pl.datetime_range(start, end, "1d", closed="left", eager=True) + timedelta(hours=12))


def whole(rows: int = 2) -> pl.DataFrame:
    calls.append((rows,))
    return sales([datetime(2024, 1, 1)] * rows)


def as_pandas(start: datetime, end: datetime) -> Any:
    return daily(start, end).to_pandas()


def as_lazy(start: datetime, end: datetime) -> pl.LazyFrame:
    return daily(start, end).lazy()


def as_arrow(start: datetime, end: datetime) -> Any:
    return daily(start, end).to_arrow()


def more_than_wanted(start: datetime, end: datetime) -> pl.DataFrame:  # noqa: ARG001 - as a source is called
    return sales([datetime(2023, 12, 31), datetime(2024, 1, 1), None, datetime(2024, 1, 2, 23), datetime(2024, 1, 3)])


def dates(start: datetime, end: datetime) -> pl.DataFrame:  # noqa: ARG001 - as a source is called
    return sales([date(2024, 1, 2), date(2024, 1, 1)])


def texts(start: datetime, end: datetime) -> pl.DataFrame:  # noqa: ARG001 - as a source is called
    return sales(["2024-01-02 08:00:00", "soon"])


def nothing_dated(start: datetime, end: datetime) -> pl.DataFrame:  # noqa: ARG001 - as a source is called
    return sales([None, None])


def zoned(start: datetime, end: datetime) -> pl.DataFrame:  # noqa: ARG001 - as a source is called
    at = pl.Series([datetime(2024, 1, 2, 0, 30), datetime(2024, 1, 2, 12)])
    return sales(at.dt.replace_time_zone("Europe/Berlin"))


def without_time(start: datetime, end: datetime) -> pl.DataFrame:
    return daily(start, end).rename({"at": "att"})


def nothing(start: datetime, end: datetime) -> None:
    calls.append((start, end))


def broken(start: datetime, end: datetime) -> pl.DataFrame:
    raise ConnectionError(f"no answer for {start:%d.%m.} to {end:%d.%m.}")


def use_case(function: str, arguments: dict[str, Any] | None = None, partitions: Any = None) -> UseCase:
    return UseCase.model_validate(
        {
            "name": "shop",
            "task": "regression",
            "source": {"type": "python", "function": f"{__name__}:{function}", "arguments": arguments or {}},
            "partitions": partitions or {"every": "day", "start": "2024-01-01", "end": "2024-04-01"},
            "contract": {
                "key": ["id"],
                "event_time": "at",
                "columns": {"id": {"type": "int64"}, "at": {"type": "datetime"}, "amount": {"type": "float64"}},
            },
            "label": {"column": "amount"},
            "model": {"estimator": "sklearn.linear_model.Ridge", "train_on": "7 days", "hold_out": "2 days"},
            "registry": {"name": "shop"},
        }
    )


def read(case: UseCase, *wanted: str) -> list[Delivery]:
    """Read the source for partitions, or as a whole."""
    assert isinstance(case.source, PythonSource)
    definition = data_partitions(case)
    return python.read(case.source, case, windows_of(definition, wanted) if definition else None, Session())


def ids(deliveries: list[Delivery]) -> dict[str | None, list[int]]:
    return {one.partition: one.load()["id"].to_list() for one in deliveries}


def test_the_function_is_called_once_for_the_whole_span() -> None:
    found = read(use_case("daily"), *DAYS)
    assert calls == [(datetime(2024, 1, 1), datetime(2024, 1, 4), {})]
    assert ids(found) == {DAYS[0]: [1], DAYS[1]: [2], DAYS[2]: [3]}


def test_weeks_and_months_are_whole_windows() -> None:
    partitions = {"every": "month", "start": "2024-01-01", "end": "2024-04-01"}
    found = read(use_case("daily", partitions=partitions), "2024-01-01", "2024-02-01")
    assert calls == [(datetime(2024, 1, 1), datetime(2024, 3, 1), {})]
    assert [len(each) for each in ids(found).values()] == [31, 29]


def test_arguments_are_handed_on() -> None:
    arguments = {"shop": "ä", "shares": [0.5, 0.5], "limit": 3, "paid": True}
    read(use_case("daily", arguments), DAYS[1])
    assert calls == [(datetime(2024, 1, 2), datetime(2024, 1, 3), arguments)]


def test_without_partitions_the_function_is_called_with_its_arguments_only() -> None:
    (delivery,) = read(use_case("whole", {"rows": 3}, partitions="none"))
    assert calls == [(3,)]
    assert delivery.partition is None
    assert ids([delivery]) == {None: [1, 2, 3]}


@pytest.mark.parametrize("function", ["as_pandas", "as_lazy", "as_arrow"])
def test_a_result_may_be_any_kind_of_frame(function: str) -> None:
    for found, expected in zip(read(use_case(function), *DAYS), read(use_case("daily"), *DAYS), strict=True):
        assert_frame_equal(found.load(), expected.load())


def test_rows_outside_the_span_and_without_a_time_come_with_the_first_partition() -> None:
    found = read(use_case("more_than_wanted"), DAYS[0], DAYS[1])
    assert ids(found) == {DAYS[0]: [1, 2, 3, 5], DAYS[1]: [4]}
    assert all(one.load().columns == ["id", "at", "amount"] for one in found)


def test_the_first_partition_is_the_earliest_however_they_are_asked_for() -> None:
    found = read(use_case("more_than_wanted"), DAYS[1], DAYS[0])
    assert ids(found) == {DAYS[1]: [4], DAYS[0]: [1, 2, 3, 5]}


def test_a_partition_without_rows_gets_none_and_keeps_the_columns() -> None:
    found = read(use_case("more_than_wanted"), *DAYS, "2024-01-04")
    assert ids(found)["2024-01-04"] == []
    assert found[3].load().schema == found[0].load().schema


def test_a_date_is_an_event_time() -> None:
    assert ids(read(use_case("dates"), DAYS[0], DAYS[1])) == {DAYS[0]: [2], DAYS[1]: [1]}


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        ("texts", {DAYS[0]: [2], DAYS[1]: [1]}),
        ("nothing_dated", {DAYS[0]: [1, 2], DAYS[1]: []}),
        ("zoned", {DAYS[0]: [1], DAYS[1]: [2]}),
    ],
)
def test_event_times_are_read_as_the_contract_reads_them(function: str, expected: dict[str, list[int]]) -> None:
    assert ids(read(use_case(function), DAYS[0], DAYS[1])) == expected


def test_a_result_without_the_event_time_is_delivered_as_it_is() -> None:
    found = read(use_case("without_time"), DAYS[0])
    assert found[0].load().columns == ["id", "att", "amount"]


def test_what_is_no_frame_is_refused_by_the_name_of_the_function() -> None:
    message = rf"^The result of {__name__}:nothing is a builtins.NoneType; it must be one of polars.DataFrame, "
    with pytest.raises(TypeError, match=message):
        read(use_case("nothing"), DAYS[0])


def test_what_the_function_raises_comes_through() -> None:
    with pytest.raises(ConnectionError, match=r"^no answer for 01.01. to 02.01.$"):
        read(use_case("broken"), DAYS[0])


def constant(start: datetime, end: datetime, amount: float = 1.5) -> pl.DataFrame:
    """A row each day whose values do not depend on the window."""
    at = pl.datetime_range(start, end, "1d", closed="left", eager=True)
    return pl.DataFrame({"id": at.dt.ordinal_day().cast(pl.Int64), "at": at, "amount": [amount] * at.len()})


def fingerprints(function: str, *wanted: str, **arguments: Any) -> dict[str | None, str]:
    return {one.partition: one.fingerprint for one in read(use_case(function, arguments), *wanted)}


def test_the_fingerprint_is_that_of_the_rows() -> None:
    first = fingerprints("constant", *DAYS)
    assert len(set(first.values())) == 3
    assert fingerprints("constant", *DAYS, amount=1.5) == first
    assert set(first.values()).isdisjoint(fingerprints("constant", *DAYS, amount=2.5).values())


def test_the_fingerprint_tells_columns_and_types_apart() -> None:
    frames = [sales([datetime(2024, 1, 1)])]
    frames += [frames[0].cast({"id": pl.Int32}), frames[0].rename({"id": "key"}), frames[0].drop("amount")]
    assert len({delivered(None, frame).fingerprint for frame in frames}) == 4


def test_a_partition_has_the_same_fingerprint_whatever_it_is_asked_for_with() -> None:
    together = fingerprints("constant", *DAYS)
    assert {day: one for day in DAYS for one in fingerprints("constant", day).values()} == together


def test_how_missing_values_came_about_is_not_in_the_fingerprint() -> None:
    rows = pl.DataFrame({"id": [1, 2, 3], "amount": [1.5, None, 2.5]})
    masked = rows.with_columns(pl.col("amount").fill_null(9.5)).with_columns(
        amount=pl.when(pl.col("id") != 2).then("amount")
    )
    assert_frame_equal(masked, rows)
    assert delivered(None, masked).fingerprint == delivered(None, rows).fingerprint
    rest = rows.drop_nulls()
    assert delivered(None, pl.DataFrame(rest.to_dict())).fingerprint == delivered(None, rest).fingerprint


def test_without_partitions_the_fingerprint_is_that_of_all_rows() -> None:
    found = {read(use_case("whole", {"rows": rows}, "none"))[0].fingerprint for rows in (1, 2, 2)}
    assert len(found) == 2
