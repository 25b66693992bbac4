"""A model passes a gate only if it surely meets it, and what it lacks is told in a sentence."""

import re
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ml_platform.ml.gates import Opponent, judge
from ml_platform.ml.intervals import bootstrap_intervals
from ml_platform.ml.metrics import metrics_of
from ml_platform.ml.report import ENTITY, Interval, Report, Slice
from ml_platform.use_case import Gate, Task, UseCase
from ml_platform_tests.examples import use_case

Scores = NDArray[np.float64]


def drawn(signal: float, y: Scores, seed: int = 2) -> Scores:
    """Scores that tell the positive rows the better the greater the signal."""
    noise = np.random.default_rng(seed).normal(size=len(y))
    return np.asarray(1 / (1 + np.exp(-signal * (2 * y - 1) - noise)))


Y = (np.random.default_rng(1).random(400) < 0.3).astype(np.float64)
POSITIVES = int(Y.sum())
GOOD, BAD = drawn(1.0, Y), drawn(0.2, Y)


def report(model: Scores, y: Scores = Y, of: UseCase | None = None, **baselines: Scores) -> Report:
    found = bootstrap_intervals(list(metrics_of(of or use_case(), None).values()), y, model, seed=0)
    return reported(found, y, model=model, **baselines)


def reported(metrics: dict[str, Interval], y: Scores = Y, **scores: Scores) -> Report:
    table = pl.DataFrame({"label": y, **{name: values.tolist() for name, values in scores.items()}})
    return Report("run", "january", "february", metrics, baselines={}, figures={}, scores=table)


def verdict(
    judged: Report,
    champion: Scores | None = None,
    within: UseCase | None = None,
    unseen: NDArray[np.bool_] | None = None,
    **gate: Any,
) -> str | None:
    return judge(within or use_case(), Gate(**gate), judged, None if champion is None else Opponent(champion, unseen))


def failure(judged: Report, champion: Scores | None = None, **gate: Any) -> str:
    sentence = verdict(judged, champion, **gate)
    assert sentence is not None
    return sentence


NO_WORSE: dict[str, Any] = {"metric": "roc_auc", "no_worse_than": "champion", "margin": 0.01}
BETTER: dict[str, Any] = {"metric": "roc_auc", "better_than": "champion"}
FOUND = "roc_auc is 0.9000 (0.8500 to 0.9400)"


@pytest.mark.parametrize(
    ("condition", "sentence"),
    [
        ({"at_least": 0.84}, None),
        ({"at_least": 0.85}, None),
        # half of the width is enough for 0.875, and that takes four times the rows
        (
            {"at_least": 0.875},
            f"{FOUND}, not surely at least 0.875; about 520 positive rows would tell, there are 129.",
        ),
        (
            {"at_least": 0.9},
            f"{FOUND}, not surely at least 0.9; it is so close that 1,000 times as many rows would not",
        ),
        ({"at_least": 0.91}, f"{FOUND}, below 0.91."),
        ({"at_most": 0.95}, None),
        ({"at_most": 0.94}, None),
        ({"at_most": 0.91}, f"{FOUND}, not surely at most 0.91; about 2,100 positive rows would tell, there are 129."),
        ({"at_most": 0.89}, f"{FOUND}, above 0.89."),
    ],
)
def test_a_bound_must_be_met_by_the_whole_interval(condition: dict[str, float], sentence: str | None) -> None:
    judged = reported({"roc_auc": Interval(0.9, 0.85, 0.94, 0.95)})
    found = verdict(judged, metric="roc_auc", **condition)
    assert found == sentence or (found and sentence and found.startswith(sentence))


@settings(max_examples=30, deadline=None)
@given(limit=st.floats(0.6, 0.99))
def test_the_rows_that_would_tell_do(limit: float) -> None:
    judged = reported({"roc_auc": Interval(0.9, 0.85, 0.94, 0.95)})
    sentence = verdict(judged, metric="roc_auc", at_least=limit)
    if sentence and (needed := re.search(r"about ([\d,]+) positive", sentence)):
        rows = int(needed[1].replace(",", ""))
        narrower = 0.05 * np.sqrt(POSITIVES / rows)
        assert 0.9 - narrower >= limit - 1e-9
        # two digits, rounded up, are at most a tenth too many
        assert 0.9 - narrower * np.sqrt(1.11) <= limit
        assert rows > POSITIVES


