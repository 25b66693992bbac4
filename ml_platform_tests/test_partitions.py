"""Days of data and cutoffs of models, and that a mapping between them leads to every day that is needed."""

from collections.abc import Collection
from datetime import UTC, date, datetime, time, timedelta

import dagster as dg
import polars as pl
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ml_platform.ml.contract import PARTITION
from ml_platform.ml.splits import Window, windows_before
from ml_platform.partitions import (
    WEEKDAYS,
    cutoff_mapping,
    cutoff_partitions,
    data_partitions,
    day_of,
    lookback_mapping,
    missing_upstream,
    windows_of,
)
from ml_platform.stages.training_rows import missing_features
from ml_platform.use_case import Cadence, UseCase
from ml_platform_tests.examples import use_case

TimeWindows = dg.TimeWindowPartitionsDefinition

CADENCES: list[Cadence] = ["day", "week", "month"]


def data(case: UseCase) -> TimeWindows:
    definition = data_partitions(case)
    assert definition is not None
    return definition


def cutoffs(case: UseCase) -> TimeWindows:
    definition = cutoff_partitions(case)
    assert definition is not None
    return definition


def keys_at(definition: TimeWindows, moment: datetime) -> list[str]:
    return list(definition.get_partition_keys(current_time=moment.replace(tzinfo=UTC)))


def model(case: UseCase, cutoff: str) -> Window:
    """From the first row a model learns from to the last it is judged on."""
    return windows_before(datetime.combine(day_of(cutoff), time()), case.model, case.label).known


def mapped(case: UseCase, cutoff: str) -> list[str]:
    """The partitions of data to which a cutoff is mapped."""
    return missing_upstream(cutoffs(case), [cutoff], data(case), cutoff_mapping(case), present=())[cutoff]


def touched(case: UseCase, window: Window) -> list[str]:
    """The partitions of data that share a moment with a window."""
    windows = windows_of(data(case), data(case).get_partition_keys())
    return [key for key, one in windows.items() if one.start < window.end and window.start < one.end]


def test_without_partitions_there_is_nothing_to_map() -> None:
    case = use_case(partitions="none")
    assert data_partitions(case) is None
    assert cutoff_partitions(case) is None
    assert lookback_mapping(case) is None
    assert cutoff_mapping(case) is None
    assert missing_upstream(None, [None], None, None, present=()) == {}


@pytest.mark.parametrize(
    ("every", "keys"),
    [
        ("day", ["2024-01-01", "2024-01-02", "2024-02-29"]),
        ("week", ["2024-01-01", "2024-01-08", "2024-02-19"]),
        ("month", ["2024-01-01", "2024-02-01", "2024-02-01"]),
    ],
)
def test_a_partition_is_named_after_its_first_day(every: Cadence, keys: list[str]) -> None:
    found = data(use_case(partitions={"every": every, "end": "2024-03-01"})).get_partition_keys()
    assert [*found[:2], found[-1]] == keys


@pytest.mark.parametrize(
    ("every", "last_before", "last_from"),
    [
        ("day", "2024-03-30", "2024-03-31"),
        ("week", "2024-03-18", "2024-03-25"),
        ("month", "2024-02-01", "2024-03-01"),
    ],
)
def test_data_is_there_when_its_partition_is_over(every: Cadence, last_before: str, last_from: str) -> None:
    definition = data(use_case(partitions={"every": every, "end": None}))
    assert keys_at(definition, datetime(2024, 3, 31, 23, 59))[-1] == last_before
    assert keys_at(definition, datetime(2024, 4, 1))[-1] == last_from


def test_windows_are_naive_and_as_long_as_the_partition() -> None:
    definition = data(use_case(partitions={"every": "month"}))
    assert windows_of(definition, ["2024-01-01"]) == {"2024-01-01": Window(datetime(2024, 1, 1), datetime(2024, 2, 1))}


@pytest.mark.parametrize(
    ("every", "weekday", "first"),
    [
        ("day", "monday", date(2024, 1, 8)),
        ("week", "monday", date(2024, 1, 8)),
        ("week", "sunday", date(2024, 1, 14)),
        ("month", "monday", date(2024, 2, 1)),
    ],
)
def test_the_first_cutoff_has_its_whole_training_window(every: Cadence, weekday: str, first: date) -> None:
    case = use_case(model={"every": every, "weekday": weekday}, partitions={"end": "2024-03-01"})
    found = cutoffs(case).get_partition_keys()
    # 3 days of training, 2 of hold-out and 1 day until the labels of each are known
    assert model(case, "2024-01-08").start == datetime(2024, 1, 1)
    assert found[0] == str(first)


@pytest.mark.parametrize("weekday", WEEKDAYS)
def test_weekly_cutoffs_are_on_their_weekday(weekday: str) -> None:
    case = use_case(model={"every": "week", "weekday": weekday})
    assert {WEEKDAYS[day_of(key).weekday()] for key in cutoffs(case).get_partition_keys()} == {weekday}


@pytest.mark.parametrize("every", CADENCES)
def test_a_cutoff_is_there_as_soon_as_it_is_reached(every: Cadence) -> None:
    definition = cutoffs(use_case(model={"every": every}, partitions={"end": None}))
    # 2024-04-01 is a Monday and the first of a month
    assert keys_at(definition, datetime(2024, 3, 31, 23, 59))[-1] < "2024-04-01"
    assert keys_at(definition, datetime(2024, 4, 1))[-1] == "2024-04-01"


