"""The decision threshold: what a rule chooses, and on which rows."""

from datetime import datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_platform.ml.metrics import METRICS, Floats
from ml_platform.ml.splits import held_out_by_key
from ml_platform.ml.thresholds import chosen_threshold, last_part, threshold_of
from ml_platform.use_case import ThresholdRule, UseCase
from ml_platform_tests.examples import use_case

TREE = "sklearn.tree.DecisionTreeClassifier"
START = datetime(2024, 1, 1)

# some scores are equal, some are neighbours among floats, and both ends are there
SCORES = st.sampled_from([0.0, 5e-324, 0.1, 0.3, np.nextafter(0.3, 1), 0.5, 0.9, np.nextafter(1, 0), 1.0]) | st.floats(
    0, 1
)
SCORED = st.lists(st.tuples(st.sampled_from([0.0, 1.0]), SCORES), min_size=2, max_size=30).filter(
    lambda rows: len({label for label, _ in rows}) == 2
)


def arrays(scored: list[tuple[float, float]]) -> tuple[Floats, Floats]:
    y, scores = np.array(scored).T
    return y, scores


def metric(name: str, y: Floats, scores: Floats, threshold: float) -> float:
    """A metric of the decisions at a threshold, by the formulas that judge models."""
    return float(METRICS["binary_classification"][name].with_threshold(threshold).values(y, scores)[0])


def cost(y: Floats, scores: Floats, threshold: float, false_positive: float, false_negative: float) -> float:
    decided = scores >= threshold
    return float(false_positive * np.sum(decided & (y == 0)) + false_negative * np.sum(~decided & (y == 1)))


@settings(deadline=None)
@given(SCORED, st.sampled_from(["f1", "balanced_accuracy"]))
def test_no_threshold_has_a_greater_metric(scored: list[tuple[float, float]], name: Any) -> None:
    y, scores = arrays(scored)
    chosen = chosen_threshold(ThresholdRule(maximize=name), y, scores)
    assert metric(name, y, scores, chosen) >= max(metric(name, y, scores, score) for score in scores) - 1e-12


@settings(deadline=None)
@given(SCORED, st.integers(1, 9), st.integers(1, 9))
def test_no_threshold_costs_less(scored: list[tuple[float, float]], false_positive: int, false_negative: int) -> None:
    y, scores = arrays(scored)
    prices = {"false_positive": false_positive, "false_negative": false_negative}
    chosen = chosen_threshold(ThresholdRule.model_validate({"costs": prices}), y, scores)
    assert cost(y, scores, chosen, **prices) == min(cost(y, scores, other, **prices) for other in [*scores, 3.0])


@settings(deadline=None)
@given(SCORED, st.floats(0.01, 1))
def test_the_lowest_threshold_with_the_precision_is_chosen(scored: list[tuple[float, float]], wanted: float) -> None:
    y, scores = arrays(scored)
    good = [score for score in scores if metric("precision", y, scores, score) >= wanted]
    if not good:
        with pytest.raises(ValueError, match="no threshold has a precision"):
            chosen_threshold(ThresholdRule(precision_at_least=wanted), y, scores)
        return
    chosen = chosen_threshold(ThresholdRule(precision_at_least=wanted), y, scores)
    assert (scores >= chosen).tolist() == (scores >= min(good)).tolist()


@settings(deadline=None)
@given(SCORED, st.floats(0.01, 1))
def test_the_highest_threshold_with_the_recall_is_chosen(scored: list[tuple[float, float]], wanted: float) -> None:
    y, scores = arrays(scored)
    chosen = chosen_threshold(ThresholdRule(recall_at_least=wanted), y, scores)
    best = max(score for score in scores if metric("recall", y, scores, score) >= wanted)
    assert (scores >= chosen).tolist() == (scores >= best).tolist()


@settings(deadline=None)
@given(SCORED, st.sampled_from([{"maximize": "f1"}, {"recall_at_least": 0.5}]))
def test_the_threshold_lies_halfway_between_two_scores(scored: list[tuple[float, float]], rule: dict[str, Any]) -> None:
    y, scores = arrays(scored)
    chosen = chosen_threshold(ThresholdRule.model_validate(rule), y, scores)
    above, below = min(scores[scores >= chosen]), max(scores[scores < chosen], default=0.0)
    assert chosen == (above + below) / 2 or chosen == above == np.nextafter(below, 1) or chosen == above == 0.0


Y, S = np.array([0.0, 0.0, 1.0, 0.0, 1.0, 1.0]), np.array([0.1, 0.2, 0.4, 0.6, 0.7, 0.9])


@pytest.mark.parametrize(
    ("rule", "threshold"),
    [
        ({"precision_at_least": 0.75}, 0.3),
        ({"precision_at_least": "100%"}, 0.65),
        ({"recall_at_least": 0.3}, 0.8),
        ({"recall_at_least": 1}, 0.3),
        ({"maximize": "f1"}, 0.3),
        ({"maximize": "balanced_accuracy"}, 0.65),  # 0.3 is as good: the highest is taken
        ({"costs": {"false_positive": 1, "false_negative": 9}}, 0.3),
        ({"costs": {"false_positive": 9, "false_negative": 1}}, 0.65),
    ],
)
def test_the_thresholds_of_an_example(rule: dict[str, Any], threshold: float) -> None:
    assert chosen_threshold(ThresholdRule.model_validate(rule), Y, S) == pytest.approx(threshold)