def test_a_task_without_positive_rows_counts_rows() -> None:
    of = use_case(task="regression")
    judged = reported({"r2": Interval(0.5, 0.4, 0.6, 0.95)})
    assert verdict(judged, within=of, metric="r2", at_least=0.44) == (
        "r2 is 0.5000 (0.4000 to 0.6000), not surely at least 0.44; about 1,200 rows would tell, there are 400."
    )


@pytest.mark.parametrize("condition", [{"at_least": 0.0}, {"at_most": 1.0}, {"at_least": 0.0, "of": "worst_slice"}])
def test_a_metric_without_a_value_fails_every_gate(condition: dict[str, Any]) -> None:
    sentence = "precision has no value on this hold-out; choose another metric or threshold."
    assert verdict(reported({}), metric="precision", **condition) == sentence
    assert verdict(reported({}), GOOD, **NO_WORSE | {"metric": "precision"}) == sentence


@pytest.mark.parametrize(("positive", "negative"), [(9, 391), (391, 9), (0, 400)])
def test_too_few_rows_of_a_class_fail_every_gate(positive: int, negative: int) -> None:
    judged = reported({"roc_auc": Interval(1.0, 1.0, 1.0, 0.95)}, np.repeat([1.0, 0.0], (positive, negative)))
    for gate in ({"metric": "roc_auc", "at_least": 0.5}, NO_WORSE, BETTER):
        assert verdict(judged, **gate) == (
            f"the hold-out has {positive} positive and {negative} negative rows, and a gate needs at least 10 of each; "
            "hold out more rows."
        )


def test_ten_rows_of_a_class_are_enough() -> None:
    judged = reported({"roc_auc": Interval(1.0, 1.0, 1.0, 0.95)}, np.repeat([1.0, 0.0], (10, 90)))
    assert verdict(judged, metric="roc_auc", at_least=0.5) is None


EVERY_GATE: list[dict[str, Any]] = [
    {"at_most": 9.0},
    {"at_most": 9.0, "of": "worst_slice"},
    {"no_worse_than": "champion", "margin": 9.0},
    {"better_than": "prior"},
]


def errors(rows: int, entities: int | None = None) -> Report:
    """A regression that is nearly right, of rows that belong to so many entities."""
    y = np.arange(float(rows))
    judged = report(y + 0.1, y, use_case(task="regression"), prior=y + 5)
    judged = replace(judged, slices=[Slice("city", "Bonn", rows, judged.metrics)])
    if entities is None:
        return judged
    return replace(judged, scores=judged.scores.with_columns(pl.Series(ENTITY, np.arange(rows) % entities)))


@pytest.mark.parametrize("gate", EVERY_GATE)
@pytest.mark.parametrize(
    ("judged", "found"),
    [
        (errors(9), "9 rows, and a gate needs at least 10; hold out more rows."),
        (errors(300, 9), "rows of 9 entities, and a gate needs at least 10; hold out rows of more."),
        (errors(10), None),
        (errors(300, 10), None),
    ],
)
def test_too_few_rows_or_entities_fail_every_gate(gate: dict[str, Any], judged: Report, found: str | None) -> None:
    champion = judged.scores["label"].to_numpy() + 1.0
    said = verdict(judged, champion, use_case(task="regression"), metric="mean_absolute_error", **gate)
    assert said == (found and f"the hold-out has {found}")


def test_too_few_rows_of_a_class_out_of_three_are_judged_all_the_same() -> None:
    of = use_case(task="multiclass_classification")
    y = np.repeat([0.0, 1.0, 2.0], (20, 20, 3))
    judged = report(np.eye(3)[y.astype(int)] * 0.7 + 0.1, y, of)
    assert verdict(judged, within=of, metric="log_loss", at_most=0.5) is None


def test_three_rows_taken_for_positive_tell_little_of_precision_however_right_they_are() -> None:
    found = report(np.where(np.cumsum(Y) * Y <= 3, Y, 0.0))
    assert failure(found, metric="precision", at_least=0.9).startswith(
        "precision is 1.0000 (0.2924 to 1.0000), not surely"
    )
    assert verdict(report(Y), metric="precision", at_least=0.9) is None


