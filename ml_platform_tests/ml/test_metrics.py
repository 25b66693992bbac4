"""The metrics against scikit-learn's, on rows with ties, weights and absent classes."""

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from ml_platform.ml.metrics import METRICS, Metric
from ml_platform.use_case import METRIC_RANGES

Array = NDArray[Any]
Reference = Callable[[Array, Array, Array], float]

BINARY = METRICS["binary_classification"]
MULTICLASS = METRICS["multiclass_classification"]
REGRESSION = METRICS["regression"]


def binary_references(threshold: float) -> dict[str, Reference]:
    from sklearn import metrics as sk

    def decided(score: Callable[..., float], **options: Any) -> Reference:
        return lambda y, p, w: score(y, p >= threshold, sample_weight=w, **options)

    def both_classes(score: Reference) -> Reference:
        return lambda y, p, w: score(y, p, w) if len(np.unique(y)) == 2 else np.nan

    return {
        "roc_auc": both_classes(lambda y, p, w: sk.roc_auc_score(y, p, sample_weight=w)),
        "average_precision": lambda y, p, w: sk.average_precision_score(y, p, sample_weight=w) if y.any() else np.nan,
        "log_loss": lambda y, p, w: sk.log_loss(y, p, sample_weight=w, labels=[0, 1]),
        "brier_score": lambda y, p, w: sk.brier_score_loss(y, p, sample_weight=w, labels=[0, 1]),
        "precision": decided(sk.precision_score, zero_division=np.nan),
        "recall": decided(sk.recall_score, zero_division=np.nan),
        "f1": decided(sk.f1_score, zero_division=np.nan),
        "accuracy": decided(sk.accuracy_score),
        "balanced_accuracy": both_classes(decided(sk.balanced_accuracy_score)),
    }


def multiclass_references(classes: int) -> dict[str, Reference]:
    from sklearn import metrics as sk

    def balanced_accuracy(y: Array, p: Array, w: Array) -> float:
        if len(np.unique(y)) == 1:
            return np.nan
        return float(sk.recall_score(y, p.argmax(1), sample_weight=w, labels=np.unique(y), average="macro"))

    return {
        "accuracy": lambda y, p, w: sk.accuracy_score(y, p.argmax(1), sample_weight=w),
        "balanced_accuracy": balanced_accuracy,
        "f1_macro": lambda y, p, w: sk.f1_score(y, p.argmax(1), sample_weight=w, average="macro"),
        "log_loss": lambda y, p, w: sk.log_loss(y, p, sample_weight=w, labels=range(classes)),
    }


def regression_references() -> dict[str, Reference]:
    from sklearn import metrics as sk

    def r2(y: Array, p: Array, w: Array) -> float:
        return float(sk.r2_score(y, p, sample_weight=w)) if len(np.unique(y)) > 1 else np.nan

    return {
        "mean_absolute_error": lambda y, p, w: sk.mean_absolute_error(y, p, sample_weight=w),
        "root_mean_squared_error": lambda y, p, w: sk.root_mean_squared_error(y, p, sample_weight=w),
        "r2": r2,
    }


def assert_equals(metric: Metric, reference: Reference, y: Array, prediction: Array, weights: Array) -> None:
    expected = [
        reference(y[weight > 0], prediction[weight > 0], weight[weight > 0]) if weight.any() else np.nan
        for weight in weights
    ]
    np.testing.assert_allclose(metric.values(y, prediction, weights), expected, rtol=1e-9, atol=1e-9)
    alone = reference(y, prediction, np.ones(len(y)))
    np.testing.assert_allclose(metric.values(y, prediction), [alone], rtol=1e-9, atol=1e-9)


def weightings(rows: int) -> st.SearchStrategy[Array]:
    return hnp.arrays(np.float64, (3, rows), elements=st.integers(0, 3).map(float))


def eighths(low: int, high: int) -> st.SearchStrategy[float]:
    return st.integers(low, high).map(lambda value: value / 8)


@st.composite
def binary_rows(draw: st.DrawFn) -> tuple[Array, Array, Array]:
    n = draw(st.integers(1, 25))
    y = draw(hnp.arrays(np.int64, n, elements=st.integers(0, 1)))
    return y, draw(hnp.arrays(np.float64, n, elements=eighths(0, 8))), draw(weightings(n))


@st.composite
def multiclass_rows(draw: st.DrawFn) -> tuple[Array, Array, Array]:
    n, classes = draw(st.integers(1, 20)), draw(st.integers(3, 5))
    y = draw(hnp.arrays(np.int64, n, elements=st.integers(0, classes - 1)))
    votes = draw(hnp.arrays(np.float64, (n, classes), elements=st.integers(0, 4).map(float)))
    votes[:, 0] += votes.sum(axis=1) == 0
    return y, votes / votes.sum(axis=1, keepdims=True), draw(weightings(n))


