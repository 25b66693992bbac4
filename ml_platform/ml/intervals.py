"""Bootstrap intervals: how far a metric, or the difference of two models, may be off by the luck of the hold-out."""

from collections.abc import Iterator, Sequence
from statistics import NormalDist
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ml_platform.ml.metrics import Floats, Metric
from ml_platform.ml.report import Interval

MIN_POSITIVES: Final = 10
"""The least number of positive rows, and of negative ones, that anything is concluded from."""
_BLOCK_BYTES: Final = 16 * 2**20


def bootstrap_intervals(
    metrics: Sequence[Metric],
    y: NDArray[Any],
    prediction: NDArray[Any],
    *,
    groups: NDArray[Any] | None = None,
    resamples: int = 500,
    confidence: float = 0.95,
    seed: int,
) -> dict[str, Interval]:
    """The percentile interval of each metric by its name, all from the same resamples of the rows.

    The interval runs from the (1 - confidence) / 2 to the (1 + confidence) / 2 quantile of the metric over resamples
    drawn with replacement (Efron & Tibshirani 1993, An Introduction to the Bootstrap, section 13.3). `groups` (n,)
    names the entity of each row; entities are then drawn whole, since the rows of one are not independent (Davison &
    Hinkley 1997, Bootstrap Methods and their Application, section 3.8). `y` (n,) and `prediction` are as in
    `Metric.values`. Resamples on which a metric is undefined are left out, and so are metrics that are undefined on the
    hold-out or on more than half of its resamples. One that is 0 or 1 on all of them, such as the recall of a model
    that found all twelve, has the exact interval of so many of so many instead (Clopper & Pearson 1934, The use of
    confidence or fiducial limits): nothing drawn from such a hold-out shows how far off it may be.
    Raises ValueError where the hold-out has fewer than two rows or entities.
    """
    values = _values([(metric, prediction) for metric in metrics], y, groups, resamples, seed)
    return {
        metric.name: _exact(metric, drawn, y, prediction, groups, confidence) or _interval(drawn, confidence)
        for metric, drawn in zip(metrics, values, strict=True)
        if _undefined(drawn) is None
    }


def bootstrap_interval(
    metric: Metric,
    y: NDArray[Any],
    prediction: NDArray[Any],
    *,
    groups: NDArray[Any] | None = None,
    resamples: int = 500,
    confidence: float = 0.95,
    seed: int,
) -> Interval:
    """The interval of one metric; see `bootstrap_intervals`, but raises ValueError where the metric is undefined."""
    (values,) = _values([(metric, prediction)], y, groups, resamples, seed)
    _require(metric, values, y, prediction)
    return _exact(metric, values, y, prediction, groups, confidence) or _interval(values, confidence)


def normal_intervals(
    metrics: Sequence[Metric],
    y: NDArray[Any],
    prediction: NDArray[Any],
    *,
    groups: NDArray[Any] | None = None,
    resamples: int = 200,
    confidence: float = 0.95,
    seed: int,
) -> dict[str, Interval]:
    """The standard normal interval of each metric by its name: its value and the bootstrap's standard errors around it.

    Unlike that of `bootstrap_intervals`, it holds at any confidence with few resamples (Efron & Tibshirani 1993,
    sections 6.4 and 13.2), and it may reach beyond the values that the metric can take. All else is as there.
    """
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    found = {}
    values = _values([(metric, prediction) for metric in metrics], y, groups, resamples, seed)
    for metric, drawn in zip(metrics, values, strict=True):
        if _undefined(drawn) is None:
            point, off = float(drawn[0]), z * float(np.nanstd(drawn[1:], ddof=1))
            normal = Interval(point, point - off, point + off, confidence)
            found[metric.name] = _exact(metric, drawn, y, prediction, groups, confidence) or normal
    return found


def paired_difference(
    metrics: Metric | tuple[Metric, Metric],
    y: NDArray[Any],
    prediction_a: NDArray[Any],
    prediction_b: NDArray[Any],
    *,
    groups: NDArray[Any] | None = None,
    resamples: int = 500,
    confidence: float = 0.95,
    seed: int,
) -> Interval:
    """The interval of the metric of b minus that of a, both on the same resamples; see `bootstrap_intervals`.

    Two metrics, for a and b, are the same at two thresholds.
    """
    for_a, for_b = metrics if isinstance(metrics, tuple) else (metrics, metrics)
    of_a, of_b = _values([(for_a, prediction_a), (for_b, prediction_b)], y, groups, resamples, seed)
    metric, undefined = (for_a, prediction_a) if np.isnan(of_a[0]) else (for_b, prediction_b)
    _require(metric, of_b - of_a, y, undefined)
    return _interval(of_b - of_a, confidence)


def groups_of(entities: pl.Series) -> NDArray[np.int64]:
    """The group of each row by its entity, numbered from 1; rows without an entity are the group 0."""
    return entities.rank("dense").cast(pl.Int64).fill_null(0).to_numpy()


