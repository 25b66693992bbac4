"""Point-in-time aggregates of an entity's events over trailing windows."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal, get_args

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ml_platform.references import did_you_mean

Function = Literal["count", "sum", "mean", "min", "max", "share"]
Floats = NDArray[np.float64]
Positions = NDArray[np.int64]

_LONGEST = timedelta(days=36_500)  # the nanoseconds of a time less this fit an Int64
_LARGEST = 1e290  # the sum of 2**31 such values is finite
_LIMB_BITS = 22  # the sum of 2**31 such limbs fits the 53 bits of a float


@dataclass(frozen=True)
class Aggregate:
    """One number about the rows of a window.

    `name` is the column it becomes, with `{window}` in the place of the window's label. `count` counts rows, the others
    take the values of `column` that are not null; `share` is the share of true values in a Boolean or 0-1 column.
    Over no values count and sum are 0, the others `empty` or else null.
    """

    name: str
    function: Function
    column: str | None = None
    empty: float | None = None

    def __post_init__(self) -> None:
        if self.function not in get_args(Function):
            known = did_you_mean(self.function, list(get_args(Function)))
            raise ValueError(f"Aggregate '{self.name}': there is no function '{self.function}'; {known}")
        if (self.function == "count") != (self.column is None):
            fix = "give it the column" if self.column is None else "remove the column"
            raise ValueError(f"Aggregate '{self.name}': count takes no column, every other function takes one; {fix}.")
        if self.function in {"count", "sum"} and self.empty is not None:
            raise ValueError(f"Aggregate '{self.name}': {self.function} is 0 over no rows; remove its empty value.")


def trailing_windows(
    events: pl.DataFrame,
    *,
    entity: str,
    time: str,
    windows: Mapping[str, timedelta],
    aggregates: Sequence[Aggregate],
    delay: timedelta = timedelta(0),
) -> pl.DataFrame:
    """One row per event in the order of `events`, one column per aggregate and window: Int64 for count, else Float64.

    `windows` maps labels to lengths; the window of a row at time t has the rows of the same `entity` whose `time` is in
    the half-open (t - delay - length, t - delay], and none where the entity is null. `delay` is how late the aggregated
    values are known. A result depends on the rows inside its window alone, to the last bit: no other row and no order
    of rows changes it. A day has 24 hours in every time zone.

    Raises:
        ValueError: A column is missing, of the wrong type or holds what has no aggregate; a window is not in the 100
            years before its row; two columns would have one name.
    """
    names = [aggregate.name.replace("{window}", label) for aggregate in aggregates for label in windows]
    if twice := [name for name in names if names.count(name) > 1]:
        raise ValueError(f"trailing_windows would make two columns '{twice[0]}'; put {{window}} into their name.")
    if delay < timedelta(0) or not all(timedelta(0) < length <= _LONGEST - delay for length in windows.values()):
        raise ValueError("trailing_windows looks back, by 100 years at most; correct the lengths or the delay.")
    event, bounds = _windows(events, entity, time, windows.values(), delay)
    columns: list[pl.Series] = []
    for aggregate in aggregates:
        for result in _results(events, aggregate, event, bounds):
            column = np.full(len(events), 0 if aggregate.function in {"count", "sum"} else np.nan, dtype=result.dtype)
            column[event] = result
            columns.append(pl.Series(names[len(columns)], column).fill_nan(aggregate.empty))
    return pl.DataFrame(columns)


def _windows(
    events: pl.DataFrame, entity: str, time: str, lengths: Iterable[timedelta], delay: timedelta
) -> tuple[Positions, list[tuple[Positions, Positions]]]:
    """The events that have an entity, each entity's together and by time; where the windows of each start and end."""
    rows = (
        pl.DataFrame({"entity": _column(events, entity), "time": _nanoseconds(_column(events, time))})
        .with_row_index("event")
        .drop_nulls("entity")
        .sort("time")
        .group_by("entity")  # keeps the order in each group and takes a fifth of the time of sorting by both
        .agg("time", "event")
        .with_columns(entity=pl.int_range(pl.len()))
        .explode("time", "event")
        .with_columns(position=pl.int_range(pl.len()))
    )
    return rows["event"].to_numpy(), [_bounds(rows, length, delay) for length in lengths]


def _column(events: pl.DataFrame, name: str) -> pl.Series:
    if name not in events.columns:
        known = did_you_mean(name, events.columns)
        raise ValueError(f"trailing_windows found no column '{name}' in the events; {known}")
    return events[name]


