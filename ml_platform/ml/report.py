"""What is known of a model after its evaluation: metrics with intervals, baselines, pictures and scores."""

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

MODEL = "model"
TARGET = "label"


@dataclass(frozen=True, slots=True)
class Interval:
    """A metric on a hold-out, or the difference of two, and its interval at `confidence`, in the metric's unit."""

    point: float
    low: float
    high: float
    confidence: float


@dataclass(frozen=True)
class Report:
    """What was found about a model on its hold-out; a metric without a value on these rows is not there.

    `scores` has one row for each row of the hold-out: its key, the column `label`, and the score of the model and of
    each baseline under its name. `baselines` are metrics by model and name, `figures` PNG pictures by name.
    """

    run_id: str
    trained_on: str
    held_out: str
    metrics: Mapping[str, Interval]
    baselines: Mapping[str, Mapping[str, float]]
    figures: Mapping[str, bytes]
    scores: pl.DataFrame
