"""A model passes a gate if it surely meets it, and one of two models on the same rows if it is not surely worse."""

from typing import Any

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from ml_platform.ml.evaluation import metrics_of
from ml_platform.ml.gates import judge
from ml_platform.ml.intervals import bootstrap_intervals
from ml_platform.ml.report import Interval, Report
from ml_platform.use_case import Gate, Task, UseCase
from ml_platform_tests.examples import use_case

Scores = NDArray[np.float64]


def drawn(signal: float, y: Scores, seed: int = 2) -> Scores:
    """Scores that tell the positive rows the better the greater the signal."""
    noise = np.random.default_rng(seed).normal(size=len(y))
    return np.asarray(1 / (1 + np.exp(-signal * (2 * y - 1) - noise)))


Y = (np.random.default_rng(1).random(400) < 0.3).astype(np.float64)
GOOD, BAD = drawn(1.0, Y), drawn(0.2, Y)


def report(model: Scores, y: Scores = Y, of: UseCase | None = None, **baselines: Scores) -> Report:
    found = bootstrap_intervals(list(metrics_of(of or use_case()).values()), y, model, seed=0)
    return reported(found, y, model=model, **baselines)


def reported(metrics: dict[str, Interval], y: Scores = Y, **scores: Scores) -> Report:
    table = pl.DataFrame({"label": y, **{name: values.tolist() for name, values in scores.items()}})
    return Report("run", "january", "february", metrics, baselines={}, figures={}, scores=table)


def verdict(judged: Report, champion: Scores | None = None, of: UseCase | None = None, **gate: Any) -> str | None:
    return judge(of or use_case(), Gate(**gate), judged, champion)


@pytest.mark.parametrize(
    ("condition", "sentence"),
    [
        ({"at_least": 0.84}, None),
        ({"at_least": 0.85}, None),
        ({"at_least": 0.86}, "roc_auc is 0.9000 (0.8500 to 0.9400), not surely at least 0.86."),
        ({"at_least": 0.9}, "roc_auc is 0.9000 (0.8500 to 0.9400), not surely at least 0.9."),
        ({"at_most": 0.95}, None),
        ({"at_most": 0.94}, None),
        ({"at_most": 0.93}, "roc_auc is 0.9000 (0.8500 to 0.9400), not surely at most 0.93."),
        ({"at_most": 0.9}, "roc_auc is 0.9000 (0.8500 to 0.9400), not surely at most 0.9."),
    ],
)
def test_a_bound_must_be_met_by_the_whole_interval(condition: dict[str, float], sentence: str | None) -> None:
    judged = reported({"roc_auc": Interval(0.9, 0.85, 0.94, 0.95)})
    assert verdict(judged, metric="roc_auc", **condition) == sentence


@pytest.mark.parametrize("condition", [{"at_least": 0.0}, {"at_most": 1.0}, {"no_worse_than": "champion"}])
def test_a_metric_without_a_value_fails_every_gate(condition: dict[str, Any]) -> None:
    assert verdict(reported({}), champion=GOOD, metric="precision", **condition) == (
        "precision has no value on this hold-out; choose another metric or threshold."
    )


@pytest.mark.parametrize("metric", metrics_of(use_case()))
def test_the_first_model_has_no_champion_to_be_worse_than(metric: str) -> None:
    assert verdict(report(BAD), champion=None, metric=metric, no_worse_than="champion") is None


@pytest.mark.parametrize("metric", metrics_of(use_case()))
def test_a_model_is_no_worse_than_itself(metric: str) -> None:
    assert verdict(report(GOOD), champion=GOOD, metric=metric, no_worse_than="champion") is None


@pytest.mark.parametrize("metric", ["roc_auc", "average_precision", "log_loss", "brier_score", "accuracy"])
def test_a_better_model_passes_and_a_worse_one_does_not(metric: str) -> None:
    assert verdict(report(GOOD), champion=BAD, metric=metric, no_worse_than="champion") is None
    sentence = verdict(report(BAD), champion=GOOD, metric=metric, no_worse_than="champion")
    assert sentence is not None
    assert sentence.startswith(f"{metric} is ")
    assert ", worse than the champion's by " in sentence