def _nanoseconds(times: pl.Series) -> pl.Series:
    if times.dtype != pl.Datetime:
        raise ValueError(f"trailing_windows needs Datetime in '{times.name}' and found {times.dtype}; cast it.")
    if missing := times.null_count():
        raise ValueError(f"trailing_windows found {missing} events without '{times.name}'; fill or drop them.")
    return times.dt.cast_time_unit("ns").to_physical()


def _values(column: pl.Series, function: Function) -> pl.Series:
    """The column as Float64, neither NaN nor infinite."""
    if not (column.dtype.is_numeric() or column.dtype == pl.Boolean):
        raise ValueError(f"trailing_windows needs numbers in '{column.name}' and found {column.dtype}; cast it.")
    values = column.cast(pl.Float64)
    if (values.abs() > _LARGEST).any():  # NaN is above every number in Polars
        raise ValueError(f"trailing_windows found NaN or values beyond {_LARGEST} in '{column.name}'; make them null.")
    if function == "share" and not values.is_in([0.0, 1.0]).all():
        raise ValueError(f"trailing_windows found more than 0 and 1 in '{column.name}'; take its mean or a Boolean.")
    return values


def _bounds(rows: pl.DataFrame, length: timedelta, delay: timedelta) -> tuple[Positions, Positions]:
    """Where in `rows` the window of each row starts and ends, half-open."""
    width, lag = (span // timedelta(microseconds=1) * 1000 for span in (length, delay))
    found = (
        rows.rolling("time", period=f"{width}i", offset=f"-{lag + width}i", closed="right", group_by="entity")
        .agg(start=pl.first("position").fill_null(0), count=pl.len())
        .sort("entity", maintain_order=True)  # rolling promises no order of the groups
    )
    start = found["start"].to_numpy()
    return start, start + found["count"].to_numpy()


def _results(
    events: pl.DataFrame, aggregate: Aggregate, event: Positions, bounds: Sequence[tuple[Positions, Positions]]
) -> Iterator[NDArray[Any]]:
    """The aggregate of each window's values without the nulls, NaN for a mean, min or max of nothing."""
    function, name = aggregate.function, aggregate.column
    if name is None:
        yield from (end - start for start, end in bounds)
        return
    values = _values(_column(events, name), function)[event]
    present = values.drop_nulls().to_numpy() + 0.0  # turns -0.0 into 0.0: their order would decide which is the min
    if values.null_count():
        rank = np.concatenate(([0], np.cumsum(values.is_not_null().to_numpy())))
        bounds = [(rank[start], rank[end]) for start, end in bounds]
    limbs = _limbs(present) if function in {"sum", "mean", "share"} else []
    for start, end in bounds:
        match function:
            case "min":
                yield _extremes(np.minimum, present, start, end)
            case "max":
                yield _extremes(np.maximum, present, start, end)
            case "sum":
                yield _sums(limbs, start, end)
            case "mean" | "share":
                yield np.where(start < end, _sums(limbs, start, end) / np.maximum(end - start, 1), np.nan)


def _limbs(values: Floats) -> list[tuple[float, Floats]]:
    """The values as whole multiples of fixed units, coarsest first: each unit with the prefix sums of its multiples."""
    # Prefix sums of the values themselves would bring the rounding of earlier rows into a window; these are exact.
    limb = (math.frexp(np.abs(values).max(initial=0.0))[1] + 1073) // _LIMB_BITS
    limbs = []
    while values.any():
        unit = math.ldexp(1.0, limb * _LIMB_BITS - 1074)
        multiples = np.trunc(values / unit)
        values = values - multiples * unit
        limbs.append((unit, np.concatenate(([0.0], np.cumsum(multiples)))))
        limb -= 1
    return limbs


def _sums(limbs: list[tuple[float, Floats]], start: Positions, end: Positions) -> Floats:
    total = np.zeros(len(start))
    for unit, prefix in limbs:  # the coarsest first: whatever cancels does so before anything is rounded
        total += (prefix[end] - prefix[start]) * unit
    return total


def _extremes(pick: np.ufunc, values: Floats, start: Positions, end: Positions) -> Floats:
    """`np.minimum` or `np.maximum` of each values[start:end], NaN where it is empty."""
    extremes = np.full(len(start), np.nan)
    count = end - start
    width = 1
    while width <= count.max(initial=0):
        rows = np.flatnonzero((width <= count) & (count < 2 * width))
        extremes[rows] = pick(values[start[rows]], values[end[rows] - width])  # two spans that may overlap
        values = pick(values[:-width], values[width:])  # each now that of a span of twice the width
        width *= 2
    return extremes