def test_the_champion_decides_at_its_own_threshold() -> None:
    gate = Gate(metric="recall", no_worse_than="champion", margin=0.01)
    judged = replace(report(GOOD), threshold=0.5)
    assert judge(use_case(), gate, judged, Opponent(GOOD, threshold=0.5)) is None
    said = judge(use_case(), gate, judged, Opponent(GOOD, threshold=0.1))  # which finds nearly all
    assert "worse than the champion's" in str(said)


@pytest.mark.parametrize("metric", metrics_of(use_case(), None))
@pytest.mark.parametrize("condition", ["no_worse_than", "better_than"])
def test_the_first_model_has_no_champion_to_be_compared_with(metric: str, condition: str) -> None:
    assert verdict(report(BAD), metric=metric, margin=0.01, **{condition: "champion"}) is None


@pytest.mark.parametrize("metric", metrics_of(use_case(), None))
def test_a_model_is_no_worse_than_itself_and_no_better(metric: str) -> None:
    assert verdict(report(GOOD), GOOD, metric=metric, no_worse_than="champion", margin=1e-6) is None
    sentence = failure(report(GOOD), GOOD, metric=metric, better_than="champion")
    assert sentence.endswith(", level with the champion's (0.0000 to 0.0000).")


@pytest.mark.parametrize("metric", ["roc_auc", "average_precision", "log_loss", "brier_score", "accuracy"])
@pytest.mark.parametrize("condition", [{"no_worse_than": "champion", "margin": 0.001}, {"better_than": "champion"}])
def test_a_better_model_passes_and_a_worse_one_does_not(metric: str, condition: dict[str, Any]) -> None:
    assert verdict(report(GOOD), BAD, metric=metric, **condition) is None
    sentence = failure(report(BAD), GOOD, metric=metric, **condition)
    assert sentence.startswith(f"{metric} is ")
    amount = sentence.partition(", worse than the champion's by ")[2]
    assert "-" not in amount
    assert amount.endswith("; at most 0.001 may be lost." if "margin" in condition else ").")


def test_a_model_that_may_be_worse_by_more_than_the_margin_by_chance_fails() -> None:
    judged, champion = report(drawn(1.0, Y, seed=3)), drawn(1.05, Y, seed=5)
    gate = NO_WORSE | {"margin": 0.03}
    sentence = failure(judged, champion, **gate)
    assert re.search(
        r", worse than the champion's by 0.0\d+ \(-0.0\d+ to 0.0\d+\), perhaps worse by more than 0.03; "
        r"about [\d,]+ positive rows would tell, there are 129\.$",
        sentence,
    )
    assert verdict(judged, champion, **gate | {"margin": 0.1}) is None


def test_a_model_that_may_be_better_by_chance_only_fails() -> None:
    judged, champion = report(drawn(1.05, Y, seed=5)), drawn(1.0, Y, seed=3)
    assert re.search(
        r", better than the champion's by 0.0\d+ \(-0.0\d+ to 0.0\d+\), not surely better; about [\d,]+ positive rows",
        failure(judged, champion, **BETTER),
    )


def test_a_gain_is_measured_against_its_margin() -> None:
    gain = report(GOOD).metrics["roc_auc"].point - report(BAD).metrics["roc_auc"].point
    assert verdict(report(GOOD), BAD, **BETTER, margin=gain / 4) is None
    assert f", not surely better by more than {gain * 0.99:g}; " in failure(
        report(GOOD), BAD, **BETTER, margin=gain * 0.99
    )
    assert failure(report(GOOD), BAD, **BETTER, margin=0.5).endswith("; 0.5 must be gained.")


def test_a_difference_on_the_same_rows_shows_where_intervals_overlap() -> None:
    other = GOOD.copy()
    other[np.flatnonzero(Y == 1)[:4]] = 0.0
    before, after = report(GOOD), report(other)
    assert after.metrics["roc_auc"].high > before.metrics["roc_auc"].low
    assert verdict(before, other, **BETTER) is None


@pytest.mark.parametrize("baseline", ["linear", "prior"])
def test_a_baseline_of_the_report_may_be_the_opponent(baseline: str) -> None:
    others = {"linear": np.full(len(Y), 0.5), "prior": np.full(len(Y), 0.5)}
    for gate in (NO_WORSE | {"no_worse_than": baseline}, BETTER | {"better_than": baseline}):
        assert verdict(report(GOOD, **others), **gate) is None
        assert f"worse than the {baseline}'s by" in failure(report(BAD, **others | {baseline: GOOD}), **gate)


