"""One fitted scikit-learn pipeline: preprocessing inside it, so that serving cannot differ from training."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import polars as pl

from ml_platform import references
from ml_platform.ml.contract import PARTITION
from ml_platform.use_case import Task, UseCase

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

MOST_CATEGORIES = 50
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


def matrix(rows: pl.DataFrame, columns: Sequence[str]) -> "pd.DataFrame":
    """Rows as the pandas frame a pipeline takes: numbers and booleans as float64, all else as text.

    Raises:
        TypeError: a column is a time or nested, which no estimator takes.
    """
    chosen = rows.select(columns)
    for name, dtype in chosen.schema.items():
        if dtype.is_temporal() or dtype.is_nested():
            raise TypeError(f"Feature '{name}' is {dtype}; turn it into numbers in the transform, or leave it out.")
    numeric = [name for name, dtype in chosen.schema.items() if dtype.is_numeric() or dtype == pl.Boolean]
    # float64 for all: an integer column with a missing value would lose MLflow's signature
    return chosen.with_columns(pl.col(numeric).cast(pl.Float64), pl.exclude(numeric).cast(pl.String)).to_pandas()


def labels(rows: pl.DataFrame, use_case: UseCase) -> "NDArray[Any]":
    """The label of each row: 0.0 or 1.0, a class, or a value."""
    column = rows[use_case.label.column]
    if column.dtype == pl.String and use_case.task != "multiclass_classification":
        raise ValueError(f"the label {use_case.label.column} is text; make it a number for {use_case.task}.")
    return column.to_numpy() if use_case.task == "multiclass_classification" else column.cast(pl.Float64).to_numpy()


def fit(use_case: UseCase, train: pl.DataFrame, estimator: str, params: Mapping[str, Any]) -> Any:
    """A pipeline of preprocessing and estimator, fitted on rows of features with labels.

    Raises:
        ValueError: there is nothing to learn from, or the parameters do not fit the estimator.
    """
    y = labels(train, use_case)
    if use_case.task == "binary_classification" and (others := set(y.tolist()) - {0.0, 1.0}):
        raise ValueError(f"the label {use_case.label.column} is {min(others):g} in some rows; make it 0 or 1.")
    if use_case.task != "regression" and len(set(y.tolist())) == 1:
        raise ValueError(f"all {len(y)} training rows have the same label; use a longer train_on.")
    chosen = references.load(estimator)
    method = "predict" if use_case.task == "regression" else "predict_proba"
    try:
        known = chosen().get_params()
        able = hasattr(chosen(), method)
    except (AttributeError, TypeError) as error:
        raise ValueError(f"{estimator} is no estimator that can be made without arguments: {error}.") from error
    if not able:
        raise ValueError(f"{estimator} has no {method}, which {use_case.task} needs; choose another estimator.")
    seeded = {"random_state": use_case.model.seed, **params} if "random_state" in known else dict(params)
    if unknown := sorted(set(seeded) - set(known)):
        raise ValueError(
            f"{estimator} has no parameter '{unknown[0]}'; {references.did_you_mean(unknown[0], list(known))}"
        )
    columns = feature_columns(use_case, train.columns)
    if not columns:
        raise ValueError("there is no feature: all columns are the key, the event time or the label; add one.")
    inputs = matrix(train, columns)
    return pipeline(inputs, chosen(**seeded)).fit(inputs, y)


def pipeline(inputs: "pd.DataFrame", estimator: Any) -> Any:
    """An unfitted pipeline for such inputs.

    Numbers are imputed by the median and scaled where the estimator takes no missing values; text is one-hot encoded,
    rare and unseen categories together.
    """
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler
    from sklearn.utils import get_tags

    numeric = inputs.select_dtypes("number")
    numbers = [name for name in numeric.columns if numeric[name].notna().any()]  # nothing is learned from nothing
    texts = [name for name in inputs.columns if name not in numeric.columns]
    takes_missing = get_tags(estimator).input_tags.allow_nan
    scaled = Pipeline([("impute", SimpleImputer(strategy="median")), ("scale", StandardScaler())])
    encoded = OneHotEncoder(handle_unknown="infrequent_if_exist", max_categories=MOST_CATEGORIES, sparse_output=False)
    preprocessing = ColumnTransformer(
        [("numbers", "passthrough" if takes_missing else scaled, numbers), ("texts", encoded, texts)],
        verbose_feature_names_out=False,
    )
    return Pipeline([("preprocessing", preprocessing), ("estimator", estimator)])
