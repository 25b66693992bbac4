"""Days of data and cutoffs of models, and that a mapping between them leads to every day that is needed."""

from datetime import UTC, date, datetime, time, timedelta

import dagster as dg
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ml_platform.ml.splits import Window, windows_before
from ml_platform.partitions import (
    WEEKDAYS,
    accepted_previews,
    cutoff_mapping,
    cutoff_partitions,
    data_partitions,
    day_of,
    known_by,
    lookback_steps,
    looked_at,
    looking_back_at,
    newest_cutoff,
    span,
    windows_of,
)
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


def upstream(case: UseCase, definition: TimeWindows, mapping: dg.PartitionMapping | None, key: str) -> list[str]:
    """The partitions of data to which Dagster maps a partition."""
    assert mapping is not None
    found = mapping.get_upstream_mapped_partitions_result_for_partitions(
        definition.empty_subset().with_partition_keys([key]), definition, data(case)
    )
    return list(found.partitions_subset.get_partition_keys())


def mapped(case: UseCase, cutoff: str) -> list[str]:
    """The partitions of data to which Dagster maps a cutoff."""
    return upstream(case, cutoffs(case), cutoff_mapping(case), cutoff)


def touched(case: UseCase, window: Window) -> list[str]:
    """The partitions of data that share a moment with a window."""
    windows = windows_of(data(case), data(case).get_partition_keys())
    return [key for key, one in windows.items() if one.start < window.end and window.start < one.end]


def test_without_partitions_there_is_nothing_to_map() -> None:
    case = use_case(partitions="none")
    assert data_partitions(case) is None
    assert cutoff_partitions(case) is None
    assert newest_cutoff(case, datetime(2024, 3, 1)) is None
    assert looking_back_at(case, [None]) == []
    assert cutoff_mapping(case) is None
    assert lookback_steps(case) == 0
    assert looked_at(case, [None]) == {None: [None]}
    assert known_by(case, None) == [None]


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


@pytest.mark.parametrize(
    ("every", "moment", "newest"),
    [
        ("day", "2024-01-07", None),
        ("day", "2024-01-08", "2024-01-08"),
        ("week", "2024-01-10 23:59", None),
        ("week", "2024-01-11", "2024-01-11"),
        ("week", "2024-01-17", "2024-01-11"),
        ("month", "2024-01-31", None),
        ("month", "2024-03-31", "2024-03-01"),
    ],
)
def test_the_newest_cutoff_is_one_that_is_reached(every: Cadence, moment: str, newest: str | None) -> None:
    case = use_case(model={"every": every, "weekday": "thursday"}, partitions={"end": None})
    assert newest_cutoff(case, datetime.fromisoformat(moment)) == newest


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
    assert known_by(case, cutoff) == touched(case, model(case, cutoff))
    assert set(known_by(case, cutoff)) <= set(mapped(case, cutoff))


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


@pytest.mark.parametrize(
    ("every", "known"),
    [
        # 3 days of training and 2 of hold-out, with 1 day after each until its labels are known
        ("day", [f"2024-03-{number}" for number in range(25, 31)]),
        ("week", ["2024-03-25"]),
        ("month", ["2024-03-01"]),
    ],
)
def test_a_cutoff_knows_the_partitions_of_its_windows_and_no_other(every: Cadence, known: list[str]) -> None:
    case = use_case(partitions={"every": every, "end": "2024-06-01"}, model={"every": "month"})
    assert known_by(case, "2024-04-01") == known


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
    assert looked_at(case, [partition])[partition] == [
        key for key in data(case).get_partition_keys() if first <= key <= partition
    ]


@settings(deadline=None, max_examples=50)
@given(st.sampled_from(CADENCES), st.integers(0, 24 * 100), st.data())
def test_a_lookback_is_covered_whatever_its_length(every: Cadence, hours: int, drawn: st.DataObject) -> None:
    case = use_case(partitions={"every": every, "end": "2024-09-01"}, features={"lookback": f"{hours} hours"})
    partition = drawn.draw(st.sampled_from(data(case).get_partition_keys()))
    (window,) = windows_of(data(case), [partition]).values()
    needed = looked_at(case, [partition])[partition]
    with accepted_previews():
        mapping = dg.TimeWindowPartitionMapping(
            start_offset=-lookback_steps(case), allow_nonexistent_upstream_partitions=True
        )
    assert needed == upstream(case, data(case), mapping, partition)
    assert set(touched(case, Window(window.start - timedelta(hours=hours), window.end))) <= set(needed)


@given(st.integers(0, 9), st.sets(st.integers(0, 30)))
def test_what_looks_back_at_some_partitions_is_what_is_made_of_one_of_them(days: int, chosen: set[int]) -> None:
    case = use_case(features={"lookback": f"{days} days"})
    every = list(data(case).get_partition_keys())
    given_keys = [every[number] for number in chosen]
    made_of = looked_at(case, every)
    expected = [key for key in every if key not in given_keys and set(made_of[key]) & set(given_keys)]
    assert looking_back_at(case, given_keys) == expected


def test_what_is_looked_at_is_told_by_partition_with_its_own_last() -> None:
    case = use_case(features={"lookback": "2 days"})
    assert looked_at(case, ["2024-01-06", "2024-01-02"]) == {
        "2024-01-06": ["2024-01-04", "2024-01-05", "2024-01-06"],
        "2024-01-02": ["2024-01-01", "2024-01-02"],
    }


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        (["2024-01-01"], "2024-01-01"),
        (["2024-01-01", "2024-01-02", "2024-01-05"], "2024-01-01 .. 2024-01-05 (3)"),
    ],
)
def test_partitions_are_named_by_the_first_and_the_last(keys: list[str], said: str) -> None:
    assert span(keys) == said
