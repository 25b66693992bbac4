"""Slices: the metrics of a model on the rows of the hold-out that have one value, or a range of them, in a column."""

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ml_platform.ml.intervals import MIN_POSITIVES, normal_intervals
from ml_platform.ml.metrics import metrics_of
from ml_platform.ml.report import Interval, Slice
from ml_platform.use_case import METRIC_RANGES, UseCase

MISSING: Final = "missing"
MIN_UNITS: Final = 10
"""The least number of rows, and of entities where they are declared, that anything is concluded from."""
_MOST_VALUES: Final = 20
_CONFIDENCE: Final = 0.95
_Mask = NDArray[np.bool_]


def slices_of(
    use_case: UseCase,
    columns: pl.DataFrame,
    y: NDArray[np.float64],
    prediction: NDArray[np.float64],
    threshold: float | None,
    groups: NDArray[Any] | None,
) -> list[Slice]:
    """The slices of a hold-out that are large enough, column by column, with the metrics that have a value there.

    `columns` has the columns of `evaluation.slices` for each row of the hold-out, in the order of `y` (n,),
    `prediction` (n,) or (n, classes), and `groups` (n,), the entity of each row. A slice has one value, up to 20 of a
    column, the most frequent first; numbers with more values are cut at their quartiles. Left out are slices of fewer
    rows than `evaluation.slice_rows`, of fewer than ten entities, and in binary classification of fewer than ten
    positive or ten negative rows. All intervals of a metric hold at once at 95 %, since each one's confidence is
    1 - 0.05 / slices (Bonferroni's inequality); none reaches beyond the values that its metric can take.
    """
    kept = [
        (name, value, rows)
        for name in use_case.evaluation.slices
        for value, rows in _cut(columns[name])
        if _is_large_enough(use_case, y[rows], None if groups is None else groups[rows])
    ]
    metrics = list(metrics_of(use_case, threshold).values())
    found = []
    for name, value, rows in kept:
        intervals = normal_intervals(
            metrics,
            y[rows],
            prediction[rows],
            groups=None if groups is None else groups[rows],
            confidence=1 - (1 - _CONFIDENCE) / len(kept),
            seed=use_case.model.seed,
        )
        together = {metric: _within_range(metric, one) for metric, one in intervals.items()}
        found.append(Slice(name, value, int(np.count_nonzero(rows)), together))
    return found


def _within_range(metric: str, normal: Interval) -> Interval:
    """An interval of a slice without the values that the metric cannot take, at the confidence of all of them."""
    least, greatest = METRIC_RANGES[metric]
    return Interval(normal.point, max(normal.low, least), min(normal.high, greatest), _CONFIDENCE)


def needed_of_a_slice(use_case: UseCase) -> str:
    """What a slice must have to be judged, in words."""
    needed = f"at least {use_case.evaluation.slice_rows} rows"
    if use_case.task == "binary_classification":
        needed += f", {MIN_POSITIVES} positive and {MIN_POSITIVES} negative ones among them"
    return f"{needed}, of {MIN_UNITS} entities" if use_case.contract.entity else needed


def _is_large_enough(use_case: UseCase, y: NDArray[np.float64], groups: NDArray[Any] | None) -> bool:
    if len(y) < use_case.evaluation.slice_rows:
        return False
    if groups is not None and len(np.unique(groups)) < MIN_UNITS:
        return False
    positive = int(np.count_nonzero(y))
    return use_case.task != "binary_classification" or min(positive, len(y) - positive) >= MIN_POSITIVES


def _cut(column: pl.Series) -> Iterator[tuple[str, _Mask]]:
    """The values of a column, or the ranges between its quartiles, with the mask of their rows; no row is in two."""
    values = column.fill_nan(None) if column.dtype.is_float() else column
    present = values.is_not_null().to_numpy()
    if values.dtype.is_numeric() and values.drop_nulls().n_unique() > _MOST_VALUES:
        yield from _quartiles(values, present)
    else:
        words = values.cast(pl.String).alias("value")
        counts = words.drop_nulls().value_counts(name="rows")
        for value in counts.sort(["rows", "value"], descending=[True, False])["value"].head(_MOST_VALUES):
            yield value, words.eq_missing(value).to_numpy()
    if not present.all():
        yield MISSING, ~present


def _quartiles(values: pl.Series, present: _Mask) -> Iterator[tuple[str, _Mask]]:
    numbers = values.cast(pl.Float64).to_numpy()
    # Where a value is so frequent that two quartiles are equal, there are fewer ranges.
    edges = np.unique(np.quantile(numbers[present], [0.25, 0.5, 0.75], method="lower"))
    place = np.searchsorted(edges, numbers)
    for i in range(len(edges) + 1):
        rows = present & (place == i)
        if rows.any():
            low, high = numbers[rows].min(), numbers[rows].max()
            yield f"{low:.6g} to {high:.6g}", rows