def test_rows_that_the_champion_was_trained_on_are_left_out() -> None:
    unseen = np.arange(len(Y)) < 160
    knows = np.where(unseen, BAD, Y)
    assert ", worse than the champion's by " in failure(report(GOOD), knows, **NO_WORSE)
    assert verdict(report(GOOD), knows, unseen=unseen, **NO_WORSE) is None
    sentence = failure(report(BAD), GOOD, unseen=unseen, **NO_WORSE)
    assert sentence.endswith(" on the 160 rows the champion was not trained on; at most 0.01 may be lost.")
    everything = failure(report(BAD), GOOD, unseen=np.ones(len(Y), np.bool_), **NO_WORSE)
    assert everything == failure(report(BAD), GOOD, **NO_WORSE)


def test_the_rows_that_would_tell_are_counted_among_those_compared() -> None:
    unseen = np.arange(len(Y)) < 240
    judged, champion = report(drawn(1.05, Y, seed=5)), drawn(1.0, Y, seed=3)
    assert failure(judged, champion, unseen=unseen, **NO_WORSE).endswith(f"there are {int(Y[:240].sum())}.")


def test_a_champion_that_was_trained_on_too_many_rows_fails_the_gate() -> None:
    few = np.arange(len(Y)) < 20
    assert failure(report(GOOD), BAD, unseen=few, **NO_WORSE) == (
        f"what the champion was not trained on has {int(Y[:20].sum())} positive and {20 - int(Y[:20].sum())} "
        "negative rows, and a gate needs at least 10 of each; hold out more rows."
    )
    assert failure(report(GOOD), BAD, unseen=np.zeros(len(Y), np.bool_), **BETTER) == (
        "the champion was trained on all 400 rows of the hold-out, which leaves none to compare on; "
        "judge a model of a later cutoff."
    )


@pytest.mark.parametrize(
    ("judged", "unseen", "found"),
    [
        (errors(300), 9, "9 rows, and a gate needs at least 10; hold out more rows."),
        (errors(300), 1, "1 row, and a gate needs at least 10; hold out more rows."),
        (errors(300, 100), 9, "9 rows, and a gate needs at least 10; hold out more rows."),
        (errors(300, 100), 10, None),
    ],
)
def test_a_champion_that_was_trained_on_all_but_a_few_rows_fails_the_gate(
    judged: Report, unseen: int, found: str | None
) -> None:
    champion = judged.scores["label"].to_numpy() + 1.0
    gate: dict[str, Any] = {"metric": "mean_absolute_error", "better_than": "champion"}
    said = verdict(judged, champion, use_case(task="regression"), np.arange(300) < unseen, **gate)
    assert said == (found and f"what the champion was not trained on has {found}")


def test_a_champion_that_was_trained_on_all_but_a_few_entities_fails_the_gate() -> None:
    judged = errors(300, 100)
    unseen = judged.scores[ENTITY].to_numpy() < 9
    gate: dict[str, Any] = {"metric": "mean_absolute_error", "better_than": "champion"}
    champion = judged.scores["label"].to_numpy() + 1.0
    assert verdict(judged, champion, use_case(task="regression"), unseen, **gate) == (
        "what the champion was not trained on has rows of 9 entities, and a gate needs at least 10; hold out rows of "
        "more."
    )


def test_rows_of_an_entity_are_drawn_together() -> None:
    y, model, champion = (np.repeat(rows[:60], 10) for rows in (Y, drawn(0.5, Y, seed=7), drawn(0.5, Y)))
    judged = report(model, y)
    by_entity = replace(judged, scores=judged.scores.with_columns(pl.Series(ENTITY, np.repeat(np.arange(60), 10))))
    assert verdict(judged, champion, **BETTER) is None
    assert ", not surely better; " in failure(by_entity, champion, **BETTER)


def test_a_verdict_is_that_of_the_seed() -> None:
    judged, champion = report(drawn(1.05, Y, seed=5)), drawn(1.0, Y, seed=3)
    one, again, other = (
        verdict(judged, champion, within=use_case(model={"seed": seed}), **BETTER) for seed in (1, 1, 2)
    )
    assert one == again != other


