"""The metrics that a use case's gates may name, each computed for many weightings of the same rows at once."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, get_args

import numpy as np
from numpy.typing import NDArray

from ml_platform.use_case import Task, UseCase

Floats = NDArray[np.float64]
Formula = Callable[[Floats, Floats, Floats], Floats]
_CALIBRATION_BINS: Final = 10


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric of one task, by scikit-learn's name; a row is predicted positive from a score of `threshold` on."""

    name: str
    task: Task
    greater_is_better: bool
    formula: Formula
    threshold: float | None = None

    def values(self, y: NDArray[Any], prediction: NDArray[Any], weights: Floats | None = None) -> Floats:
        """The metric under each of b weightings, shape (b,); nan where it is undefined.

        `y` (n,) holds 0 or 1, the class's column in `prediction`, or the target. `prediction` holds the scores of the
        positive class (n,), the probabilities of the classes (n, k), or the predicted targets (n,). `weights` (b, n)
        says how often each row counts, 0 being as if it were absent; None counts each row once (b = 1).
        Equals scikit-learn's metric of that name on the rows that count, with `zero_division=nan`; calibration_error,
        which scikit-learn does not have, keeps the bins of all rows under every weighting.
        Raises ValueError where shapes do not fit, a value is missing or infinite, or a class is unknown.
        """
        y, prediction = np.asarray(y, np.float64), np.asarray(prediction, np.float64)
        _check_rows(self, y, prediction)
        decided = prediction if self.threshold is None else (prediction >= self.threshold).astype(np.float64)
        return self.formula(y, decided, np.ones((1, len(y))) if weights is None else weights)

    def with_threshold(self, threshold: float) -> "Metric":
        """The same metric at another decision threshold; raises ValueError where the metric has none."""
        if self.threshold is None:
            raise ValueError(f"{self.name} of {self.task} has no decision threshold; leave the threshold out.")
        return replace(self, threshold=threshold)


def _check_rows(metric: Metric, y: Floats, prediction: Floats) -> None:
    multiclass = metric.task == "multiclass_classification"
    if y.ndim != 1 or prediction.ndim != 1 + multiclass or len(y) != len(prediction) or len(y) == 0:
        raise ValueError(
            f"{metric.name} got y of shape {y.shape} and a prediction of shape {prediction.shape}; "
            f"give at least one row as (n,) and {'(n, classes)' if multiclass else '(n,)'}."
        )
    for name, array in (("y", y), ("the prediction", prediction)):
        if missing := array.size - np.count_nonzero(np.isfinite(array)):
            raise ValueError(
                f"{metric.name} got {missing} missing or infinite values in {name}; leave those rows out or mend them."
            )
    classes = prediction.shape[1] if multiclass else 2
    if metric.task != "regression" and not np.isin(y, np.arange(classes)).all():
        raise ValueError(f"{metric.name} got a class outside 0 to {classes - 1} in y; encode the classes as these.")


def _ratio(numerator: Floats, denominator: Floats) -> Floats:
    """The quotient, nan where the denominator is 0."""
    undefined = np.full(np.shape(denominator), np.nan)
    quotient: Floats = np.divide(numerator, denominator, out=undefined, where=denominator != 0)
    return quotient


def _mean(losses: Floats, weights: Floats) -> Floats:
    return _ratio(weights @ losses, weights.sum(axis=1))


def _descending(y: Floats, score: Floats) -> tuple[NDArray[np.intp], NDArray[np.intp], Floats, Floats]:
    """The positions of the positive and of the negative rows by falling score, and their negated scores."""
    positive, negative = np.flatnonzero(y == 1), np.flatnonzero(y == 0)
    positive, negative = positive[np.argsort(-score[positive])], negative[np.argsort(-score[negative])]
    return positive, negative, -score[positive], -score[negative]


def _running(weight: Floats) -> Floats:
    """The weight of the first 0, 1, ..., n rows, shape (n + 1,)."""
    return np.concatenate(([0.0], np.cumsum(weight)))


def _roc_auc(y: Floats, score: Floats, weights: Floats) -> Floats:
    """The share of pairs whose positive row outranks the negative, ties counting half (Hanley & McNeil 1982)."""
    positive, negative, positive_keys, negative_keys = _descending(y, score)
    above = np.searchsorted(negative_keys, positive_keys, side="left")
    level = np.searchsorted(negative_keys, positive_keys, side="right")
    lost, pairs = np.empty(len(weights)), np.empty(len(weights))
    for i, weight in enumerate(weights):
        positives, negatives = weight[positive], _running(weight[negative])
        lost[i] = positives @ (negatives[above] + negatives[level]) / 2
        pairs[i] = positives.sum() * negatives[-1]
    return 1 - _ratio(lost, pairs)