def test_a_model_that_may_be_worse_by_chance_passes() -> None:
    judged, champion = report(drawn(1.0, Y, seed=3)), drawn(1.1, Y, seed=5)
    assert judged.metrics["roc_auc"].point < report(champion).metrics["roc_auc"].point - 0.01
    assert verdict(judged, champion=champion, metric="roc_auc", no_worse_than="champion") is None


def test_a_difference_on_the_same_rows_shows_where_intervals_overlap() -> None:
    other = GOOD.copy()
    other[np.flatnonzero(Y == 1)[:4]] = 0.0
    before, after = report(GOOD), report(other)
    assert after.metrics["roc_auc"].high > before.metrics["roc_auc"].low
    assert verdict(after, champion=GOOD, metric="roc_auc", no_worse_than="champion") is not None


@pytest.mark.parametrize("baseline", ["linear", "prior"])
def test_a_baseline_of_the_report_may_be_what_must_not_be_better(baseline: str) -> None:
    gate = {"metric": "roc_auc", "no_worse_than": baseline}
    others = {"linear": np.full(len(Y), 0.5), "prior": np.full(len(Y), 0.5)}
    assert verdict(report(GOOD, **others), champion=None, **gate) is None
    sentence = verdict(report(BAD, **others | {baseline: GOOD}), champion=None, **gate)
    assert sentence is not None
    assert f"worse than the {baseline}'s by" in sentence


def test_a_metric_at_a_threshold_is_compared_at_the_threshold_of_the_use_case() -> None:
    high, low = np.where(Y == 1, 0.9, 0.1), np.where(Y == 1, 0.4, 0.1)
    gate = {"metric": "recall", "no_worse_than": "champion"}
    cautious = use_case(model={"threshold": 0.3})
    assert verdict(report(low), champion=high, **gate) is not None
    assert verdict(report(low, of=cautious), champion=high, of=cautious, **gate) is None


@pytest.mark.parametrize(
    ("task", "metric"), [("multiclass_classification", "f1_macro"), ("regression", "mean_absolute_error")]
)
def test_models_of_every_task_are_compared(task: Task, metric: str) -> None:
    of = use_case(task=task)
    y = np.arange(90.0) % 3
    right, wrong = (np.eye(3)[y.astype(int)], np.eye(3)[(y.astype(int) + 1) % 3]) if "class" in task else (y, y + 5)
    gate = {"metric": metric, "no_worse_than": "champion"}
    assert verdict(report(right, y, of), champion=wrong, of=of, **gate) is None
    assert verdict(report(wrong, y, of), champion=right, of=of, **gate) is not None


def test_models_that_cannot_be_compared_fail_with_the_reason() -> None:
    nothing = np.zeros(400)
    judged = reported({"roc_auc": Interval(0.9, 0.85, 0.94, 0.95)}, y=nothing, model=GOOD)
    assert verdict(judged, champion=GOOD, metric="roc_auc", no_worse_than="champion") == (
        "the champion cannot be compared: roc_auc is undefined on this hold-out: "
        "it has 0 positive rows of 400; use a longer hold_out."
    )


def test_a_champion_that_is_not_finite_cannot_be_compared() -> None:
    broken = np.where(Y == 1, np.nan, GOOD)
    sentence = verdict(report(GOOD), champion=broken, metric="roc_auc", no_worse_than="champion")
    assert sentence is not None
    assert sentence.startswith("the champion cannot be compared: roc_auc got ")


def test_how_much_worse_a_model_is_is_told_as_an_amount() -> None:
    sentence = verdict(report(BAD), champion=GOOD, metric="roc_auc", no_worse_than="champion")
    assert sentence is not None
    assert "-" not in sentence.partition("worse than the champion's by ")[2]
