"""The decision threshold of a binary classifier, chosen on rows that it was not trained on and that are no hold-out."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ml_platform.ml.folds import held_out_inside
from ml_platform.ml.labels import labels
from ml_platform.ml.metrics import Floats
from ml_platform.ml.training import TrainedModel, feature_columns, fit
from ml_platform.use_case import ThresholdRule, UseCase

PARTS = 5


def threshold_of(use_case: UseCase, train: pl.DataFrame, estimator: str, params: Mapping[str, Any]) -> float | None:
    """The score from which a row counts as positive, or None where the task has no such score.

    A rule is applied to rows of `last_part`, scored by a model of the rows before them with the given parameters.

    Raises:
        ValueError: the training rows are too few to choose on, or no threshold satisfies the rule.
    """
    if use_case.task != "binary_classification":
        return None
    rule = use_case.model.threshold
    if not isinstance(rule, ThresholdRule):
        return rule
    before, chosen_on = last_part(use_case, train)
    pipeline = fit(use_case, before, estimator, params)
    model = TrainedModel(pipeline, use_case.task, feature_columns(use_case, train.columns), run_id="")
    return chosen_threshold(rule, labels(chosen_on, use_case), model.predict(chosen_on))


def last_part(use_case: UseCase, train: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The training rows to fit on, and those to choose the threshold on.

    With partitions the latter are the last fifth by event time, and as much more as it takes to have both classes. One
    label delay before them is left out, as it is before the hold-out, if half of the rows are older than that; a window
    too short for it is used up to the last part. Without partitions they are a fifth of the entities or keys.

    Raises:
        ValueError: one of the two has no rows of one of the classes.
    """
    y = labels(train, use_case)
    if use_case.windows is None:
        chosen_on = held_out_inside(use_case, train, 1 / PARTS)
        before = ~chosen_on
    else:
        before, chosen_on = _last_by_time(use_case, train, y)
    for what, mask in (("fit on", before), ("choose model.threshold on", chosen_on)):
        if {0.0, 1.0} - set(y[mask.to_numpy()].tolist()):
            raise ValueError(
                f"the training rows to {what} ({mask.sum()}) do not have both classes; use more training rows, or "
                "write the threshold as a number."
            )
    return train.filter(before), train.filter(chosen_on)


def _last_by_time(use_case: UseCase, train: pl.DataFrame, y: NDArray[Any]) -> tuple[pl.Series, pl.Series]:
    assert use_case.contract.event_time is not None
    times = train[use_case.contract.event_time]
    newest = [times.filter(pl.Series(y == one)).max() for one in np.unique(y)]
    start: Any = min([times.sort()[-len(times) // PARTS], *newest])
    older = times < start - use_case.label.known_after
    return older if older.sum() >= len(times) / 2 else times < start, times >= start


def chosen_threshold(rule: ThresholdRule, y: NDArray[Any], scores: Floats) -> float:
    """The threshold that a rule chooses for labels `y` of 0 and 1 (n,) and scores from 0 to 1 (n,).

    It lies halfway between two neighbouring scores, between the least score and 0, or above the greatest, where no row
    is positive; that is chosen only by costs. Of several that are equally good it is the highest. Precision, recall, F1
    and balanced accuracy are those of scikit-learn.

    Raises:
        ValueError: one of the classes has no rows, or no threshold has the precision.
    """
    positives, negatives = np.count_nonzero(y == 1), np.count_nonzero(y == 0)
    if not positives or not negatives:
        raise ValueError(
            f"all {len(y)} rows to choose the threshold on have the same label; use more training rows, or write the "
            "threshold as a number."
        )
    distinct, position = np.unique(-scores, return_inverse=True)
    # by falling score, each the number of true and of false positives from that score on
    hits = np.cumsum(np.bincount(position, weights=y == 1))
    false_alarms = np.cumsum(np.bincount(position, weights=y == 0))
    thresholds = _between(-distinct)
    if rule.precision_at_least is not None:
        precision = hits / (hits + false_alarms)
        reached = np.flatnonzero(precision >= rule.precision_at_least)
        if not reached.size:
            raise ValueError(
                f"no threshold has a precision of {rule.precision_at_least:g}, the greatest is "
                f"{precision.max():.4g}; lower model.threshold.precision_at_least, or improve the model."
            )
        return float(thresholds[1 + reached[-1]])
    if rule.recall_at_least is not None:
        return float(thresholds[1 + np.flatnonzero(hits / positives >= rule.recall_at_least)[0]])
    if rule.costs is not None:
        missed = positives - np.concatenate(([0.0], hits))
        costs = rule.costs.false_positive * np.concatenate(([0.0], false_alarms)) + rule.costs.false_negative * missed
        return float(thresholds[np.argmin(costs)])
    if rule.maximize == "f1":
        value = 2 * hits / (hits + false_alarms + positives)
    else:  # balanced accuracy times a constant, in whole numbers: rounding would tell equals apart
        value = hits * negatives - false_alarms * positives
    return float(thresholds[1 + np.argmax(value)])


def _between(falling: Floats) -> Floats:
    """A threshold above the greatest of the distinct scores, and one below each but above the next, shape (n + 1,)."""
    top = 1.0 if falling[0] < 1 else 2.0  # a score of 1 leaves no threshold above it that is a score
    upper, lower = np.concatenate(([top], falling)), np.concatenate((falling, [0.0]))
    middle = (upper + lower) / 2
    # between two neighbouring floats there is none: the middle is rounded, and must not be the lower
    return np.where(middle > lower, middle, upper)