def _average_precision(y: Floats, score: Floats, weights: Floats) -> Floats:
    """The sum over the distinct scores of precision times the gain in recall, not interpolated, as in scikit-learn."""
    positive, negative, positive_keys, negative_keys = _descending(y, score)
    true = np.searchsorted(positive_keys, positive_keys, side="right")
    false = np.searchsorted(negative_keys, positive_keys, side="right")
    gained, total = np.empty(len(weights)), np.empty(len(weights))
    for i, weight in enumerate(weights):
        positives = _running(weight[positive])
        hits, false_alarms = positives[true], _running(weight[negative])[false]
        precision = np.divide(hits, hits + false_alarms, out=np.zeros_like(hits), where=hits > 0)
        gained[i], total[i] = weight[positive] @ precision, positives[-1]
    return _ratio(gained, total)


def _log_loss(y: Floats, probability: Floats, weights: Floats) -> Floats:
    """The mean of -ln(probability of the true class), probabilities kept off 0 and 1 by float64's epsilon, in nats."""
    _check_probabilities(probability)
    eps = np.finfo(np.float64).eps
    if probability.ndim == 1:
        probability = np.column_stack((1 - probability, probability))
    true = probability[np.arange(len(y)), y.astype(np.intp)]
    return _mean(-np.log(np.clip(true, eps, 1 - eps)), weights)


def _brier_score(y: Floats, probability: Floats, weights: Floats) -> Floats:
    _check_probabilities(probability)
    return _mean((y - probability) ** 2, weights)


def _calibration_error(y: Floats, probability: Floats, weights: Floats) -> Floats:
    """The mean distance of the share of positives from the mean probability, over bins of probability.

    It is the expected calibration error (Naeini, Cooper & Hauskrecht 2015) on bins of equal mass (Nixon et al. 2019):
    ten of equally many rows by rising probability, rows of the same probability in the same bin. Of several classes the
    likeliest counts, a row being positive where that is its true one (Guo et al. 2017).
    """
    _check_probabilities(probability)
    if probability.ndim > 1:
        y, probability = (y == probability.argmax(axis=1)).astype(np.float64), probability.max(axis=1)
    bins = np.searchsorted(np.sort(probability), probability) * _CALIBRATION_BINS // len(y)
    gap = y - probability
    gaps = np.stack([np.bincount(bins, weight * gap, _CALIBRATION_BINS) for weight in weights])
    return _ratio(np.abs(gaps).sum(axis=1), weights.sum(axis=1))


def _check_probabilities(probability: Floats) -> None:
    if probability.min() < 0 or probability.max() > 1:
        raise ValueError(
            "log_loss, brier_score and calibration_error need probabilities, and the prediction runs from "
            f"{probability.min():.3g} to {probability.max():.3g}; use a model that predicts probabilities or a metric "
            "of ranks such as roc_auc."
        )


def _confusion(y: Floats, prediction: Floats, weights: Floats) -> Floats:
    """The weight of the rows by true and by predicted class, shape (b, k, k)."""
    classes = prediction.shape[1] if prediction.ndim > 1 else 2
    predicted = prediction.argmax(axis=1) if prediction.ndim > 1 else prediction
    cell, cells = (y * classes + predicted).astype(np.intp), classes * classes
    # most rows are in one cell, of which the weight is what the others leave
    fullest = np.bincount(cell, minlength=cells).argmax()
    others = np.flatnonzero(cell != fullest)
    counted = np.empty((len(weights), cells))
    for row, weight in zip(counted, weights, strict=True):
        row[:] = np.bincount(cell[others], weight[others], cells)
    counted[:, fullest] = weights.sum(axis=1) - counted.sum(axis=1)
    return counted.reshape(-1, classes, classes)


def _accuracy(y: Floats, prediction: Floats, weights: Floats) -> Floats:
    confusion = _confusion(y, prediction, weights)
    return _ratio(np.trace(confusion, axis1=1, axis2=2), confusion.sum(axis=(1, 2)))


