"""Rules of behaviour on models known to keep or to break them, and budgets that every machine meets or misses."""

import re
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_platform.ml.behaviour import behaviour_problems, latency_problems
from ml_platform.ml.training import TrainedModel
from ml_platform.use_case import UseCase
from ml_platform_tests.ml.test_training import BOOSTING, LOGISTIC, RIDGE, TEXT, TREE, case, trained


class Score:
    """A pipeline whose score is a formula of the features."""

    def __init__(self, formula: Any) -> None:
        self.formula = formula

    def predict(self, inputs: Any) -> Any:
        return np.asarray(self.formula(inputs))


def model_of(formula: Any, rows: pl.DataFrame) -> TrainedModel:
    return TrainedModel(Score(formula), "regression", tuple(rows.columns), "run")


def regression(*rules: dict[str, Any], **more: Any) -> UseCase:
    return case(RIDGE, "regression", evaluation={"behaviour": list(rules)}, **more)


def problem(rule: dict[str, Any], formula: Any, rows: pl.DataFrame) -> str | None:
    (found,) = behaviour_problems(regression(rule), model_of(formula, rows), rows).values()
    return found


LADDER = pl.DataFrame({"x": [1.0, 2.0, 3.0], "flag": [True, False, True], "city": ["ghent", "mons", None]})


def test_a_score_that_moves_is_told_with_an_example() -> None:
    assert problem({"invariant_to": "city"}, lambda rows: rows["x"] + 2.0 * (rows["city"] == "mons"), LADDER) == (
        "the score moves with 'city' in 3 of 3 rows (100.0%, at most 0.0% may), by up to 2: from 'mons' to missing the "
        "score goes from 4 to 2; leave 'city' out of the features, or raise the rule's tolerance or rows_at_most."
    )


def test_a_score_that_falls_is_told_with_an_example() -> None:
    formula = {1.0: 5.0, 2.0: 4.5, 3.0: 4.0}
    assert problem({"increases_with": "x"}, lambda rows: rows["x"].map(formula) + rows["flag"], LADDER) == (
        "the score falls along a rising 'x' in 3 of 3 rows (100.0%, at most 0.0% may), by up to 1: from 1 to 3 the "
        "score goes from 6 to 5; constrain the estimator, or raise the rule's tolerance or rows_at_most."
    )


def test_a_score_that_rises_is_told_with_an_example() -> None:
    only_small = {"decreases_with": "flag"}
    assert problem(only_small, lambda rows: rows["flag"] * (rows["x"] < 2.5) / 4, LADDER) == (
        "the score rises along a rising 'flag' in 2 of 3 rows (66.7%, at most 0.0% may), by up to 0.25: from false to "
        "true the score goes from 0 to 0.25; constrain the estimator, or raise the rule's tolerance or rows_at_most."
    )


@pytest.mark.parametrize(
    "leave", [{"rows_at_most": 0.67}, {"tolerance": 0.25}, {"tolerance": 0.1, "rows_at_most": 0.7}]
)
def test_what_the_rule_leaves_is_no_break(leave: dict[str, float]) -> None:
    rule = {"decreases_with": "flag", **leave}
    assert problem(rule, lambda rows: rows["flag"] * (rows["x"] < 2.5) / 4, LADDER) is None


def test_many_small_steps_down_are_one_fall() -> None:
    rule = {"increases_with": "x", "tolerance": 0.15}
    found = problem(rule, lambda rows: -0.1 * rows["x"], LADDER)
    assert found is not None
    assert "by up to 0.2: from 1 to 3" in found


def test_a_single_row_with_a_rare_value_is_enough() -> None:
    rows = pl.DataFrame({"x": np.arange(500.0), "flag": [True] + [False] * 499})
    found = problem({"invariant_to": "flag"}, lambda rows: rows["x"] + rows["flag"], rows)
    assert found is not None
    assert found.startswith("the score moves with 'flag' in 500 of 500 rows")


def test_missing_values_are_values_to_be_invariant_to_but_have_no_order() -> None:
    rows = pl.DataFrame({"x": [1.0, None, 2.0, float("nan")]})
    assert "from missing to 2 the score goes from 1 to 0" in str(
        problem({"invariant_to": "x"}, lambda rows: 1.0 * rows["x"].isna(), rows)
    )
    assert problem({"increases_with": "x"}, lambda rows: rows["x"].fillna(-9.0), rows) is None


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=40, unique=True), st.integers(0, 3))
def test_a_rising_score_keeps_its_rule_and_breaks_the_other(values: list[float], seed: int) -> None:
    rows = pl.DataFrame({"x": values, "other": np.random.default_rng(seed).normal(size=len(values))})
    of = regression({"increases_with": "x"}, {"decreases_with": "x", "tolerance": 0.5}, {"invariant_to": "other"})
    ranks = {value: float(rank) for rank, value in enumerate(sorted(values))}
    found = behaviour_problems(of, model_of(lambda rows: rows["x"].map(ranks), rows), rows)
    assert (found["increases_with_x"], found["invariant_to_other"]) == (None, None)
    assert f"by up to {len(values) - 1}:" in str(found["decreases_with_x"])


