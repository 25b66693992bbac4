"""The evaluation of a model on its hold-out, next to baselines on the same rows."""

from collections.abc import Mapping
from hashlib import sha256
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ml_platform.ml import figures
from ml_platform.ml.behaviour import behaviour_problems, latency_problems
from ml_platform.ml.importance import importance_shift, permutation_importance
from ml_platform.ml.intervals import bootstrap_intervals, groups_of
from ml_platform.ml.labels import labels
from ml_platform.ml.metrics import metrics_of
from ml_platform.ml.report import ENTITY, IMPORTANCE_SHIFT, MODEL, TARGET, Interval, Report
from ml_platform.ml.slices import slices_of
from ml_platform.ml.training import BASELINES, TrainedModel, feature_columns, fit
from ml_platform.use_case import UseCase


def encoded_labels(y: NDArray[Any], classes: NDArray[Any] | None) -> NDArray[np.float64]:
    """Labels as the metrics take them: classes as positions among the model's classes."""
    if classes is None:
        return y.astype(np.float64)
    if unknown := sorted(set(y.tolist()) - set(classes.tolist())):
        raise ValueError(
            f"the hold-out has the class {unknown[0]!r}, which no training row has; use a longer train_on."
        )
    return np.searchsorted(classes, y).astype(np.float64)


def evaluate(
    use_case: UseCase,
    model: TrainedModel,
    train: pl.DataFrame,
    hold_out: pl.DataFrame,
    described: pl.DataFrame,
    champion: Mapping[str, Interval] | None,
    words: tuple[str, str],
) -> Report:
    """Judge a model on its hold-out; baselines are trained on the model's own training rows.

    `described` has for each row of the hold-out its entity and the columns that cut slices. `champion` is the
    importance of features for the champion, None where there is none. `words` say what the training rows and the
    hold-out are.

    Raises:
        ValueError: a metric is undefined on this hold-out.
    """
    classes = model.pipeline.classes_ if use_case.task == "multiclass_classification" else None
    y = encoded_labels(labels(hold_out, use_case), classes)
    columns = feature_columns(use_case, train.columns)
    scores = {MODEL: model.predict(hold_out)}
    for name, estimator in BASELINES[use_case.task].items():
        baseline = TrainedModel(fit(use_case, train, estimator, {}), use_case.task, columns, model.run_id)
        scores[name] = baseline.predict(hold_out)
    metrics, contract, seed = metrics_of(use_case, model.threshold), use_case.contract, use_case.model.seed
    entity = described[contract.entity] if contract.entity else None
    groups = None if entity is None else groups_of(entity)
    importance = permutation_importance(use_case, model, hold_out, y, groups=groups)
    shift = importance_shift(importance, champion) if champion else None
    return Report(
        run_id=model.run_id,
        trained_on=words[0],
        held_out=words[1],
        metrics=bootstrap_intervals(list(metrics.values()), y, scores[MODEL], groups=groups, seed=seed),
        baselines={
            name: {
                metric: value
                for metric in metrics
                if np.isfinite(value := float(metrics[metric].values(y, scores[name])[0]))
            }
            for name in BASELINES[use_case.task]
        },
        figures={**pictures(use_case, model, y, scores), "importance": figures.importance(importance)},
        scores=hold_out.select(use_case.contract.identity).with_columns(
            pl.Series(TARGET, y),
            *(pl.Series(name, list(values) if values.ndim > 1 else values) for name, values in scores.items()),
            *([] if groups is None else [pl.Series(ENTITY, groups)]),
        ),
        threshold=model.threshold,
        slices=slices_of(
            use_case, described.select(use_case.evaluation.slices), y, scores[MODEL], model.threshold, groups
        ),
        importance=importance,
        findings={
            **behaviour_problems(use_case, model, hold_out),
            **latency_problems(use_case, model, hold_out),
            IMPORTANCE_SHIFT: shift,
        },
    )


def prediction_hash(scores: NDArray[np.float64]) -> str:
    """The SHA-256 of predictions rounded to nine digits, which is what two machines can agree on."""
    return sha256((np.round(scores, 9) + 0.0).tobytes()).hexdigest()  # -0.0 becomes 0.0


def pictures(
    use_case: UseCase, model: TrainedModel, y: NDArray[np.float64], scores: Mapping[str, NDArray[np.float64]]
) -> dict[str, bytes]:
    """The PNG pictures of an evaluation by name."""
    match use_case.task:
        case "binary_classification":
            decided = scores[MODEL] >= (model.threshold or 0.0)
            return {
                "roc_curve": figures.roc_curve(y, scores),
                "precision_recall_curve": figures.precision_recall_curve(y, scores),
                "calibration_curve": figures.calibration_curve(y, scores),
                "confusion_matrix": figures.confusion_matrix(y, decided, ["0", "1"]),
            }
        case "multiclass_classification":
            names = [str(index) for index in range(scores[MODEL].shape[1])]
            likeliest, probability = scores[MODEL].argmax(axis=1), scores[MODEL].max(axis=1)
            right = (y == likeliest).astype(np.float64)
            return {
                "calibration_curve": figures.calibration_curve(
                    right, {MODEL: probability}, of="right likeliest classes"
                ),
                "confusion_matrix": figures.confusion_matrix(y, likeliest, names),
            }
        case "regression":
            return {"residuals": figures.residuals(y, scores[MODEL], target=use_case.label.column)}
