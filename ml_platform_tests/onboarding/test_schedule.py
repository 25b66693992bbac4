"""How data is cut by time: a first model can always be trained, on rows before those it is judged on."""

from datetime import date, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_platform.onboarding.schedule import Schedule, choose_schedule
from ml_platform.partitions import cutoff_partitions, data_partitions
from ml_platform_tests.examples import use_case


def moments(first: datetime, days: int, a_day: int = 5) -> pl.Series:
    return pl.Series([first + timedelta(days=day, minutes=minute) for day in range(days) for minute in range(a_day)])


def chosen(times: pl.Series, every: str | None = None, *, daily_files: bool = False) -> Schedule:
    found = choose_schedule(times, every, daily_files=daily_files)  # type: ignore[arg-type]
    assert isinstance(found, Schedule), found
    return found


@settings(max_examples=40, deadline=None)
@given(
    st.datetimes(datetime(2001, 1, 1), datetime(2020, 1, 1)),
    st.integers(30, 900),
    st.sampled_from([None, "day", "week"]),
)
def test_the_last_cutoff_has_its_whole_windows_inside_of_the_partitions(
    first: datetime, days: int, every: str | None
) -> None:
    schedule = chosen(moments(first, days, a_day=40), every)
    drafted = use_case(
        partitions={"every": schedule.every, "start": f"{schedule.start}", "end": f"{schedule.end}"},
        label={"known_after": "0 days"},
        model={
            "every": schedule.model_every,
            "train_on": f"{schedule.train_days} days",
            "hold_out": f"{schedule.hold_out_days} days",
        },
    )
    data, cutoffs = data_partitions(drafted), cutoff_partitions(drafted)
    assert data is not None
    assert cutoffs is not None
    assert f"{schedule.cutoff}" in cutoffs.get_partition_keys()
    assert schedule.cutoff <= schedule.end
    assert schedule.train_days >= 2 * schedule.hold_out_days or schedule.train_days >= 7


def test_the_coarsest_cadence_with_twelve_periods_is_taken() -> None:
    assert chosen(moments(datetime(2020, 1, 1), 800)).every == "month"
    assert chosen(moments(datetime(2020, 1, 1), 120, a_day=50)).every == "week"
    assert chosen(moments(datetime(2020, 1, 1), 20, a_day=50)).every == "day"
    assert chosen(moments(datetime(2020, 1, 1), 400, a_day=50), daily_files=True).every == "day"


def test_the_last_quarter_is_held_out() -> None:
    schedule = chosen(moments(datetime(2013, 1, 1), 365))
    assert (schedule.start, schedule.end, schedule.cutoff) == (date(2013, 1, 1), date(2014, 1, 1), date(2014, 1, 1))
    assert schedule.hold_out_start == datetime(2013, 10, 1)


def test_a_last_period_that_has_only_begun_is_left_out() -> None:
    schedule = chosen(moments(datetime(2013, 1, 1), 367))
    assert (schedule.end, schedule.thin) == (date(2014, 1, 1), (date(2014, 1, 1), 10))


def test_times_far_from_all_others_make_no_partitions() -> None:
    times = moments(datetime(2013, 1, 1), 365).extend(pl.Series([datetime(1900, 1, 1), datetime(2099, 1, 1)]))
    schedule = chosen(times)
    assert (schedule.start, schedule.end, schedule.outside) == (date(2013, 1, 1), date(2014, 1, 1), 2)


@pytest.mark.parametrize(
    ("times", "every", "reason"),
    [
        (moments(datetime(2013, 1, 1), 20), "month", "the data spans 1 months, too few"),
        (moments(datetime(2013, 1, 1), 400, a_day=1), "day", "a day has 1 rows, too few"),
        (
            moments(datetime(2013, 1, 1), 60).extend(moments(datetime(2013, 5, 1), 60)),
            "month",
            "of 6 months have no rows",
        ),
    ],
)
def test_why_data_cannot_be_cut_is_said(times: pl.Series, every: str, reason: str) -> None:
    found = choose_schedule(times, every, daily_files=False)  # type: ignore[arg-type]
    assert isinstance(found, str)
    assert reason in found