@st.composite
def regression_rows(draw: st.DrawFn) -> tuple[Array, Array, Array]:
    n = draw(st.integers(2, 20))
    y, prediction = (draw(hnp.arrays(np.float64, n, elements=eighths(-800, 800))) for _ in range(2))
    return y, prediction, draw(weightings(n))


@pytest.mark.parametrize("name", binary_references(0.5))
@settings(max_examples=30, deadline=None)
@given(rows=binary_rows())
def test_binary_metrics_equal_scikit_learn(name: str, rows: tuple[Array, Array, Array]) -> None:
    assert_equals(BINARY[name], binary_references(0.5)[name], *rows)


@pytest.mark.parametrize("name", [name for name, metric in BINARY.items() if metric.threshold is not None])
@settings(max_examples=10, deadline=None)
@given(rows=binary_rows(), threshold=eighths(-1, 9))
def test_thresholds_equal_scikit_learn(name: str, rows: tuple[Array, Array, Array], threshold: float) -> None:
    assert_equals(BINARY[name].with_threshold(threshold), binary_references(threshold)[name], *rows)


@pytest.mark.parametrize("name", multiclass_references(3))
@settings(max_examples=30, deadline=None)
@given(rows=multiclass_rows())
def test_multiclass_metrics_equal_scikit_learn(name: str, rows: tuple[Array, Array, Array]) -> None:
    assert_equals(MULTICLASS[name], multiclass_references(rows[1].shape[1])[name], *rows)


@pytest.mark.parametrize("name", REGRESSION)
@settings(max_examples=30, deadline=None)
@given(rows=regression_rows())
def test_regression_metrics_equal_scikit_learn(name: str, rows: tuple[Array, Array, Array]) -> None:
    assert_equals(REGRESSION[name], regression_references()[name], *rows)


@pytest.mark.parametrize(
    "metric", [*BINARY.values(), *MULTICLASS.values(), *REGRESSION.values()], ids=lambda one: f"{one.task}-{one.name}"
)
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_a_metric_is_within_its_range(metric: Metric, data: st.DataObject) -> None:
    rows = {"binary_classification": binary_rows, "multiclass_classification": multiclass_rows}
    values = metric.values(*data.draw(rows.get(metric.task, regression_rows)()))
    least, greatest = METRIC_RANGES[metric.name]
    found = values[~np.isnan(values)]
    assert ((found >= least - 1e-12) & (found <= greatest + 1e-12)).all()


def test_every_metric_of_scikit_learn_is_compared_with_it() -> None:
    references = [*binary_references(0.5), *multiclass_references(3), *regression_references()]
    assert sorted([*BINARY, *MULTICLASS, *REGRESSION]) == sorted(
        [*references, "calibration_error", "calibration_error"]
    )


def calibration_reference(y: Array, probability: Array, weight: Array) -> float:
    """The gap of each bin, found row by row: a row's bin is given by how many rows have a smaller probability."""
    gaps = [0.0] * 10
    for true, said, counts in zip(y, probability, weight, strict=True):
        gaps[10 * sum(other < said for other in probability) // len(y)] += counts * (true - said)
    return sum(map(abs, gaps)) / sum(weight) if sum(weight) else np.nan


@settings(max_examples=100, deadline=None)
@given(rows=binary_rows())
def test_calibration_error_is_the_mean_gap_of_bins_of_all_rows(rows: tuple[Array, Array, Array]) -> None:
    y, probability, weights = rows
    expected = [calibration_reference(y, probability, weight) for weight in weights]
    np.testing.assert_allclose(BINARY["calibration_error"].values(y, probability, weights), expected, atol=1e-12)


@settings(max_examples=30, deadline=None)
@given(rows=multiclass_rows())
def test_calibration_error_of_several_classes_is_that_of_the_likeliest(rows: tuple[Array, Array, Array]) -> None:
    y, probabilities, weights = rows
    is_right, confidence = y == probabilities.argmax(axis=1), probabilities.max(axis=1)
    found = MULTICLASS["calibration_error"].values(y, probabilities, weights)
    np.testing.assert_allclose(found, BINARY["calibration_error"].values(is_right, confidence, weights))


def test_calibration_error_is_what_probabilities_are_off_by() -> None:
    rng = np.random.default_rng(1)
    probability = rng.uniform(0, 0.5, 100_000)
    y = rng.random(100_000) < probability
    for off in (0.0, 0.1, 0.3):
        assert BINARY["calibration_error"].values(y, probability + off)[0] == pytest.approx(off, abs=0.01)
    # overconfident: too low below the mean as much as too high above it
    stretched = 0.25 + 1.5 * (np.clip(probability, 0.1, 0.4) - 0.25)
    y = rng.random(100_000) < np.clip(probability, 0.1, 0.4)
    assert BINARY["calibration_error"].values(y, stretched)[0] == pytest.approx(
        np.abs(stretched - np.clip(probability, 0.1, 0.4)).mean(), abs=0.01
    )


def test_calibration_error_has_bins_of_equally_many_rows() -> None:
    y, probability = np.repeat([0.0, 1.0], 50), np.linspace(0.51, 0.511, 100)
    # bins of equal width would have all rows in one, whose share of positives is all but right
    assert BINARY["calibration_error"].values(y, probability)[0] == pytest.approx(0.5, abs=0.01)


def test_rows_of_the_same_probability_are_in_the_same_bin() -> None:
    y = np.tile([0.0, 0.0, 0.0, 1.0, 1.0], 20)
    y[:30] = 0
    assert BINARY["calibration_error"].values(y, np.where(np.arange(100) < 50, 0.3, 0.7))[0] == pytest.approx(
        (abs(y[:50].mean() - 0.3) + abs(y[50:].mean() - 0.7)) / 2
    )


@pytest.mark.parametrize(
    "metric",
    [metric for metrics in METRICS.values() for metric in metrics.values() if metric.name != "calibration_error"],
)
def test_weights_count_rows_as_if_they_were_repeated(metric: Metric) -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 300)
    prediction = rng.random(300).round(2)
    if metric.task == "multiclass_classification":
        prediction = np.column_stack((1 - prediction, prediction))
    counts = rng.multinomial(300, np.full(300, 1 / 300))
    weighted = metric.values(y, prediction, counts[None].astype(float))
    np.testing.assert_allclose(weighted, metric.values(np.repeat(y, counts), np.repeat(prediction, counts, axis=0)))


