"""The bootstrap intervals against scipy's, against simulations, and for people when they cannot be had."""

import tracemalloc
from typing import Any

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from ml_platform.ml import intervals
from ml_platform.ml.intervals import (
    Interval,
    bootstrap_interval,
    bootstrap_intervals,
    groups_of,
    normal_intervals,
    paired_difference,
)
from ml_platform.ml.metrics import METRICS

Array = NDArray[Any]

BINARY = METRICS["binary_classification"]
REGRESSION = METRICS["regression"]


def scored_rows(n: int, seed: int, signal: float = 1.0) -> tuple[Array, Array]:
    """Labels, and scores that tell them apart the better the greater the signal."""
    rng = np.random.default_rng(seed)
    y = (rng.random(n) < 0.3).astype(int)
    return y, 1 / (1 + np.exp(-signal * (2 * y - 1) - rng.normal(size=n)))


def test_rows_without_an_entity_are_a_group_of_their_own() -> None:
    assert groups_of(pl.Series(["b", None, "a", "b", None])).tolist() == [2, 0, 1, 2, 0]
    assert groups_of(pl.Series([None, 7, 3], dtype=pl.Int64)).tolist() == [0, 2, 1]


def width(interval: Interval) -> float:
    return interval.high - interval.low


@pytest.mark.parametrize("name", ["roc_auc", "average_precision", "brier_score", "recall"])
def test_agrees_with_scipy(name: str) -> None:
    from scipy import stats

    y, score = scored_rows(150, seed=1)
    expected = stats.bootstrap(
        (y, score),
        lambda y, score: BINARY[name].values(y, score)[0],
        paired=True,
        vectorized=False,
        method="percentile",
        n_resamples=3000,
        rng=np.random.default_rng(2),
    ).confidence_interval
    interval = bootstrap_interval(BINARY[name], y, score, resamples=3000, seed=3)
    assert interval.point == pytest.approx(BINARY[name].values(y, score)[0], rel=1e-12)
    tolerance = 0.07 * width(interval)
    assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high), abs=tolerance)


def test_covers_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(4)
    truth = np.sqrt(2 / np.pi)
    covered = 0
    for seed in range(200):
        errors = rng.normal(size=80)
        interval = bootstrap_interval(
            REGRESSION["mean_absolute_error"], errors, np.zeros(80), resamples=200, confidence=0.9, seed=seed
        )
        covered += interval.low <= truth <= interval.high
    assert 0.84 <= covered / 200 <= 0.95


def test_same_seed_same_interval_in_blocks_of_any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    y, score = scored_rows(100, seed=5)
    first = bootstrap_interval(BINARY["roc_auc"], y, score, seed=6)
    monkeypatch.setattr(intervals, "_BLOCK_BYTES", 8 * 100 * 7)
    assert bootstrap_interval(BINARY["roc_auc"], y, score, seed=6) == first
    assert bootstrap_interval(BINARY["roc_auc"], y, score, seed=7) != first


def test_metrics_share_the_resamples() -> None:
    y, score = scored_rows(100, seed=8)
    metrics = [BINARY["roc_auc"], BINARY["log_loss"], BINARY["f1"].with_threshold(0.4)]
    together = bootstrap_intervals(metrics, y, score, seed=9)
    assert together == {metric.name: bootstrap_interval(metric, y, score, seed=9) for metric in metrics}
    assert all(one.low < one.point < one.high for one in together.values())


def test_higher_confidence_is_wider() -> None:
    y, score = scored_rows(100, seed=10)
    narrow, wide = (bootstrap_interval(BINARY["roc_auc"], y, score, confidence=c, seed=1) for c in (0.5, 0.99))
    assert wide.low < narrow.low < narrow.high < wide.high
    assert (narrow.confidence, wide.confidence) == (0.5, 0.99)


def test_normal_intervals_are_like_those_of_many_resamples_and_reach_any_confidence() -> None:
    from scipy import stats

    y, score = scored_rows(500, seed=20)
    metrics = [BINARY[name] for name in ("roc_auc", "brier_score", "recall")]
    usual, sure = (normal_intervals(metrics, y, score, confidence=c, seed=1) for c in (0.95, 0.9999))
    for metric in metrics:
        expected = bootstrap_interval(metric, y, score, resamples=2000, seed=2)
        one = usual[metric.name]
        assert one.point == expected.point
        assert (one.low, one.high) == pytest.approx((expected.low, expected.high), abs=0.12 * width(expected))
        reach = stats.norm.ppf(0.99995) / stats.norm.ppf(0.975)
        assert width(sure[metric.name]) == pytest.approx(reach * width(one))
    assert normal_intervals([BINARY["precision"]], y, score * 0.4, seed=1) == {}


@pytest.mark.parametrize(
    ("name", "rows"),
    [("recall", 12), ("precision", 12), ("f1", 12), ("roc_auc", 12), ("accuracy", 300), ("brier_score", 300)],
)
@pytest.mark.parametrize("is_right", [True, False])
def test_a_model_that_is_right_or_wrong_on_all_rows_has_the_exact_interval(
    name: str, rows: int, *, is_right: bool
) -> None:
    from scipy import stats

    y = np.array([1.0] * 12 + [0.0] * 288)
    prediction = y if is_right else 1 - y
    if name == "precision" and not is_right:
        prediction, rows = np.ones(300) - y, 288  # those that it takes for positive
    metric = BINARY[name]
    best = metric.greater_is_better == is_right
    expected = stats.binomtest(rows * best, rows).proportion_ci(method="exact")
    for found in (
        bootstrap_interval(metric, y, prediction, seed=1),
        bootstrap_intervals([metric], y, prediction, seed=1)[name],
        normal_intervals([metric], y, prediction, seed=1)[name],
    ):
        assert (found.point, found.low, found.high) == pytest.approx((float(best), expected.low, expected.high))