def test_a_metric_at_a_threshold_is_compared_at_the_threshold_of_the_model() -> None:
    high, low = np.where(Y == 1, 0.9, 0.1), np.where(Y == 1, 0.4, 0.1)
    gate = NO_WORSE | {"metric": "recall"}
    assert verdict(report(low), high, **gate) is not None
    assert verdict(replace(report(low), threshold=0.3), high, **gate) is None


@pytest.mark.parametrize(
    ("task", "metric"), [("multiclass_classification", "f1_macro"), ("regression", "mean_absolute_error")]
)
def test_models_of_every_task_are_compared(task: Task, metric: str) -> None:
    of = use_case(task=task)
    y = np.arange(90.0) % 3
    right, wrong = (np.eye(3)[y.astype(int)], np.eye(3)[(y.astype(int) + 1) % 3]) if "class" in task else (y, y + 5)
    gate = NO_WORSE | {"metric": metric}
    assert verdict(report(right, y, of), champion=wrong, within=of, **gate) is None
    assert verdict(report(wrong, y, of), champion=right, within=of, **gate) is not None


def test_models_that_cannot_be_compared_fail_with_the_reason() -> None:
    judged = reported({"precision": Interval(0.9, 0.85, 0.94, 0.95)}, model=GOOD)
    assert failure(judged, GOOD * 0, **NO_WORSE | {"metric": "precision"}) == (
        "the champion cannot be compared: precision is undefined on this hold-out: it has 129 positive rows of 400 "
        "and 0 are predicted positive at threshold 0.5; hold out more rows, or take another threshold."
    )


def test_a_champion_that_is_not_finite_cannot_be_compared() -> None:
    broken = np.where(Y == 1, np.nan, GOOD)
    sentence = failure(report(GOOD), broken, **NO_WORSE)
    assert sentence.startswith("the champion cannot be compared: roc_auc got ")


def sliced(*slices: tuple[str, float, float], metric: str = "roc_auc") -> Report:
    judged = reported({"roc_auc": Interval(0.9, 0.85, 0.94, 0.95)})
    return replace(
        judged,
        slices=[
            Slice("city", value, 1200, {metric: Interval((low + high) / 2, low, high, 0.95)})
            for value, low, high in slices
        ],
    )


WORST: dict[str, Any] = {"metric": "roc_auc", "of": "worst_slice"}


def test_a_slice_fails_where_it_is_surely_on_the_wrong_side() -> None:
    judged = sliced(("Bonn", 0.7, 0.78), ("Köln", 0.75, 0.85), ("Kiel", 0.6, 0.76), ("Ulm", 0.77, 0.79))
    assert verdict(judged, **WORST, at_least=0.76) is None
    assert verdict(judged, **WORST, at_least=0.77) == (
        "where city is Kiel (1,200 rows), roc_auc is 0.6800 (0.6000 to 0.7600), surely below 0.77."
    )
    assert failure(judged, **WORST, at_least=0.785).endswith(", surely below 0.785; 1 more slice is too.")
    assert failure(judged, **WORST, at_least=0.8).endswith(", surely below 0.8; 2 more slices are too.")
    assert verdict(judged, **WORST, at_most=0.77) is None
    assert verdict(judged, **WORST, at_most=0.72) == (
        "where city is Köln (1,200 rows), roc_auc is 0.8000 (0.7500 to 0.8500), surely above 0.72; 1 more slice is too."
    )


@pytest.mark.parametrize(
    ("changes", "needed"),
    [
        ({}, "at least 250 rows, 10 positive and 10 negative ones among them"),
        ({"task": "regression"}, "at least 250 rows"),
        (
            {"contract": {"entity": "city"}},
            "at least 250 rows, 10 positive and 10 negative ones among them, of 10 entities",
        ),
    ],
)
def test_without_a_slice_to_judge_the_gate_fails(changes: dict[str, Any], needed: str) -> None:
    of = use_case(evaluation={"slices": ["city"], "slice_rows": 250}, **changes)
    assert verdict(sliced(), within=of, **WORST, at_least=0.1) == (
        f"no slice can be judged, which takes {needed}; hold out more rows, lower slice_rows, or name other columns."
    )


def test_a_metric_without_a_value_on_any_slice_fails_the_gate() -> None:
    assert failure(sliced(("Bonn", 0.7, 0.8), metric="recall"), **WORST, at_least=0.1) == (
        "roc_auc has no value on any slice; choose another metric or threshold."
    )
