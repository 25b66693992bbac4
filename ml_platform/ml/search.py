"""The search for an estimator's parameters inside the training rows."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from time import monotonic
from typing import Any

import numpy as np
import polars as pl

from ml_platform.fingerprints import digest
from ml_platform.ml.evaluation import encoded_labels
from ml_platform.ml.folds import Fold, folds_of
from ml_platform.ml.labels import labels
from ml_platform.ml.metrics import Metric, metrics_of
from ml_platform.ml.training import TrainedModel, feature_columns, fit
from ml_platform.ml.trials import Trial, Trials
from ml_platform.use_case import Task, UseCase

DEFAULT_METRIC: Mapping[Task, str] = {
    "binary_classification": "roc_auc",
    "multiclass_classification": "log_loss",
    "regression": "mean_absolute_error",
}


@dataclass(frozen=True)
class SearchResult:
    """The best parameters, with those of `model.params` that were not searched; their value; and all trials."""

    params: dict[str, Any]
    value: float
    trials: tuple[Trial, ...]


def search(
    use_case: UseCase, train: pl.DataFrame, *, storage: Path, study: str, on_trial: Callable[[Trial], None]
) -> SearchResult:
    """The parameters of `model.search.space` with the best mean of the metric over the folds of the training rows.

    The trials of a study are kept in the file `storage`: called again, a search goes on after the last one that was
    finished, with the same trials as if it had not been interrupted. `study` must name what the rows are: the use case,
    the cutoff and the data version; a search that is configured otherwise is another study by itself, but more `trials`
    go on with the same. `on_trial` is called with every trial of the study in order: first with those that were kept,
    then with each when it is finished. The time of `at_most` begins with the call; the first trial always begins.
    Of several with the same value, the first trial is the best.

    A trial whose parameters the estimator refuses, or whose metric is undefined, has no value.

    Raises:
        ValueError: a fold lacks rows or a class, Optuna is not installed, or no trial has a value; then the study is
            forgotten, so that the next search tries anew.
    """
    wanted = use_case.model.search
    assert wanted is not None
    began = monotonic()
    metric, folds = metric_of(use_case), folds_of(use_case, train, wanted.folds)
    kept = Trials(storage, f"{study} {_configured(use_case)}", wanted.space, greater_is_better=metric.greater_is_better)
    trials = kept.finished()[: wanted.trials]
    for trial in trials:
        on_trial(trial)
    limit = None if wanted.at_most is None else wanted.at_most.total_seconds()
    while len(trials) < wanted.trials and not (trials and limit is not None and monotonic() - began >= limit):
        number = len(trials)
        trial = _tried(use_case, metric, folds, number, kept.suggested(_seed(use_case.model.seed, number)))
        kept.add(trial)
        trials.append(trial)
        on_trial(trial)
    values = {trial.number: trial.value for trial in trials if trial.value is not None}
    if not values:
        kept.forget()
        raise ValueError(f"none of {len(trials)} trials of model.search gave a model; the first: {trials[0].failure}")
    best = (max if metric.greater_is_better else min)(values, key=lambda number: values[number])
    return SearchResult({**use_case.params, **trials[best].params}, values[best], tuple(trials))


def metric_of(use_case: UseCase) -> Metric:
    """What a search makes best; a metric at a threshold is taken at `model.threshold`, or at 0.5 if that is a rule."""
    assert use_case.model.search is not None
    threshold = use_case.model.threshold
    binary = use_case.task == "binary_classification"
    metrics = metrics_of(use_case, threshold if binary and isinstance(threshold, float) else None)
    return metrics[use_case.model.search.metric or DEFAULT_METRIC[use_case.task]]


def _configured(use_case: UseCase) -> str:
    """A digest of all that the value of a trial depends on, besides the rows and the code."""
    model, contract = use_case.model, use_case.contract
    return digest(
        [
            use_case.task,
            [use_case.estimator, use_case.params, model.seed],
            model.model_dump(mode="json", include={"search": {"space", "folds"}}),
            [metric_of(use_case).name, metric_of(use_case).threshold],
            use_case.label.model_dump(mode="json"),
            [contract.key, contract.entity, contract.event_time, use_case.features.columns],
        ]
    )


def _seed(seed: int, number: int) -> int:
    # a seed for each trial: a sampler that goes on after an interruption has not drawn what the one before it drew
    return int(np.random.SeedSequence([seed, number]).generate_state(1)[0])


def _tried(use_case: UseCase, metric: Metric, folds: Sequence[Fold], number: int, params: dict[str, Any]) -> Trial:
    began = monotonic()
    try:
        value = fmean(_value(use_case, metric, fold, {**use_case.params, **params}) for fold in folds)
    except Exception as error:  # what estimators raise at parameters that they refuse has no other common type
        return Trial(number, params, None, monotonic() - began, str(error) or type(error).__name__)
    return Trial(number, params, value, monotonic() - began)


def _value(use_case: UseCase, metric: Metric, fold: Fold, params: Mapping[str, Any]) -> float:
    pipeline = fit(use_case, fold.train, use_case.estimator, params)
    model = TrainedModel(pipeline, use_case.task, feature_columns(use_case, fold.train.columns), run_id="")
    classes = pipeline.classes_ if use_case.task == "multiclass_classification" else None
    y = encoded_labels(labels(fold.judged, use_case), classes)
    value = float(metric.values(y, model.predict(fold.judged))[0])
    if not np.isfinite(value):
        raise ValueError(f"{metric.name} is undefined in {fold.name}; choose another model.search.metric.")
    return value
