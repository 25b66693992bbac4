"""Which features a model relies on: by how much it gets worse without one, and whether that has shifted."""

import math
from collections.abc import Mapping
from statistics import NormalDist
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ml_platform.ml.metrics import Floats
from ml_platform.ml.report import Interval
from ml_platform.ml.training import TrainedModel
from ml_platform.use_case import Task, UseCase

MOST_ROWS: Final = 5_000
MOST_POSITIVE: Final = 1_000
SHIFT_AT_MOST: Final = 0.3
_SHUFFLED_ROWS: Final = 10_000
_CONFIDENCE: Final = 0.95


def permutation_importance(
    use_case: UseCase,
    model: TrainedModel,
    rows: pl.DataFrame,
    y: NDArray[np.float64],
    *,
    groups: NDArray[Any] | None = None,
) -> dict[str, Interval]:
    """By how much the loss grows when a feature has the values of other rows, by feature; above 0 the feature matters.

    The loss is 1 - ROC AUC, for more classes the log loss in nats, for regression the mean absolute error in the
    label's unit (Breiman 2001, Random Forests, section 10; the difference of Fisher, Rudin & Dominici 2019, All Models
    are Wrong, but Many are Useful, section 3). `rows` are features and `y` (n,) their labels as in `Metric.values`.

    At most 5,000 rows are judged, drawn by the model's seed: for two classes up to 1,000 positive ones, the rest
    negative, since ROC AUC does not depend on the mix of classes. The values put into them come from all `rows`, whose
    mix it does depend on. There are two shuffles at least, and as many as make 10,000 rows.

    The 95 % interval is the point and 1.96 standard errors to both sides. It covers the luck of which rows are held
    out and drawn, and of which row gets whose value, not the luck of training. Each row, or each entity where `groups`
    (n,) names them, counts with all that it contributes, as a row judged and as one that gave its value (Aronow, Samii
    & Assenova 2015, Cluster-Robust Variance Estimation for Dyadic Data, without their term for what is counted twice,
    so that the interval is rather too wide; for ROC AUC from the placements of DeLong, DeLong & Clarke-Pearson 1988).
    With fewer than some ten rows of a class it is too narrow.

    Raises:
        ValueError: one of two classes is absent.
    """
    rng = np.random.default_rng(use_case.model.seed)
    judged = _judged(use_case.task, y, rng)
    repeats = max(2, _SHUFFLED_ROWS // len(judged))
    givers = np.concatenate([rng.permutation(len(y))[: len(judged)] for _ in range(repeats)])
    takers = np.tile(judged, repeats)
    entity = np.arange(len(y)) if groups is None else np.unique(groups, return_inverse=True)[1]
    features = rows.select(model.columns)
    taking, giving, target = features[takers], features[givers], y[judged]
    loss, weights = _losses(use_case.task, target, model.predict(features[judged])), _weights(use_case.task, target)
    importance = {}
    for name in model.columns:
        scores = model.predict(taking.with_columns(giving[name]))
        shuffled = scores.reshape(repeats, len(judged), *scores.shape[1:])
        growth = np.stack([_losses(use_case.task, target, prediction) for prediction in shuffled]) - loss
        point = float(np.average(growth.mean(axis=0), weights=weights))
        influence = ((growth - point) * weights / repeats).ravel()
        of_entity = np.bincount(entity[takers], influence, len(y)) + np.bincount(entity[givers], influence, len(y))
        margin = NormalDist().inv_cdf((1 + _CONFIDENCE) / 2) * float(np.sqrt(of_entity @ of_entity))
        importance[name] = Interval(point, point - margin, point + margin, _CONFIDENCE)
    return importance


def importance_shift(now: Mapping[str, Interval], before: Mapping[str, Interval]) -> str | None:
    """Why a model surely relies on other features than the champion before it, as a sentence, or None where not.

    Compared are the features' shares of the importance above 0, a feature that one model lacks having none. The
    distance is their total variation, from 0 to 1, each change less the margin that its two intervals leave; 0.3 of it
    may be. None too where a model has no importance at all.
    """
    ours, theirs = _shares(now), _shares(before)
    if not ours or not theirs:
        return None
    pairs = {name: (theirs.get(name, (0.0, 0.0)), ours.get(name, (0.0, 0.0))) for name in [*now, *before]}
    # without the margins a model that has learned little is always found to have shifted: its shares are noise
    sure = sum(max(0.0, abs(new - old) - math.hypot(margin, other)) for (old, margin), (new, other) in pairs.values())
    shift = sure / 2
    if shift <= SHIFT_AT_MOST:
        return None
    gains = {name: new - old for name, ((old, _), (new, _)) in pairs.items()}
    moves = [
        f"'{name}' {verb} most, from {pairs[name][0][0]:.0%} to {pairs[name][1][0]:.0%}"
        for name, verb in ((max(gains, key=gains.__getitem__), "gained"), (min(gains, key=gains.__getitem__), "lost"))
    ]
    return (
        f"at least {shift:.0%} of the importance lies on other features than the champion's (at most "
        f"{SHIFT_AT_MOST:.0%} may): {' and '.join(moves)}; look at the source and the transform of both."
    )


def _shares(importance: Mapping[str, Interval]) -> dict[str, tuple[float, float]]:
    """The share of each feature in the importance above 0 and its margin; none where no feature has any."""
    total = sum(max(0.0, interval.point) for interval in importance.values())
    if total == 0:
        return {}
    return {
        name: (max(0.0, interval.point) / total, (interval.high - interval.low) / 2 / total)
        for name, interval in importance.items()
    }


def _judged(task: Task, y: Floats, rng: np.random.Generator) -> NDArray[np.intp]:
    """The positions of the rows that are judged."""
    order = rng.permutation(len(y))
    if task != "binary_classification":
        return order[:MOST_ROWS]
    positive, negative = order[y[order] == 1][:MOST_POSITIVE], order[y[order] == 0]
    if not len(positive) or not len(negative):
        raise ValueError(
            f"the importance of features needs both classes, {len(positive)} of {len(y)} rows are positive; "
            "hold out more rows."
        )
    return np.concatenate([positive, negative[: MOST_ROWS - len(positive)]])


def _losses(task: Task, y: Floats, prediction: Floats) -> Floats:
    """The loss of each row; for two classes the share of rows of the other class that it is not told apart from."""
    if task == "regression":
        return np.abs(y - prediction)
    if task == "multiclass_classification":
        eps = np.finfo(np.float64).eps
        return -np.log(np.clip(prediction[np.arange(len(y)), y.astype(np.intp)], eps, 1 - eps))
    losses = np.empty(len(y))
    for positive in (True, False):
        one, other = (y == 1) == positive, (y == 0) == positive
        keys = np.sort(prediction[other])
        below, up_to = (np.searchsorted(keys, prediction[one], side) for side in ("left", "right"))
        outranked = (below + up_to) / (2 * len(keys))
        losses[one] = 1 - outranked if positive else outranked
    return losses


def _weights(task: Task, y: Floats) -> Floats:
    """By how much each row's loss moves the loss of all, to first order."""
    if task != "binary_classification":
        return np.full(len(y), 1 / len(y))
    return np.where(y == 1, 1 / np.count_nonzero(y == 1), 1 / np.count_nonzero(y == 0))
