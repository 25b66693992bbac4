"""One fitted scikit-learn pipeline: preprocessing inside it, so that serving cannot differ from training."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import polars as pl

from ml_platform import references
from ml_platform.ml.contract import PARTITION
from ml_platform.ml.labels import labels
from ml_platform.ml.preprocessing import matrix, preprocessing
from ml_platform.use_case import Task, UseCase

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BASELINES: Mapping[Task, Mapping[str, str]] = {
    "binary_classification": {
        "linear": "sklearn.linear_model.LogisticRegression",
        "prior": "sklearn.dummy.DummyClassifier",
    },
    "multiclass_classification": {
        "linear": "sklearn.linear_model.LogisticRegression",
        "prior": "sklearn.dummy.DummyClassifier",
    },
    "regression": {"linear": "sklearn.linear_model.Ridge", "prior": "sklearn.dummy.DummyRegressor"},
}


@dataclass(frozen=True)
class TrainedModel:
    """A fitted pipeline and the columns it takes; `run_id` is its run in the tracking server.

    `threshold` is the score from which a row counts as positive, None where the task has no such score; `params` are
    the estimator's, given and found.
    """

    pipeline: Any
    task: Task
    columns: tuple[str, ...]
    run_id: str
    threshold: float | None = None
    params: Mapping[str, Any] = field(default_factory=dict)

    def predict(self, rows: pl.DataFrame) -> "NDArray[np.float64]":
        """Scores of rows of features: shape (n,) of the positive class or the value, (n, k) of k classes."""
        inputs = matrix(rows, self.columns)
        if self.task == "regression":
            values: NDArray[np.float64] = self.pipeline.predict(inputs).astype("float64")
            return values
        probabilities: NDArray[np.float64] = self.pipeline.predict_proba(inputs).astype("float64")
        return probabilities[:, 1] if self.task == "binary_classification" else probabilities


def feature_columns(use_case: UseCase, columns: Sequence[str]) -> tuple[str, ...]:
    """The columns the model sees: those declared, or all but key, entity, event time, label and partition."""
    contract = use_case.contract
    others = {*contract.key, contract.entity, contract.event_time, use_case.label.column, PARTITION}
    return tuple(use_case.features.columns or (name for name in columns if name not in others))


def rows_hash(use_case: UseCase, rows: pl.DataFrame, columns: Sequence[str]) -> str:
    """The SHA-256 of what a model learns of rows, or is judged by: these columns and the label, in the rows' order."""
    found = sha256(repr([*columns]).encode())
    for values in (*(column.to_numpy() for _, column in matrix(rows, columns).items()), labels(rows, use_case)):
        # an array of text holds addresses
        found.update(repr(values.tolist()).encode() if values.dtype == object else values.tobytes())
    return found.hexdigest()


def fit(use_case: UseCase, train: pl.DataFrame, estimator: str, params: Mapping[str, Any]) -> Any:
    """A pipeline of preprocessing and estimator, fitted on rows of features with labels.

    Raises:
        ValueError: there is nothing to learn from, or the parameters do not fit the estimator.
    """
    y = labels(train, use_case)
    if use_case.task == "binary_classification" and (others := set(y.tolist()) - {0.0, 1.0}):
        raise ValueError(
            f"the label {use_case.label.column} is {min(others):g} in some rows; make it 0 or 1, "
            "or name the value that counts as 1 in label.positive."
        )
    if use_case.task != "regression" and len(set(y.tolist())) == 1:
        raise ValueError(f"all {len(y)} training rows have the same label; use a longer train_on.")
    chosen = references.load(estimator)
    method = "predict" if use_case.task == "regression" else "predict_proba"
    try:
        known = chosen().get_params()
    except (AttributeError, TypeError) as error:
        raise ValueError(f"{estimator} is no estimator that can be made without arguments: {error}.") from error
    seeded = {"random_state": use_case.model.seed, **params} if "random_state" in known else dict(params)
    if unknown := sorted(set(seeded) - set(known)):
        raise ValueError(
            f"{estimator} has no parameter '{unknown[0]}'; {references.did_you_mean(unknown[0], list(known))}"
        )
    unfitted = chosen(**seeded)
    if not hasattr(unfitted, method):
        raise ValueError(
            f"{estimator} has no {method} with these params, which {use_case.task} needs; choose others, or another "
            "estimator."
        )
    columns = feature_columns(use_case, train.columns)
    if not columns:
        raise ValueError("there is no feature: all columns are the key, the event time or the label; add one.")
    inputs, features = matrix(train, columns), train.select(columns)
    return pipeline(features, unfitted, use_case.task, use_case.model.seed).fit(inputs, y)


def pipeline(features: pl.DataFrame, estimator: Any, task: Task, seed: int) -> Any:
    """An unfitted pipeline of preprocessing and estimator for such features."""
    from sklearn.pipeline import Pipeline
    from sklearn.utils import get_tags

    takes_missing = get_tags(estimator).input_tags.allow_nan
    prepared = preprocessing(features, task, seed, takes_missing=takes_missing)
    return Pipeline([("preprocessing", prepared), ("estimator", estimator)])