@pytest.mark.parametrize("value", [0.1, 1e9, -3.3])
def test_r2_is_undefined_where_the_target_does_not_vary_on_the_rows_that_count(value: float) -> None:
    y, weights = np.array([5.0, value, value, value]), np.array([[0.0, 1.0, 2.0, 1.0], [1.0, 1.0, 1.0, 1.0]])
    undefined, defined = REGRESSION["r2"].values(y, y + 1e-3, weights)
    assert np.isnan(undefined)
    assert np.isfinite(defined)


def test_every_metric_has_its_direction() -> None:
    smaller_is_better = {m.name for metrics in METRICS.values() for m in metrics.values() if not m.greater_is_better}
    assert smaller_is_better == {
        "log_loss",
        "brier_score",
        "calibration_error",
        "mean_absolute_error",
        "root_mean_squared_error",
    }


def test_with_threshold_returns_a_copy() -> None:
    lower = BINARY["recall"].with_threshold(0.1)
    assert (lower.threshold, BINARY["recall"].threshold) == (0.1, 0.5)
    with pytest.raises(ValueError, match="roc_auc of binary_classification has no decision threshold"):
        BINARY["roc_auc"].with_threshold(0.1)


@pytest.mark.parametrize(
    ("metric", "y", "prediction", "message"),
    [
        (BINARY["roc_auc"], [0, 1, 1], [0.1, 0.2], r"y of shape \(3,\) and a prediction of shape \(2,\)"),
        (BINARY["roc_auc"], [], [], "give at least one row"),
        (BINARY["recall"], [0, 1], [[0.1, 0.9], [0.2, 0.8]], r"as \(n,\) and \(n,\)"),
        (MULTICLASS["accuracy"], [0, 1], [0.1, 0.9], r"as \(n,\) and \(n, classes\)"),
        (BINARY["recall"], [0, 1, 1], [0.1, np.nan, np.inf], "2 missing or infinite values in the prediction"),
        (REGRESSION["r2"], [np.nan, 1], [0, 1], "1 missing or infinite values in y"),
        (BINARY["f1"], [1, 2], [0.1, 0.2], "a class outside 0 to 1 in y"),
        (MULTICLASS["f1_macro"], [0, 3], [[0.1, 0.2, 0.7]] * 2, "a class outside 0 to 2 in y"),
        (BINARY["log_loss"], [0, 1], [-2.5, 0.5], "the prediction runs from -2.5 to 0.5"),
        (BINARY["brier_score"], [0, 1], [0.5, 3], "use a model that predicts probabilities"),
        (BINARY["calibration_error"], [0, 1], [-0.5, 1], "the prediction runs from -0.5 to 1"),
    ],
)
def test_rows_that_do_not_fit_are_refused(metric: Metric, y: list[float], prediction: list[Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        metric.values(np.array(y), np.array(prediction))


def test_import_stays_cheap() -> None:
    heavy = {"sklearn", "scipy", "pandas", "matplotlib", "PIL", "mlflow", "dagster"}
    code = f"import sys, ml_platform.ml.metrics; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
