"""How data is cut by time, and what models are trained and judged on: chosen so that a first model can be trained."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta

import polars as pl

from ml_platform.ml.contract import TRUNCATION
from ml_platform.onboarding.columns import figure
from ml_platform.use_case import Cadence

FEWEST_PERIODS = 12
FEWEST_ROWS = 30
LEAST_PERIODS = 4
HELD_OUT = 4
"""One part of as many is held out."""
FAR = 0.5
THIN = 1 / 3


@dataclass(frozen=True)
class Schedule:
    """The partitions of data, the cadence of models and the lengths of their windows in days.

    `outside` is the number of rows with a time far from all others, `thin` a last period that has only begun, with its
    number of rows; both are in no partition.
    """

    every: Cadence
    start: date
    end: date
    model_every: Cadence
    train_days: int
    hold_out_days: int
    reason: str
    outside: int = 0
    thin: tuple[date, int] | None = None

    @property
    def hold_out_start(self) -> datetime:
        """The moment from which rows are held out."""
        return datetime.combine(self.cutoff, datetime.min.time()) - timedelta(days=self.hold_out_days)

    @property
    def cutoff(self) -> date:
        """The first cutoff, and with these windows the last that the data reaches."""
        return self.start + timedelta(days=self.train_days + self.hold_out_days)


def rows_by_period(moments: pl.Series, every: Cadence) -> pl.DataFrame:
    """The number of rows of each period, those without rows included: columns `period` and `rows`."""
    counted = (
        moments.drop_nulls().dt.truncate(TRUNCATION[every]).cast(pl.Date).alias("period").value_counts(name="rows")
    )
    first, last = counted["period"].min(), counted["period"].max()
    periods = pl.select(pl.date_range(pl.lit(first), pl.lit(last), TRUNCATION[every]).alias("period"))
    return periods.join(counted, on="period", how="left").fill_null(0).sort("period")


def without_far_times(moments: pl.Series) -> pl.Series:
    """The moments without those that lie far from nearly all others, such as 1900-01-01 for unknown."""
    low, high = moments.quantile(0.002), moments.quantile(0.998)
    slack = (high - low) * FAR + timedelta(days=31)  # type: ignore[operator]
    return moments.filter(moments.is_between(low - slack, high + slack))


def choose_schedule(moments: pl.Series, every: Cadence | None, *, daily_files: bool) -> Schedule | str:
    """A schedule for the event times of rows, by the cadence given or the coarsest with twelve periods of rows.

    Where the data cannot be cut by time the reason why, as a sentence's end.
    """
    near = without_far_times(moments.drop_nulls())
    if every is None and daily_files:
        every = "day"
    tried: dict[Cadence, pl.DataFrame] = {
        one: rows_by_period(near, one) for one in ((every,) if every else ("month", "week", "day"))
    }
    dense = {
        one: periods
        for one, periods in tried.items()
        if periods.height >= LEAST_PERIODS
        and figure(periods["rows"].min()) > 0
        and figure(periods["rows"].median()) >= FEWEST_ROWS
    }
    if not dense:
        return _why_not(tried)
    enough = [one for one, periods in dense.items() if periods.height >= FEWEST_PERIODS]
    # the coarsest with enough periods, or else the one with most
    cadence = enough[0] if enough else list(dense)[-1]
    return _schedule(cadence, dense[cadence], len(moments.drop_nulls()) - len(near))


def _why_not(tried: dict[Cadence, pl.DataFrame]) -> str:
    (every, periods), *_ = tried.items()
    empty = periods.filter(pl.col("rows") == 0)["period"]
    if len(empty):
        return f"{len(empty)} of {periods.height} {every}s have no rows, such as that of {empty[0]}"
    if periods.height < LEAST_PERIODS:
        return f"the data spans {periods.height} {every}s, too few to train on some and judge on others"
    return f"a {every} has {figure(periods['rows'].median()):g} rows, too few"


def _schedule(every: Cadence, periods: pl.DataFrame, outside: int) -> Schedule:
    thin = None
    if periods["rows"][-1] < THIN * figure(periods["rows"].median()):
        thin = (periods["period"][-1], int(periods["rows"][-1]))
        periods = periods.head(-1)
    start: date = periods["period"][0]
    end = _next(periods["period"][-1], every)
    model_every: Cadence = "month" if every == "month" else "week"
    # a weekly cutoff is a Monday
    cutoff = end if every == "month" else end - timedelta(days=end.weekday())
    held_out = max(1, periods.height // HELD_OUT)
    first_held_out: date = periods["period"][-held_out]
    if every == "day":
        held_out = max(7, held_out // 7 * 7)
        first_held_out = cutoff - timedelta(days=held_out)
    reason = f"{periods.height} {every}s of {figure(periods['rows'].median()):,.0f} rows"
    return Schedule(
        *(every, start, end, model_every),
        train_days=(first_held_out - start).days,
        hold_out_days=(cutoff - first_held_out).days,
        reason=reason,
        outside=outside,
        thin=thin,
    )


def _next(period: date, every: Cadence) -> date:
    if every == "month":
        return (period.replace(day=1) + timedelta(days=31)).replace(day=1)
    return period + timedelta(days=7 if every == "week" else 1)