def test_an_exact_interval_counts_entities_where_rows_are_alike() -> None:
    y = np.array([1.0] * 12 + [0.0] * 288)
    customers = np.arange(300) // 4  # three of them have the positive rows
    assert bootstrap_interval(BINARY["recall"], y, y, groups=customers, seed=1).low == pytest.approx(0.025 ** (1 / 3))


def test_a_single_miss_is_left_to_the_bootstrap() -> None:
    y = np.array([1.0] * 12 + [0.0] * 288)
    one_missed = np.where(np.arange(300) == 0, 0.0, y)
    assert bootstrap_interval(BINARY["recall"], y, one_missed, seed=1).high == 1
    assert bootstrap_interval(REGRESSION["r2"], y, y, seed=1).low == 1


def test_groups_widen_the_interval_where_the_rows_of_a_group_are_alike() -> None:
    y, score = scored_rows(100, seed=11)
    rows = np.repeat(y, 16), np.repeat(score, 16)
    names = np.repeat([f"customer {i}" for i in range(100)], 16)
    by_row = bootstrap_interval(BINARY["roc_auc"], *rows, seed=12)
    by_group = bootstrap_interval(BINARY["roc_auc"], *rows, groups=names, seed=12)
    assert by_group.point == by_row.point
    assert width(by_group) == pytest.approx(4 * width(by_row), rel=0.2)
    once_each = bootstrap_interval(BINARY["roc_auc"], y, score, seed=12)
    assert (by_group.low, by_group.high) == pytest.approx((once_each.low, once_each.high), rel=0.05)


def test_a_group_of_one_row_each_changes_nothing() -> None:
    y, score = scored_rows(60, seed=13)
    expected = bootstrap_interval(BINARY["brier_score"], y, score, seed=1)
    assert bootstrap_interval(BINARY["brier_score"], y, score, groups=np.arange(60), seed=1) == expected


def test_paired_difference_is_narrower_than_the_difference_of_intervals() -> None:
    y, champion = scored_rows(300, seed=14)
    challenger = np.clip(champion + 0.05 * (2 * y - 1), 0, 1)
    difference = paired_difference(BINARY["roc_auc"], y, champion, challenger, seed=15)
    one, other = (bootstrap_interval(BINARY["roc_auc"], y, score, seed=15) for score in (champion, challenger))
    assert difference.point == other.point - one.point
    assert width(difference) < np.hypot(width(one), width(other)) / 2
    assert 0 < difference.low < difference.point < difference.high
    reverse = paired_difference(BINARY["roc_auc"], y, challenger, champion, seed=15)
    assert (reverse.low, reverse.high) == pytest.approx((-difference.high, -difference.low))
    same = paired_difference(BINARY["roc_auc"], y, champion, champion, seed=15)
    assert (same.point, same.low, same.high) == (0, 0, 0)


def test_undefined_resamples_are_left_out() -> None:
    y, score = scored_rows(60, seed=17)
    y[:] = 0
    y[:2] = 1
    interval = bootstrap_interval(BINARY["roc_auc"], y, score, seed=1)
    assert np.isfinite([interval.low, interval.high]).all()


def test_memory_is_bounded() -> None:
    y, score = scored_rows(67_000, seed=18)
    groups = np.arange(67_000) // 5
    tracemalloc.start()
    bootstrap_intervals(list(BINARY.values()), y, score, groups=groups, resamples=40, seed=1)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 100 * 2**20


def test_an_undefined_metric_says_what_the_hold_out_lacks() -> None:
    y, score = np.zeros(120, dtype=int), np.linspace(0, 0.4, 120)
    message = "roc_auc is undefined on this hold-out: it has 0 positive rows of 120; hold out more rows."
    with pytest.raises(ValueError, match=f"^{message}$"):
        bootstrap_interval(BINARY["roc_auc"], y, score, seed=1)
    y[:30] = 1
    message = (
        "precision is undefined on this hold-out: it has 30 positive rows of 120 and 0 are predicted positive at "
        "threshold 0.5; hold out more rows, or take another threshold."
    )
    with pytest.raises(ValueError, match=f"^{message}$"):
        paired_difference(BINARY["precision"], y, 1 - score, score, seed=1)
    with pytest.raises(ValueError, match="r2 is undefined on this hold-out: the target takes 1 value in its 5 rows"):
        bootstrap_interval(REGRESSION["r2"], np.ones(5), np.arange(5.0), seed=1)


def test_a_metric_undefined_on_most_resamples_is_refused() -> None:
    y = np.array([0.0, 1.0])
    with pytest.raises(
        ValueError, match=r"r2 is undefined on 5\d of 101 resamples of this hold-out: the target takes 2"
    ):
        bootstrap_interval(REGRESSION["r2"], y, y, resamples=101, seed=2)


def test_too_few_rows_or_entities_are_refused() -> None:
    y, score = scored_rows(10, seed=19)
    with pytest.raises(ValueError, match="needs at least 2 entities, this hold-out has 1; hold out more rows"):
        bootstrap_interval(BINARY["roc_auc"], y, score, groups=np.full(10, "a"), seed=1)
    with pytest.raises(ValueError, match="needs at least 2 rows, this hold-out has 1"):
        bootstrap_interval(BINARY["brier_score"], y[:1], score[:1], seed=1)
    with pytest.raises(ValueError, match="groups names the entity of 9 rows and y has 10"):
        bootstrap_interval(BINARY["roc_auc"], y, score, groups=np.arange(9), seed=1)
