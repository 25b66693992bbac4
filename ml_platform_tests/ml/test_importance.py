"""Importance against its definition and against simulations; a shift of it against noise and against planted ones."""

from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_platform.ml.importance import importance_shift, permutation_importance
from ml_platform.ml.metrics import METRICS
from ml_platform.ml.report import Interval
from ml_platform.ml.training import BASELINES, TrainedModel
from ml_platform.use_case import Task
from ml_platform_tests.ml.test_training import BOOSTING, RIDGE, case, trained

TASKS: list[Task] = ["binary_classification", "multiclass_classification", "regression"]


def table(n: int, task: Task, seed: int) -> pl.DataFrame:
    """Rows whose label follows `strong` and, less, `weak` and `city`, not `noise`."""
    rng = np.random.default_rng(seed)
    strong, weak, noise, city = rng.normal(size=n), rng.normal(size=n), rng.normal(size=n), rng.choice([*"ab"], size=n)
    value = strong + 0.5 * weak + 0.5 * (city == "a") + rng.normal(size=n)
    y = {
        "regression": value,
        "binary_classification": value > 1.5,
        "multiclass_classification": np.digitize(value, [0, 1]),
    }
    frame = pl.DataFrame({"id": range(n), "noise": noise, "weak": weak, "city": city, "strong": strong})
    return frame.with_columns(y=pl.Series(np.asarray(y[task], float)))


def linear(task: Task) -> TrainedModel:
    return trained(case(BASELINES[task]["linear"], task), table(2_000, task, seed=0))


def importance(model: TrainedModel, rows: pl.DataFrame, seed: int = 0, **more: Any) -> dict[str, Interval]:
    of = case(task=model.task, model={"seed": seed})
    return permutation_importance(of, model, rows, rows["y"].to_numpy(), **more)


@pytest.mark.parametrize("task", TASKS)
def test_the_informative_feature_comes_first_and_noise_is_not_surely_anything(task: Task) -> None:
    model = linear(task)
    found = [importance(model, table(600, task, seed), seed) for seed in range(1, 13)]
    for one in found:
        assert list(one) == list(model.columns)
        assert max(one, key=lambda name: one[name].point) == "strong"
        assert one["strong"].low > 0
    assert sum(one["noise"].low <= 0 <= one["noise"].high for one in found) >= 10
    assert all(one["weak"].low < one["weak"].point < one["weak"].high for one in found)


@pytest.mark.parametrize("task", TASKS)
def test_the_interval_covers_the_truth_as_often_as_it_says(task: Task) -> None:
    model = linear(task)
    truth = np.mean([importance(model, table(5_000, task, seed))["strong"].point for seed in range(900, 906)])
    found = [importance(model, table(250, task, seed), seed)["strong"] for seed in range(60)]
    assert np.mean([one.low <= truth <= one.high for one in found]) >= 0.87
    spread, said = np.std([one.point for one in found]), np.mean([(one.high - one.low) / 3.92 for one in found])
    assert said == pytest.approx(spread, rel=0.3)


@pytest.mark.parametrize(
    ("task", "metric"), [(TASKS[0], "roc_auc"), (TASKS[1], "log_loss"), (TASKS[2], "mean_absolute_error")]
)
def test_it_is_the_loss_of_the_metric_under_all_swaps(task: Task, metric: str) -> None:
    model, rows = linear(task), table(120, task, seed=3)
    y = rows["y"].to_numpy()
    measure = METRICS[task][metric]
    sign = -1 if measure.greater_is_better else 1
    every_giver = [
        measure.values(y, model.predict(rows.with_columns(strong=pl.Series(np.roll(rows["strong"], by)))))[0]
        for by in range(120)
    ]
    expected = sign * (np.mean(every_giver) - measure.values(y, model.predict(rows))[0])
    assert importance(model, rows)["strong"].point == pytest.approx(expected, rel=0.03)


def test_a_mix_of_classes_that_is_judged_differently_changes_nothing() -> None:
    task: Task = "binary_classification"
    model = linear(task)
    rows = table(20_000, task, seed=4)
    rare = pl.concat([rows.filter(pl.col("y") == 0), rows.filter(pl.col("y") == 1)[:150]])
    y = rare["y"].to_numpy()
    roc_auc = METRICS[task]["roc_auc"]
    shuffled = rare.with_columns(pl.col("strong").shuffle(seed=1))
    expected = roc_auc.values(y, model.predict(rare))[0] - roc_auc.values(y, model.predict(shuffled))[0]
    found = importance(model, rare)["strong"]
    assert found.low < expected < found.high
    assert found.point == pytest.approx(expected, abs=0.02)


