"""How often a gate is passed by luck alone, and how often a better model is found."""

import numpy as np
import polars as pl
import pytest

from ml_platform.ml.gates import Opponent, judge
from ml_platform.ml.metrics import METRICS
from ml_platform.ml.report import ENTITY, Interval, Report
from ml_platform.use_case import Gate
from ml_platform_tests.examples import use_case

ROC_AUC = METRICS["binary_classification"]["roc_auc"]
BETTER = Gate(metric="roc_auc", better_than="champion")


def passed(
    signal: float, *, pairs: int = 200, entities: int = 1000, rows_each: int = 1, grouped: bool = False
) -> tuple[float, float]:
    """The share of pairs whose first model passes `better_than`, and by how much its roc_auc is greater on average.

    Each pair is judged on a hold-out of its own of 1,000 rows, 15 % of them positive. A score is the signal of the true
    class and noise of the entity; the champion's signal is 1.2.
    """
    passes, gained = [], []
    for pair in range(pairs):
        rng = np.random.default_rng(pair)
        entity = np.repeat(np.arange(entities), rows_each)
        y = (rng.random(entities) < 0.15).astype(np.float64)[entity]
        model, champion = (
            strength * y + rng.normal(size=entities)[entity] + (0.5 * rng.normal(size=len(y)) if rows_each > 1 else 0)
            for strength in (signal, 1.2)
        )
        scores = pl.DataFrame({"label": y, "model": model, **({ENTITY: entity} if grouped else {})})
        shown = {"roc_auc": Interval(0.8, 0.7, 0.9, 0.95)}
        report = Report("run", "january", "february", shown, baselines={}, figures={}, scores=scores)
        passes.append(judge(use_case(), BETTER, report, Opponent(champion)) is None)
        gained.append(float(ROC_AUC.values(y, model)[0] - ROC_AUC.values(y, champion)[0]))
    return float(np.mean(passes)), float(np.mean(gained))


def test_an_equally_good_model_seldom_passes() -> None:
    share, gained = passed(1.2)
    assert abs(gained) < 0.005
    assert share <= 0.05


def test_a_better_model_is_mostly_found() -> None:
    """One that is better by 0.07 in 80 of 100 pairs, with other seeds too; one by 0.05 in half of them."""
    share, gained = passed(1.6)
    assert 0.065 < gained < 0.075
    assert share >= 0.75


def test_rows_of_an_entity_do_not_make_luck_look_sure() -> None:
    """Counted as independent rows, five of each entity, one equally good model in five or six passes."""
    counted_alone, _ = passed(1.2, pairs=100, entities=200, rows_each=5)
    together, _ = passed(1.2, entities=200, rows_each=5, grouped=True)
    assert counted_alone >= 0.1
    assert together <= 0.05


def passed_on_few(*, entities: int, rows_each: int) -> float:
    """The share of 200 equally good models of a number that pass `better_than: champion` on the mean absolute error.

    An error is noise of the row and, where an entity has several rows, of the entity.
    """
    passes = []
    for pair in range(200):
        rng = np.random.default_rng(pair)
        entity = np.repeat(np.arange(entities), rows_each)
        y = rng.normal(size=len(entity))
        model, champion = (
            y + 0.5 * rng.normal(size=len(y)) + (0.5 * rng.normal(size=entities)[entity] if rows_each > 1 else 0)
            for _ in range(2)
        )
        scores = pl.DataFrame({"label": y, "model": model, **({ENTITY: entity} if rows_each > 1 else {})})
        shown = {"mean_absolute_error": Interval(0.5, 0.4, 0.6, 0.95)}
        report = Report("run", "january", "february", shown, baselines={}, figures={}, scores=scores)
        gate = Gate(metric="mean_absolute_error", better_than="champion")
        passes.append(judge(use_case(task="regression"), gate, report, Opponent(champion)) is None)
    return float(np.mean(passes))


@pytest.mark.parametrize(("units", "at_most"), [(2, 0.05), (3, 0.05), (5, 0.05), (10, 0.1)])
@pytest.mark.parametrize("rows_each", [1, 30])
def test_an_equally_good_model_seldom_passes_on_few_rows_or_entities(
    units: int, at_most: float, rows_each: int
) -> None:
    """Were fewer than ten judged, one in four would pass on two of them, one in seven on three, one in fifteen on five.

    Of ten, one in twenty does.
    """
    assert passed_on_few(entities=units, rows_each=rows_each) <= at_most