@pytest.mark.parametrize("every", CADENCES)
def test_no_cutoff_is_lost_when_the_data_ends(every: Cadence) -> None:
    endless = cutoffs(use_case(model={"every": every}, partitions={"end": None}))
    ending = cutoffs(use_case(model={"every": every}, partitions={"end": "2024-04-01"}))
    assert list(ending.get_partition_keys()) == keys_at(endless, datetime(2024, 4, 1))


def test_no_cutoff_comes_after_the_data() -> None:
    case = use_case(model={"every": "month"}, partitions={"start": "2023-11-01", "end": "2024-01-31"})
    assert [key for key in cutoffs(case).get_partition_keys() if key > "2024-01-31"] == []


@st.composite
def cases(draw: st.DrawFn) -> UseCase:
    days = st.integers(1, 40).map(lambda number: f"{number} days")
    return use_case(
        partitions={"every": draw(st.sampled_from(CADENCES)), "end": "2024-09-01"},
        label={"known_after": draw(st.integers(0, 40).map(lambda number: f"{number} days") | st.just("36 hours"))},
        model={
            "every": draw(st.sampled_from(CADENCES)),
            "weekday": draw(st.sampled_from(WEEKDAYS)),
            "train_on": draw(days),
            "hold_out": draw(days),
        },
    )


@settings(deadline=None)
@given(cases(), st.data())
def test_a_cutoff_is_mapped_to_every_partition_of_its_windows(case: UseCase, drawn: st.DataObject) -> None:
    found = cutoffs(case).get_partition_keys()
    assume(found)
    cutoff = drawn.draw(st.sampled_from(found))
    assert set(touched(case, model(case, cutoff))) <= set(mapped(case, cutoff))


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 3), st.integers(1, 3), st.integers(0, 3), st.sampled_from(WEEKDAYS), st.data())
def test_a_cutoff_is_mapped_to_no_other_partition_where_all_is_whole_weeks(
    train_on: int, hold_out: int, delay: int, weekday: str, drawn: st.DataObject
) -> None:
    case = use_case(
        partitions={"end": "2024-06-01"},
        label={"known_after": f"{delay} weeks"},
        model={"every": "week", "weekday": weekday, "train_on": f"{train_on} weeks", "hold_out": f"{hold_out} weeks"},
    )
    cutoff = drawn.draw(st.sampled_from(cutoffs(case).get_partition_keys()))
    assert mapped(case, cutoff) == touched(case, model(case, cutoff))


@pytest.mark.parametrize("every", ["week", "month"])
def test_a_day_outside_its_windows_is_not_missed_by_a_model(every: Cadence) -> None:
    case = use_case(model={"every": every}, label={"known_after": "3 days"}, partitions={"end": "2024-06-01"})
    needed = [day_of(key) for key in touched(case, model(case, "2024-04-01"))]
    features = pl.LazyFrame({PARTITION: needed})
    assert missing_features(case, features, ["2024-04-01"]) == {"2024-04-01": []}


@pytest.mark.parametrize(
    ("every", "lookback", "partition", "first"),
    [
        ("day", "0 days", "2024-03-20", "2024-03-20"),
        ("day", "1 hour", "2024-03-20", "2024-03-19"),
        ("day", "7 days", "2024-03-20", "2024-03-13"),
        ("day", "25 hours", "2024-03-20", "2024-03-18"),
        ("week", "7 days", "2024-03-18", "2024-03-11"),
        ("week", "8 days", "2024-03-18", "2024-03-04"),
        ("month", "28 days", "2024-03-01", "2024-02-01"),
        ("month", "30 days", "2024-03-01", "2024-01-01"),
        ("day", "500 days", "2024-03-20", "2024-01-01"),
    ],
)
def test_features_need_the_partitions_that_their_lookback_reaches(
    every: Cadence, lookback: str, partition: str, first: str
) -> None:
    case = use_case(partitions={"every": every, "end": "2024-06-01"}, features={"lookback": lookback})
    needed = missing_upstream(data(case), [partition], data(case), lookback_mapping(case), present=())[partition]
    assert needed == [key for key in data(case).get_partition_keys() if first <= key <= partition]


@settings(deadline=None, max_examples=50)
@given(st.sampled_from(CADENCES), st.integers(0, 24 * 100), st.data())
def test_a_lookback_is_covered_whatever_its_length(every: Cadence, hours: int, drawn: st.DataObject) -> None:
    case = use_case(partitions={"every": every, "end": "2024-09-01"}, features={"lookback": f"{hours} hours"})
    partition = drawn.draw(st.sampled_from(data(case).get_partition_keys()))
    (window,) = windows_of(data(case), [partition]).values()
    needed = missing_upstream(data(case), [partition], data(case), lookback_mapping(case), present=())[partition]
    assert set(touched(case, Window(window.start - timedelta(hours=hours), window.end))) <= set(needed)


def missing_days(partitions: list[str | None], present: Collection[str]) -> dict[str | None, list[str]]:
    case = use_case(features={"lookback": "3 days"})
    return missing_upstream(data(case), partitions, data(case), lookback_mapping(case), present)


def test_what_is_missing_is_told_by_partition_and_in_order() -> None:
    assert missing_days(["2024-01-06", "2024-01-04", "2024-01-12"], present=["2024-01-04", "2024-01-06"]) == {
        "2024-01-06": ["2024-01-03", "2024-01-05"],
        "2024-01-04": ["2024-01-01", "2024-01-02", "2024-01-03"],
        "2024-01-12": ["2024-01-09", "2024-01-10", "2024-01-11", "2024-01-12"],
    }


def test_nothing_is_missing_where_all_is_present() -> None:
    assert missing_days(["2024-01-06"], present=data(use_case()).get_partition_keys()) == {}
