"""What is known of a model after its evaluation: metrics with intervals, baselines, slices, pictures and scores."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import polars as pl

MODEL = "model"
TARGET = "label"
IMPORTANCE_SHIFT = "importance_shift"
# names that no column of the data may have
ENTITY = "__entity"


@dataclass(frozen=True, slots=True)
class Interval:
    """A metric on a hold-out, or the difference of two, and its interval at `confidence`, in the metric's unit."""

    point: float
    low: float
    high: float
    confidence: float


@dataclass(frozen=True)
class Slice:
    """The metrics of a model on the rows of the hold-out that have one value, or a range of them, in a column.

    The intervals are widened for the number of slices: all of them hold at once at their confidence.
    """

    column: str
    value: str
    rows: int
    metrics: Mapping[str, Interval]


@dataclass(frozen=True)
class Report:
    """What was found about a model on its hold-out; a metric without a value on these rows is not there.

    `scores` has one row for each row of the hold-out: its key, the column `label`, the score of the model and of each
    baseline under its name, and the entity under `__entity` where one is declared. `baselines` are metrics by model and
    name, `figures` PNG pictures by name. `importance` says for each feature by how much a metric gets worse when the
    feature is shuffled. `findings` has each rule of behaviour, latency and the shift of importance by its name, with
    the reason why the model breaks it, or None. `threshold` is the score from which a row counts as positive.
    """

    run_id: str
    trained_on: str
    held_out: str
    metrics: Mapping[str, Interval]
    baselines: Mapping[str, Mapping[str, float]]
    figures: Mapping[str, bytes]
    scores: pl.DataFrame
    threshold: float | None = None
    slices: Sequence[Slice] = ()
    importance: Mapping[str, Interval] = field(default_factory=dict)
    findings: Mapping[str, str | None] = field(default_factory=dict)
