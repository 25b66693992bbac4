"""What monitoring says of each partition: which numbers departed from the reference, and the performance of a model."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Literal

import numpy as np
import polars as pl

from ml_platform.ml.contract import PARTITION
from ml_platform.ml.drift import departures, usual
from ml_platform.ml.evaluation import encoded_labels
from ml_platform.ml.intervals import MIN_POSITIVES
from ml_platform.ml.labels import labels
from ml_platform.ml.metrics import Metric
from ml_platform.ml.profiles import COLUMN, METRIC, NEW, NOISE, SCALED, VALUE, matrix_of
from ml_platform.ml.training import TrainedModel
from ml_platform.use_case import UseCase

Kind = Literal["data", "prediction", "volume", "performance"]
USUAL, DEPARTED, IMMATURE, NOT_JUDGED = "usual", "departed", "immature", "not_judged"
JUDGED = {
    PARTITION: pl.Date(),
    "kind": pl.String(),
    COLUMN: pl.String(),
    METRIC: pl.String(),
    VALUE: pl.Float64(),
    "usual": pl.Float64(),
    "statistic": pl.Float64(),
    "threshold": pl.Float64(),
    "verdict": pl.String(),
}
PREDICTION, PERFORMANCE = "prediction", "performance"
DAYS_A_WEEK = 7


@dataclass(frozen=True)
class Profiled:
    """The profiles of consecutive partitions, of which some may have none."""

    partitions: Sequence[date]
    profiles: pl.DataFrame


@dataclass(frozen=True)
class Limits:
    """When a departure counts: the number of partitions it is averaged over, how often luck may exceed it, the least.

    `weekly` says that partitions are days, which differ with the day of the week. `worse` has the metrics of which only
    one direction counts, with 1 where it is upwards and -1 where it is downwards.
    """

    window: int
    error_rate: float
    least: float
    weekly: bool
    worse: Mapping[str, int]


def judged(kind: Kind, reference: Profiled, level: Collection[date], now: Profiled, limits: Limits) -> pl.DataFrame:
    """A row for each partition of `now` and number of the reference: value, statistic, threshold, verdict.

    `level` are the partitions of the reference that say what is usual; of new categories, which these have none of by
    their definition, all others do.
    """
    names = reference.profiles.select(COLUMN, METRIC).unique(maintain_order=True)
    arrays = [
        [matrix_of(one.profiles, field, one.partitions, names) for field in (VALUE, SCALED, NOISE)]
        for one in (reference, now)
    ]
    (then_value, then, then_noise), (value, scaled, noise) = arrays
    is_level = np.array([day in level for day in reference.partitions])
    of_level = np.where((names[METRIC] == NEW).to_numpy(), ~is_level[:, None], is_level[:, None])
    of_level |= ~(of_level & np.isfinite(then)).any(axis=0)
    known = usual(then, then_noise, _seasons(reference, limits), of_level, DAYS_A_WEEK if limits.weekly else 1)
    statistic, bound = departures(known, scaled, noise, _seasons(now, limits), limits.window, limits.error_rate)
    threshold = np.fmax(bound, limits.least)
    threshold[np.isnan(bound)] = np.nan
    sign = np.array([limits.worse.get(name, 0) for name in names[METRIC]])
    far = np.where(sign == 0, np.abs(statistic), sign * statistic) >= threshold
    verdict = np.where(np.isfinite(statistic) & np.isfinite(threshold), np.where(far, DEPARTED, USUAL), NOT_JUDGED)
    then_level = np.where(of_level & np.isfinite(then_value), then_value, np.nan)
    with np.errstate(invalid="ignore"):
        means = np.nansum(then_level, axis=0) / np.isfinite(then_level).sum(axis=0)
    size = len(now.partitions)
    columns = {
        PARTITION: np.repeat(np.array(now.partitions, "datetime64[D]"), names.height),
        "kind": np.full(size * names.height, kind),
        COLUMN: np.tile(names[COLUMN].to_numpy(), size),
        METRIC: np.tile(names[METRIC].to_numpy(), size),
        VALUE: value.ravel(),
        "usual": np.tile(means, size),
        "statistic": statistic.ravel(),
        "threshold": threshold.ravel(),
        "verdict": verdict.ravel(),
    }
    return pl.DataFrame(columns, schema=JUDGED, nan_to_null=True)


def _seasons(profiled: Profiled, limits: Limits) -> "np.ndarray[tuple[int], np.dtype[np.intp]]":
    return np.array([day.weekday() if limits.weekly else 0 for day in profiled.partitions], np.intp)


def scored(use_case: UseCase, model: TrainedModel, rows: pl.DataFrame) -> pl.DataFrame:
    """Partition, label, `prediction` and, with more than two classes, `scores` of rows, as predictions have them."""
    scores = model.predict(rows)
    columns = [pl.Series(PREDICTION, scores)]
    if use_case.task == "multiclass_classification":
        likeliest = model.pipeline.classes_[scores.argmax(axis=1)]
        columns = [pl.Series(PREDICTION, likeliest), pl.Series("scores", scores.tolist())]
    return rows.select(PARTITION, use_case.label.column).with_columns(columns)


def performances(
    use_case: UseCase,
    model: TrainedModel,
    rows: pl.DataFrame,
    metrics: Mapping[str, Metric],
    scale: Mapping[str, float],
) -> pl.DataFrame:
    """The profiles of a model's metrics by partition, on its scored rows that have a label.

    Values are scaled by those in `scale`, or where it has none by their mean over all partitions. A partition whose
    rows are too few or of one class has no value.
    """
    field = use_case.label.column
    found: list[tuple[date, str, float]] = []
    for (day,), part in (
        rows.drop_nulls(field).sort(PARTITION).partition_by(PARTITION, as_dict=True, maintain_order=True).items()
    ):
        y = labels(part, use_case)
        multiclass = use_case.task == "multiclass_classification"
        if multiclass and not set(y.tolist()) <= set(model.pipeline.classes_.tolist()):
            continue  # a new class is a drift of the label, and no metric is defined on it
        y = encoded_labels(y, model.pipeline.classes_ if multiclass else None)
        scores = np.asarray(part["scores" if multiclass else PREDICTION].to_list(), np.float64)
        least = (
            min(np.count_nonzero(y), np.count_nonzero(y == 0)) if use_case.task == "binary_classification" else len(y)
        )
        if least >= MIN_POSITIVES:
            found += [(day, name, float(metric.values(y, scores)[0])) for name, metric in metrics.items()]
    frame = pl.DataFrame(
        found, {PARTITION: pl.Date(), METRIC: pl.String(), VALUE: pl.Float64()}, orient="row"
    ).fill_nan(None)
    by = pl.col(METRIC).replace_strict(scale, default=None, return_dtype=pl.Float64)
    return frame.select(
        PARTITION,
        pl.lit(PERFORMANCE).alias(COLUMN),
        METRIC,
        VALUE,
        (pl.col(VALUE) / by.fill_null(pl.col(VALUE).mean().over(METRIC)).abs()).alias(SCALED),
        pl.lit(0.0).alias(NOISE),
    )