@pytest.mark.parametrize(("greatest", "threshold"), [(0.9, 0.95), (1.0, 1.5)])
def test_nobody_is_positive_where_that_costs_least(greatest: float, threshold: float) -> None:
    rule = ThresholdRule.model_validate({"costs": {"false_positive": 100, "false_negative": 1}})
    assert chosen_threshold(rule, np.array([1.0, 0.0]), np.array([0.5, greatest])) == pytest.approx(threshold)


def test_a_precision_out_of_reach_is_refused_with_the_greatest() -> None:
    with pytest.raises(ValueError, match="precision") as refusal:
        chosen_threshold(ThresholdRule(precision_at_least=0.9), np.array([0.0, 1.0, 0.0]), np.array([0.9, 0.5, 0.1]))
    assert str(refusal.value) == (
        "no threshold has a precision of 0.9, the greatest is 0.5; lower model.threshold.precision_at_least, or "
        "improve the model."
    )


@pytest.mark.parametrize("label", [0.0, 1.0])
def test_one_class_is_nothing_to_choose_on(label: float) -> None:
    with pytest.raises(ValueError, match="same label"):
        chosen_threshold(ThresholdRule(maximize="f1"), np.full(3, label), np.array([0.1, 0.2, 0.3]))


def case(partitions: Any = None, known_after: str = "0 days", **more: Any) -> UseCase:
    model = {"threshold": {"maximize": "f1"}}
    changes = {} if partitions is None else {"partitions": partitions}
    return use_case(model=model | more.pop("model", {}), label={"known_after": known_after}, **changes, **more)


def table(fraud: list[int]) -> pl.DataFrame:
    """A row an hour with these labels, and a feature that is the label."""
    at = [START + timedelta(hours=hour) for hour in range(len(fraud))]
    return pl.DataFrame({"id": range(len(fraud)), "at": at, "amount": [float(one) for one in fraud], "fraud": fraud})


def test_the_threshold_is_chosen_on_the_last_fifth() -> None:
    before, chosen_on = last_part(case(), table([0, 1] * 50).sample(fraction=1, shuffle=True, seed=1))
    assert sorted(before["id"]) == list(range(80))
    assert sorted(chosen_on["id"]) == list(range(80, 100))


def test_one_label_delay_is_left_out_where_half_of_the_rows_are_older() -> None:
    rows = table([0, 1] * 50)
    assert last_part(case(known_after="30 hours"), rows)[0]["id"].to_list() == list(range(50))
    assert last_part(case(known_after="31 hours"), rows)[0]["id"].to_list() == list(range(80))


def test_the_last_part_reaches_back_until_it_has_both_classes() -> None:
    before, chosen_on = last_part(case(), table([0, 1] * 20 + [0] * 60))
    assert (before.height, chosen_on.height) == (39, 61)


def test_rows_of_one_moment_are_in_one_part() -> None:
    rows = table([0, 1] * 50).with_columns(pl.col("at").dt.truncate("1d"))
    before, chosen_on = last_part(case(), rows)
    assert before["at"].max() < chosen_on["at"].min()  # type: ignore[operator]


@pytest.mark.parametrize("entity", [None, "city"])
def test_without_partitions_a_fifth_of_the_keys_or_entities_is_chosen_on(entity: str | None) -> None:
    of = case(partitions="none", contract={"entity": entity})
    rows = table([0, 1] * 2_000).with_columns(city=(pl.col("id") // 2 * 7).cast(pl.String))
    left = rows.filter(~held_out_by_key(rows, [entity or "id"], of.model.hold_out_share))
    before, chosen_on = last_part(of, left)
    assert chosen_on.height / left.height == pytest.approx(0.2, abs=0.02)
    assert before.height + chosen_on.height == left.height
    assert not {*before[entity or "id"]} & {*chosen_on[entity or "id"]}


@pytest.mark.parametrize("fraud", [[0] * 100, [0] * 99 + [1], [1] * 100])
def test_too_few_rows_of_a_class_are_refused(fraud: list[int]) -> None:
    with pytest.raises(ValueError, match="do not have both classes; use more training rows, or write the threshold"):
        last_part(case(), table(fraud))


def test_the_threshold_parts_what_the_model_of_the_earlier_rows_parts() -> None:
    assert threshold_of(case(), table([0, 1] * 50), TREE, {}) == 0.5


def test_the_rows_that_a_threshold_is_chosen_on_are_not_learned_from() -> None:
    # a tree that had learned these rows would give each of them its label, since each is one of its kind
    rows = table([0, 1] * 50).with_columns(amount=pl.col("id").cast(pl.Float64))
    turned = rows.with_columns(fraud=pl.when(pl.col("id") < 80).then("fraud").otherwise(1 - pl.col("fraud")))
    of = case(model={"threshold": {"precision_at_least": 0.9}})
    with pytest.raises(ValueError, match=r"the greatest is 0\.5"):
        threshold_of(of, turned, TREE, {})


def test_a_number_is_taken_as_it_is_and_other_tasks_have_none() -> None:
    assert threshold_of(use_case(model={"threshold": 0.3}), table([0, 1]), TREE, {}) == 0.3
    assert threshold_of(use_case(task="regression"), table([0, 1]), TREE, {}) is None