def _values(
    cases: Sequence[tuple[Metric, NDArray[Any]]],
    y: NDArray[Any],
    groups: NDArray[Any] | None,
    resamples: int,
    seed: int,
) -> list[Floats]:
    """The values of each metric and prediction, shape (1 + resamples,), the first on the hold-out itself."""
    order = np.arange(len(y))
    if cases[0][1].ndim == 1 and all(len(prediction) == len(y) for _, prediction in cases):
        # in the order of the scores, by which metrics of ranks read them: memory is fastest one after another
        order = np.argsort(-cases[0][1], kind="stable")
        y, cases = y[order], [(metric, prediction[order]) for metric, prediction in cases]
    blocks = [
        [metric.values(y, prediction, weights) for metric, prediction in cases]
        for weights in _weightings(order, groups, resamples, seed)
    ]
    return [np.concatenate(values) for values in zip(*blocks, strict=True)]


def _weightings(order: NDArray[np.intp], groups: NDArray[Any] | None, resamples: int, seed: int) -> Iterator[Floats]:
    """How often each row counts, in blocks (b, rows) in this order: once each in the first, then as drawn."""
    rows = len(order)
    entity = np.arange(rows) if groups is None else np.unique(groups, return_inverse=True)[1]
    entities = len(np.unique(entity))
    if len(entity) != rows:
        raise ValueError(f"groups names the entity of {len(entity)} rows and y has {rows}; give one entity a row.")
    if entities <= 1:
        what = "rows" if groups is None else "entities"
        raise ValueError(f"an interval needs at least 2 {what}, this hold-out has {entities}; hold out more rows.")
    entity = entity[order]
    yield np.ones((1, rows))
    rng = np.random.default_rng(seed)
    block = max(1, _BLOCK_BYTES // (8 * rows))
    for start in range(0, resamples, block):
        weights = np.empty((min(block, resamples - start), rows))
        for weight in weights:
            # Counting draws gives the multinomial counts five times faster than Generator.multinomial.
            counts = np.bincount(rng.integers(entities, size=entities), minlength=entities)
            weight[:] = counts[entity]
        yield weights


def _interval(values: Floats, confidence: float) -> Interval:
    tail = (1 - confidence) / 2
    low, high = np.nanquantile(values[1:], [tail, 1 - tail])
    return Interval(float(values[0]), float(low), float(high), confidence)


def _exact(
    metric: Metric,
    values: Floats,
    y: NDArray[Any],
    prediction: NDArray[Any],
    groups: NDArray[Any] | None,
    confidence: float,
) -> Interval | None:
    """The interval of a metric between 0 and 1 that has one of these bounds on every resample, else None."""
    point, drawn = float(values[0]), values[~np.isnan(values)]
    if metric.task == "regression" or point not in {0.0, 1.0} or (drawn != point).any():
        return None
    rows = _counted(metric, y, prediction)
    units = np.count_nonzero(rows) if groups is None else len(np.unique(groups[rows]))
    off = 1 - ((1 - confidence) / 2) ** (1 / units)
    return Interval(point, max(0.0, point - off), min(1.0, point + off), confidence)


def _counted(metric: Metric, y: NDArray[Any], prediction: NDArray[Any]) -> NDArray[np.bool_]:
    """The rows that a metric is a share of; where it is none, those of the rarest class, which say the least."""
    match metric.name:
        case "accuracy" | "brier_score" | "calibration_error":
            return np.ones(len(y), np.bool_)
        case "precision":
            return np.asarray(prediction >= metric.threshold)
        case "recall":
            return np.asarray(y == 1)
        case _:
            classes, rows = np.unique(y, return_counts=True)
            return np.asarray(y == classes[rows.argmin()])


def _undefined(values: Floats) -> str | None:
    """On what a metric is undefined, too often for an interval: its hold-out, or more than half of the resamples."""
    undefined = np.count_nonzero(np.isnan(values[1:]))
    if np.isnan(values[0]):
        return "this hold-out"
    return f"{undefined} of {len(values) - 1} resamples of this hold-out" if 2 * undefined > len(values) - 1 else None


def _require(metric: Metric, values: Floats, y: NDArray[Any], prediction: NDArray[Any]) -> None:
    if where := _undefined(values):
        raise ValueError(f"{metric.name} is undefined on {where}: {_contents(metric, y, prediction)}.")


def _contents(metric: Metric, y: NDArray[Any], prediction: NDArray[Any]) -> str:
    """What the hold-out has that could leave the metric undefined, and what to do about it."""
    if metric.task != "binary_classification":
        taken = len(np.unique(y))
        values = "1 value" if taken == 1 else f"{taken} values"
        return f"the target takes {values} in its {len(y)} rows; hold out more rows"
    positive = np.count_nonzero(y)
    has = f"it has {positive} positive {'row' if positive == 1 else 'rows'} of {len(y)}"
    if metric.threshold is None:
        return f"{has}; hold out more rows"
    predicted = np.count_nonzero(prediction >= metric.threshold)
    at = f"predicted positive at threshold {metric.threshold:g}"
    return f"{has} and {predicted} are {at}; hold out more rows, or take another threshold"