def test_a_feature_that_the_model_ignores_has_none() -> None:
    rows = table(300, "regression", seed=5).with_columns(pl.lit(1.0).alias("weak"))
    model = trained(case(RIDGE, "regression"), rows)
    weak = importance(model, rows)["weak"]
    assert (weak.point, weak.low, weak.high, weak.confidence) == (0, 0, 0, 0.95)


def test_the_same_seed_gives_the_same_and_another_one_not() -> None:
    model, rows = linear("binary_classification"), table(400, "binary_classification", seed=6)
    assert importance(model, rows, seed=1) == importance(model, rows, seed=1) != importance(model, rows, seed=2)


def test_an_entity_of_many_equal_rows_counts_once() -> None:
    model, rows = linear("regression"), table(150, "regression", seed=7)
    once, often = rows, pl.concat([rows] * 9)
    by_row = importance(model, often)["strong"]
    by_entity = importance(model, often, groups=np.array([f"customer {i}" for i in often["id"]]))["strong"]
    alone = importance(model, once)["strong"]
    assert by_row.point == by_entity.point
    assert by_entity.high - by_entity.low == pytest.approx(alone.high - alone.low, rel=0.15)
    assert by_entity.high - by_entity.low == pytest.approx(3 * (by_row.high - by_row.low), rel=0.2)


def test_one_class_is_refused() -> None:
    rows = table(50, "binary_classification", seed=8).with_columns(y=pl.lit(0.0))
    with pytest.raises(
        ValueError, match=r"^the importance of features needs both classes, 0 of 50 rows are positive; hold out more"
    ):
        importance(linear("binary_classification"), rows)


def intervals(margin: float = 0.0, **points: float) -> dict[str, Interval]:
    return {name: Interval(point, point - margin, point + margin, 0.95) for name, point in points.items()}


def test_a_shift_is_told_with_the_features_that_gained_and_lost_most() -> None:
    champion, now = intervals(amount=0.3, city=0.1, age=0.1, noise=-0.2), intervals(amount=0.1, age=0.1, new=0.3)
    assert importance_shift(now, champion) == (
        "at least 60% of the importance lies on other features than the champion's (at most 30% may): 'new' gained "
        "most, from 0% to 60% and 'amount' lost most, from 60% to 20%; look at the source and the transform of both."
    )


@given(st.dictionaries(st.sampled_from("abcdef"), st.floats(-1, 1), min_size=1), st.floats(0.1, 10))
def test_a_model_has_not_shifted_from_itself_in_any_unit(points: dict[str, float], factor: float) -> None:
    scaled = {name: factor * point for name, point in points.items()}
    assert importance_shift(intervals(**points), intervals(**scaled)) is None


@pytest.mark.parametrize(("moved", "told"), [(0.29, False), (0.31, True)])
def test_a_third_of_the_importance_may_move(moved: float, told: bool) -> None:
    found = importance_shift(intervals(a=0.5 + moved, b=0.5 - moved), intervals(a=0.5, b=0.5))
    assert (found is not None) == told


def test_what_the_intervals_leave_open_is_no_shift() -> None:
    assert importance_shift(intervals(a=0.9, b=0.1), intervals(a=0.1, b=0.9)) is not None
    assert importance_shift(intervals(0.5, a=0.9, b=0.1), intervals(0.5, a=0.1, b=0.9)) is None


def test_no_importance_has_no_shift() -> None:
    assert importance_shift(intervals(a=-0.1, b=0.0), intervals(a=1.0)) is None
    assert importance_shift(intervals(a=1.0), intervals(a=-0.1)) is None


@pytest.mark.parametrize("learned", [True, False])
def test_training_again_is_no_shift_however_little_there_is_to_learn(learned: bool) -> None:
    of = case(BOOSTING, model={"params": {"max_iter": 10}})
    first, again, judged = (table(1_000, of.task, seed) for seed in (20, 21, 22))
    if not learned:
        first, again = (rows.with_columns(pl.col("y").shuffle(seed=1)) for rows in (first, again))
    champion, now = (importance(trained(of, rows), judged) for rows in (first, again))
    assert importance_shift(now, champion) is None


def test_training_on_mistaken_columns_is_a_shift() -> None:
    of = case(BOOSTING, model={"params": {"max_iter": 10}})
    rows = table(1_000, of.task, seed=20)
    mistaken = rows.rename({"strong": "noise", "noise": "strong"})
    champion, now = (importance(trained(of, one), one) for one in (rows, mistaken))
    assert "'noise' gained most" in str(importance_shift(now, champion))