def _balanced_accuracy(y: Floats, prediction: Floats, weights: Floats) -> Floats:
    """The mean recall of the classes that have rows; nan where fewer than two classes have."""
    confusion = _confusion(y, prediction, weights)
    recalls = _ratio(np.diagonal(confusion, axis1=1, axis2=2), confusion.sum(axis=2))
    present = np.count_nonzero(~np.isnan(recalls), axis=1)
    return _ratio(np.nansum(recalls, axis=1), np.where(present > 1, present, 0))


def _precision(y: Floats, decided: Floats, weights: Floats) -> Floats:
    confusion = _confusion(y, decided, weights)
    return _ratio(confusion[:, 1, 1], confusion[:, :, 1].sum(axis=1))


def _recall(y: Floats, decided: Floats, weights: Floats) -> Floats:
    confusion = _confusion(y, decided, weights)
    return _ratio(confusion[:, 1, 1], confusion[:, 1, :].sum(axis=1))


def _f1_by_class(y: Floats, prediction: Floats, weights: Floats) -> Floats:
    """The F1 of each class, shape (b, k), nan for a class that is neither true nor predicted on any row."""
    confusion = _confusion(y, prediction, weights)
    return _ratio(2 * np.diagonal(confusion, axis1=1, axis2=2), confusion.sum(axis=1) + confusion.sum(axis=2))


def _f1(y: Floats, decided: Floats, weights: Floats) -> Floats:
    return _f1_by_class(y, decided, weights)[:, 1]


def _f1_macro(y: Floats, prediction: Floats, weights: Floats) -> Floats:
    scores = _f1_by_class(y, prediction, weights)
    return _ratio(np.nansum(scores, axis=1), np.count_nonzero(~np.isnan(scores), axis=1))


def _mean_absolute_error(y: Floats, predicted: Floats, weights: Floats) -> Floats:
    return _mean(np.abs(y - predicted), weights)


def _root_mean_squared_error(y: Floats, predicted: Floats, weights: Floats) -> Floats:
    return np.sqrt(_mean((y - predicted) ** 2, weights))


def _r2(y: Floats, predicted: Floats, weights: Floats) -> Floats:
    """1 - squared errors / squared deviations from the mean; nan where the target does not vary."""
    deviations = np.empty(len(weights))
    for i, weight in enumerate(weights):
        # Measured from a row that counts, a target that does not vary deviates by exactly 0.
        offset = y - y[np.argmax(weight > 0)]
        deviations[i] = weight @ (offset - _ratio(weight @ offset, weight.sum())) ** 2
    return 1 - _ratio(weights @ (y - predicted) ** 2, deviations)


_BINARY: Final = "binary_classification"
_MULTICLASS: Final = "multiclass_classification"
_REGRESSION: Final = "regression"
_METRICS = (
    Metric("roc_auc", _BINARY, True, _roc_auc),
    Metric("average_precision", _BINARY, True, _average_precision),
    Metric("log_loss", _BINARY, False, _log_loss),
    Metric("brier_score", _BINARY, False, _brier_score),
    Metric("calibration_error", _BINARY, False, _calibration_error),
    Metric("precision", _BINARY, True, _precision, threshold=0.5),
    Metric("recall", _BINARY, True, _recall, threshold=0.5),
    Metric("f1", _BINARY, True, _f1, threshold=0.5),
    Metric("accuracy", _BINARY, True, _accuracy, threshold=0.5),
    Metric("balanced_accuracy", _BINARY, True, _balanced_accuracy, threshold=0.5),
    Metric("accuracy", _MULTICLASS, True, _accuracy),
    Metric("balanced_accuracy", _MULTICLASS, True, _balanced_accuracy),
    Metric("f1_macro", _MULTICLASS, True, _f1_macro),
    Metric("log_loss", _MULTICLASS, False, _log_loss),
    Metric("calibration_error", _MULTICLASS, False, _calibration_error),
    Metric("mean_absolute_error", _REGRESSION, False, _mean_absolute_error),
    Metric("root_mean_squared_error", _REGRESSION, False, _root_mean_squared_error),
    Metric("r2", _REGRESSION, True, _r2),
)
METRICS: Final[Mapping[Task, Mapping[str, Metric]]] = {
    task: {metric.name: metric for metric in _METRICS if metric.task == task} for task in get_args(Task)
}
"""The metrics by task and name, those with a decision threshold at 0.5."""


def metrics_of(use_case: UseCase, threshold: float | None) -> dict[str, Metric]:
    """The metrics of a use case's task by name, those at a threshold with that of the model."""
    return {
        name: metric if metric.threshold is None or threshold is None else metric.with_threshold(threshold)
        for name, metric in METRICS[use_case.task].items()
    }
