"""Tables of intervals on one scale, as a page shows them: next to each other by name, as numbers and as marks."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import floor, isfinite, log10
from typing import TypeVar

from ml_platform.ml.report import Interval

Name = TypeVar("Name")
Value = TypeVar("Value")

_MOST_DECIMALS = 6


@dataclass(frozen=True)
class Measured:
    """An interval, and the number of rows it was measured on where that differs from row to row of a table."""

    interval: Interval
    rows: int | None = None


@dataclass(frozen=True)
class Ranges:
    """What was measured of one or two models under each name, one cell a model, None where there is nothing.

    `marks` has a value for each model to compare its intervals with, or None; `low` and `high` are the scale's ends.
    """

    rows: Sequence[tuple[tuple[str, ...], Sequence[Measured | None]]]
    marks: Sequence[float | None]
    low: float
    high: float
    decimals: int

    def place(self, value: float) -> float:
        """Where a value stands on the scale, in per cent from the left."""
        return 100 * (value - self.low) / (self.high - self.low or 1.0)


def ranges(
    models: Sequence[Mapping[tuple[str, ...], Measured]], marks: Sequence[float | None], *, falling: bool
) -> Ranges:
    """A table of what was measured of each model, by the least point of any model, or falling by the greatest."""
    sign = -1 if falling else 1
    intervals = [one.interval for model in models for one in model.values()]
    ends = [end for one in intervals for end in (one.low, one.high)] + [mark for mark in marks if mark is not None]
    return Ranges(
        rows=sorted(joined(models), key=lambda row: min(sign * cell.interval.point for cell in row[1] if cell)),
        marks=marks,
        low=min(ends),
        high=max(ends),
        decimals=decimals(one.point for one in intervals),
    )


def joined(models: Sequence[Mapping[Name, Value]]) -> list[tuple[Name, list[Value | None]]]:
    """What each model has under each name, None where it has nothing, in the order of the first model that has it."""
    names = dict.fromkeys(name for model in models for name in model)
    return [(name, [model.get(name) for model in models]) for name in names]


def decimals(values: Iterable[float]) -> int:
    """How many decimals show the greatest of some values to three digits at least: four from 0.01 to 10."""
    greatest = max((abs(value) for value in values if isfinite(value)), default=0.0)
    if greatest == 0:
        return 4
    power = floor(log10(greatest))
    return min(_MOST_DECIMALS, max(0, 4 - power) if power > 0 else max(4, 2 - power))


def number(value: float, places: int) -> str:
    """A value with so many decimals, thousands apart, and no minus before zero."""
    return f"{value:z,.{places}f}"