def learned(n: int = 1500) -> pl.DataFrame:
    rng = np.random.default_rng(1)
    amount, noise = rng.normal(size=n), rng.normal(size=n)
    y = (amount + rng.normal(size=n) > 0).astype(float)
    return pl.DataFrame({"id": range(n), "amount": amount, "noise": noise, "zero": np.zeros(n), "y": y})


def test_a_constraint_makes_a_model_keep_its_rule() -> None:
    table = learned()
    rules = {"behaviour": [{"increases_with": "amount"}, {"invariant_to": "noise"}, {"increases_with": "zero"}]}
    free, bound = (
        case(BOOSTING, model={"params": {"max_iter": 5, **params}}, evaluation=rules)
        for params in ({}, {"monotonic_cst": [1, 0, 0]})
    )
    broken = behaviour_problems(free, trained(free, table), table)
    assert re.match(
        r"the score falls along a rising 'amount' in \d+ of 1000 rows", str(broken["increases_with_amount"])
    )
    assert str(broken["invariant_to_noise"]).startswith("the score moves with 'noise' in ")
    assert broken["increases_with_zero"] is None
    assert behaviour_problems(bound, trained(bound, table), table)["increases_with_amount"] is None
    assert behaviour_problems(free, trained(free, table), table) == broken


def test_rounding_is_no_move() -> None:
    rows = pl.DataFrame({"x": [1.0, 2.0], "city": ["ghent", "mons"]})
    rule = {"invariant_to": "city", "tolerance": 0}
    assert problem(rule, lambda rows: np.nextafter(1e9, 2e9 * (rows["city"] == "mons")), rows) is None


def test_scores_of_many_classes_are_invariant_or_not_but_have_no_order() -> None:
    table = pl.DataFrame(
        {"id": range(90), "x": [i // 30 for i in range(90)], "y": [c for c in "abc" for _ in range(30)]}
    )
    rules = {"behaviour": [{"invariant_to": "x"}, {"increases_with": "x"}, {"invariant_to": "idle"}]}
    of = case(TREE, "multiclass_classification", TEXT, evaluation=rules)
    table = table.with_columns(idle=pl.col("id") % 3)
    assert behaviour_problems(of, trained(of, table), table) == {
        "invariant_to_x": "the score moves with 'x' in 90 of 90 rows (100.0%, at most 0.0% may), by up to 1: from 2 to "
        "0 the score of class 'a' goes from 0 to 1; leave 'x' out of the features, or raise the rule's tolerance or "
        "rows_at_most.",
        "increases_with_x": "increases_with needs one score a row, and multiclass_classification has one for each "
        "class; remove the rule.",
        "invariant_to_idle": None,
    }


@pytest.mark.parametrize(
    ("rule", "sentence"),
    [
        ({"increases_with": "X"}, "increases_with names 'X', which is no feature of the model; there is 'x', 'city'."),
        ({"invariant_to": "citty"}, "which is no feature of the model; did you mean 'city'?"),
        ({"decreases_with": "amount"}, "decreases_with names 'amount', which is no feature of the model; there is"),
        ({"increases_with": "city"}, "increases_with needs a number, and 'city' is String; remove the rule or make"),
    ],
)
def test_a_mistake_in_a_rule_is_a_problem(rule: dict[str, str], sentence: str) -> None:
    found = problem(rule, lambda rows: rows["x"], LADDER)
    assert found is not None
    assert sentence.replace("'x', 'city'", "'city', 'flag', 'x'") in found


def test_a_column_that_the_model_does_not_see_moves_nothing() -> None:
    of = regression({"invariant_to": "amount"}, {"invariant_to": "extra"})
    rows = LADDER.with_columns(extra=pl.lit(1))
    model = model_of(lambda rows: rows["x"], LADDER)
    assert behaviour_problems(of, model, rows) == {"invariant_to_amount": None, "invariant_to_extra": None}


@pytest.mark.parametrize("rows", [1, 3, 1_500])
def test_a_budget_is_met_or_missed(rows: int) -> None:
    table = learned()
    strict, easy = (
        case(LOGISTIC, evaluation={"latency": {"one_row_ms": limit, "thousand_rows_ms": limit}})
        for limit in (1e-6, 1e9)
    )
    model = trained(strict, table)
    assert latency_problems(easy, model, table[:rows]) == {"latency_one_row": None, "latency_thousand_rows": None}
    found = latency_problems(strict, model, table[:rows])
    told = (
        r"a prediction of {} took [\d.e+]+ ms, the median of {}, at most 1e-06 ms may pass; choose a smaller model or "
    )
    one, thousand = told.format("one row", 15), told.format("a thousand rows", 7)
    assert re.fullmatch(one + r"raise evaluation\.latency\.one_row_ms\.", str(found["latency_one_row"]))
    assert re.fullmatch(
        thousand + r"raise evaluation\.latency\.thousand_rows_ms\.", str(found["latency_thousand_rows"])
    )


def test_each_prediction_has_its_number_of_rows_and_one_is_not_counted() -> None:
    heights: list[int] = []
    of = regression()
    of = of.model_copy(update={"evaluation": case(evaluation={"latency": {"thousand_rows_ms": 1e9}}).evaluation})
    model = model_of(lambda rows: heights.append(len(rows)) or rows["x"], LADDER)
    assert latency_problems(of, model, LADDER) == {"latency_thousand_rows": None}
    assert heights == [1_000] * 8
    assert latency_problems(regression(), model, LADDER) == {}
