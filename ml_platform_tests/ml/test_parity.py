"""Parity: what a stored model may do otherwise than the trained one, each found and said in a sentence."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from numpy.typing import NDArray

from ml_platform.ml.parity import ALONE, MOST_ROWS, difference, sample
from ml_platform.ml.training import TrainedModel

ROWS = pl.DataFrame({"amount": np.linspace(0, 1, 40), "city": ["ghent", "mons"] * 20})


@dataclass(frozen=True)
class Fake:
    """A pipeline that gives what a function of the inputs gives."""

    score: Callable[[pd.DataFrame], Any]

    def predict(self, inputs: pd.DataFrame) -> NDArray[np.float64]:
        return np.asarray(self.score(inputs), dtype=float)


def found(score: Callable[[pd.DataFrame], Any], factor: float = 1.0) -> str | None:
    """What is found of a model that should give the amount times a factor."""
    expected = factor * ROWS["amount"].to_numpy()
    return difference(TrainedModel(Fake(score), "regression", ("amount", "city"), "run"), ROWS, expected)


def filled(inputs: pd.DataFrame) -> "pd.Series[float]":
    return inputs["amount"].fillna(0.5)


def refused(what: str) -> float:
    raise ValueError(f"no {what} here.\nsecond line")


def test_the_same_scores_are_parity() -> None:
    assert found(filled) is None


@pytest.mark.parametrize(("factor", "off", "passes"), [(1, 9e-10, True), (1, 2e-9, False), (1e6, 9e-4, True)])
def test_a_score_may_differ_by_a_billionth_of_one_or_of_the_greatest(factor: float, off: float, passes: bool) -> None:
    assert (found(lambda inputs: factor * filled(inputs) + off, factor) is None) == passes


@pytest.mark.parametrize(
    ("score", "start"),
    [
        (
            lambda inputs: filled(inputs) + (filled(inputs) > 0.5) / 1000,
            "20 of 40 rows differently .*, by up to 0.001;",
        ),
        (lambda inputs: filled(inputs).to_numpy()[:, None], r"shape \(40, 1\), training those of \(40,\);"),
        (lambda inputs: filled(inputs).where(inputs["city"] == "mons"), "20 of 40 rows no finite score;"),
        (lambda _: refused("scores"), "crashes: ValueError: no scores here; "),
        (
            lambda inputs: filled(inputs) + (len(inputs) == 1) * 1e-3,
            f"one row alone scores {ALONE} of {ALONE} rows differently",
        ),
        (
            lambda inputs: filled(inputs) if len(inputs) > 1 else refused("single row"),
            "one row alone crashes: ValueError: no single row here;",
        ),
        (
            lambda inputs: refused("gap") if inputs["amount"].isna().any() else filled(inputs),
            "^a missing 'amount' crashes the stored model: ValueError: no gap here; ",
        ),
        (lambda inputs: inputs["amount"], "^a missing 'amount' gets no finite score from the stored model; "),
        (
            lambda inputs: refused("gap") if inputs["city"].isna().any() else filled(inputs),
            "^a missing 'city' crashes the stored model",
        ),
        (
            lambda inputs: filled(inputs) + inputs["city"].map({"ghent": 0.0, "mons": 0.0, None: 0.0}),
            "^an unseen 'city' gets no finite score from the stored model; ",
        ),
    ],
)
def test_what_differs_is_said(score: Callable[[pd.DataFrame], Any], start: str) -> None:
    reason = found(score)
    assert reason is not None
    assert pd.Series([reason]).str.contains(start).all(), reason
    assert "second line" not in reason
    assert reason.endswith(".")


def test_every_class_must_have_its_score() -> None:
    expected = np.column_stack([ROWS["amount"], 1 - ROWS["amount"]])

    class Classes(Fake):
        def predict_proba(self, inputs: pd.DataFrame) -> NDArray[np.float64]:
            first = filled(inputs).to_numpy()
            return np.column_stack([first, self.score(first)])

    outcomes: Mapping[float, bool] = {0.0: True, 1e-3: False}
    for off, passes in outcomes.items():
        pipeline = Classes(lambda first, off=off: 1 - first + off * (first > 0.9))
        model = TrainedModel(pipeline, "multiclass_classification", ("amount", "city"), "run")
        assert (difference(model, ROWS, expected) is None) == passes


@pytest.mark.parametrize(("given", "taken"), [(0, 0), (1, 1), (500, 500), (501, 251), (100_000, 500)])
def test_a_sample_is_small_and_spread(given: int, taken: int) -> None:
    rows = sample(pl.DataFrame({"id": range(given)}))
    assert rows.height == taken <= MOST_ROWS
    assert rows["id"].diff().drop_nulls().n_unique() <= 1
