"""Gates: conditions on the hold-out, judged on an interval's bound and, between two models, on the same rows.

Where fewer than ten rows are judged or compared, rows of fewer than ten entities, or in a binary classification fewer
than ten positive or ten negative ones, every gate fails.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ml_platform.ml.intervals import MIN_POSITIVES, paired_difference
from ml_platform.ml.metrics import metrics_of
from ml_platform.ml.report import ENTITY, MODEL, TARGET, Interval, Report, Slice
from ml_platform.ml.slices import MIN_UNITS, needed_of_a_slice
from ml_platform.use_case import Gate, Task, UseCase

_MANY_TIMES: Final = 1000


@dataclass(frozen=True)
class Opponent:
    """The champion: its scores on the report's rows, and which of these it was not trained on (n,), None for all.

    `threshold` is the score from which it takes a row as positive, None where that is as for the model judged.
    """

    scores: NDArray[np.float64]
    rows: NDArray[np.bool_] | None = None
    threshold: float | None = None


def judge(use_case: UseCase, gate: Gate, report: Report, opponent: Opponent | None) -> str | None:
    """Why a model fails a gate, as a sentence, or None where it passes.

    `opponent` is the champion; without one, a gate that compares with the champion passes.
    """
    y = report.scores[TARGET].to_numpy()
    if reason := _too_few(use_case.task, y, _groups(report), "the hold-out"):
        return reason
    if gate.metric not in report.metrics:
        return f"{gate.metric} has no value on this hold-out; choose another metric or threshold."
    if gate.of == "worst_slice":
        return _judge_slices(use_case, gate, report.slices)
    if gate.opponent is None:
        return _judge_bound(use_case.task, gate, report.metrics[gate.metric], y)
    if gate.opponent != "champion":
        return _judge_difference(use_case, gate, report, Opponent(_scores(report.scores, gate.opponent)))
    return _judge_difference(use_case, gate, report, opponent) if opponent else None


def _judge_bound(task: Task, gate: Gate, interval: Interval, y: NDArray[np.float64]) -> str | None:
    limit, is_least = _limit(gate)
    bound = interval.low if is_least else interval.high
    if _reaches(bound, limit, is_least):
        return None
    found = _found(gate.metric, interval)
    if not _reaches(interval.point, limit, is_least):
        return f"{found}, {'below' if is_least else 'above'} {limit:g}."
    wanted = f"not surely at {'least' if is_least else 'most'} {limit:g}"
    return f"{found}, {wanted}; {_needed(task, y, interval.point - bound, interval.point - limit)}."


def _judge_slices(use_case: UseCase, gate: Gate, slices: Sequence[Slice]) -> str | None:
    limit, is_least = _limit(gate)
    if not slices:
        advice = "hold out more rows, lower slice_rows, or name other columns"
        return f"no slice can be judged, which takes {needed_of_a_slice(use_case)}; {advice}."
    judged = [(one.metrics[gate.metric], one) for one in slices if gate.metric in one.metrics]
    if not judged:
        return f"{gate.metric} has no value on any slice; choose another metric or threshold."
    wrong = [
        (interval, one)
        for interval, one in judged
        if not _reaches(interval.high if is_least else interval.low, limit, is_least)
    ]
    if not wrong:
        return None
    interval, worst = min(wrong, key=lambda pair: pair[0].point if is_least else -pair[0].point)
    found = f"where {worst.column} is {worst.value} ({worst.rows:,} rows), {_found(gate.metric, interval)}"
    others = len(wrong) - 1
    too = f"; {others} more {'slice is' if others == 1 else 'slices are'} too" if others else ""
    return f"{found}, surely {'below' if is_least else 'above'} {limit:g}{too}."


def _judge_difference(use_case: UseCase, gate: Gate, report: Report, opponent: Opponent) -> str | None:
    y = report.scores[TARGET].to_numpy()
    rows = np.ones(len(y), np.bool_) if opponent.rows is None else opponent.rows
    if not rows.any():
        return (
            f"the champion was trained on all {len(y):,} rows of the hold-out, which leaves none to compare on; "
            "judge a model of a later cutoff."
        )
    unseen = "" if rows.all() else f"the {np.count_nonzero(rows):,} rows the champion was not trained on"
    groups = None if (known := _groups(report)) is None else known[rows]
    if unseen and (reason := _too_few(use_case.task, y[rows], groups, "what the champion was not trained on")):
        return reason
    metric = metrics_of(use_case, report.threshold)[gate.metric]
    its = metric if opponent.threshold is None else metrics_of(use_case, opponent.threshold)[gate.metric]
    own, other = _scores(report.scores, MODEL)[rows], opponent.scores[rows]
    try:
        gain = paired_difference((its, metric), y[rows], other, own, groups=groups, seed=use_case.model.seed)
    except ValueError as error:
        return f"the {gate.opponent} cannot be compared: {error}"
    if not metric.greater_is_better:
        gain = Interval(0 - gain.point, 0 - gain.high, 0 - gain.low, gain.confidence)
    margin = gate.margin or 0.0
    limit = -margin if gate.no_worse_than else margin
    if gain.low > limit:
        return None
    found = f"{_found(gate.metric, report.metrics[gate.metric])}, {_compared(gain, str(gate.opponent))}"
    found += f" on {unseen}" if unseen else ""
    if gain.point > limit:
        by = f" by more than {margin:g}" if margin else ""
        doubt = f"perhaps worse{by}" if gate.no_worse_than else f"not surely better{by}"
        return f"{found}, {doubt}; {_needed(use_case.task, y[rows], gain.point - gain.low, gain.point - limit)}."
    if not margin:
        return f"{found}."
    return f"{found}; {f'at most {margin:g} may be lost' if gate.no_worse_than else f'{margin:g} must be gained'}."


def _limit(gate: Gate) -> tuple[float, bool]:
    """The bound of a gate, and whether it is the least value allowed rather than the greatest."""
    if gate.at_least is not None:
        return gate.at_least, True
    assert gate.at_most is not None
    return gate.at_most, False


def _reaches(value: float, limit: float, is_least: bool) -> bool:
    return value >= limit if is_least else value <= limit


def _too_few(task: Task, y: NDArray[np.float64], groups: NDArray[Any] | None, what: str) -> str | None:
    """Why the rows of `what` tell nothing, or None where there are enough, of enough entities and of either class."""
    positive = np.count_nonzero(y)
    negative = len(y) - positive
    if task == "binary_classification" and min(positive, negative) < MIN_POSITIVES:
        return (
            f"{what} has {positive:,} positive and {negative:,} negative rows, and a gate needs at least "
            f"{MIN_POSITIVES} of each; hold out more rows."
        )
    if len(y) < MIN_UNITS:
        found = "1 row" if len(y) == 1 else f"{len(y)} rows"
        return f"{what} has {found}, and a gate needs at least {MIN_UNITS}; hold out more rows."
    # an interval of a few entities is too narrow, however many rows they have: they are what is drawn
    if groups is not None and (entities := len(np.unique(groups))) < MIN_UNITS:
        found = "1 entity" if entities == 1 else f"{entities} entities"
        return f"{what} has rows of {found}, and a gate needs at least {MIN_UNITS}; hold out rows of more."
    return None


def _needed(task: Task, y: NDArray[np.float64], width: float, distance: float) -> str:
    """How many rows would tell, of a binary classification how many positive ones, next to how many there are.

    `width` is what lies between the point and the bound of its interval, `distance` what lies between it and the limit.
    A width shrinks with the root of the number of rows.
    """
    binary = task == "binary_classification"
    rows = int(np.count_nonzero(y)) if binary else len(y)
    if width**2 >= _MANY_TIMES * distance**2:
        return f"it is so close that {_MANY_TIMES:,} times as many rows would not tell"
    needed = rows * (width / distance) ** 2
    unit = 10 ** max(0, math.floor(math.log10(needed)) - 1)
    return f"about {math.ceil(needed / unit) * unit:,} {'positive ' * binary}rows would tell, there are {rows:,}"


def _found(metric: str, interval: Interval) -> str:
    return f"{metric} is {interval.point:.4f} ({interval.low:.4f} to {interval.high:.4f})"


def _compared(gain: Interval, opponent: str) -> str:
    if gain.point == 0:
        return f"level with the {opponent}'s ({gain.low:.4f} to {gain.high:.4f})"
    if gain.point > 0:
        return f"better than the {opponent}'s by {gain.point:.4f} ({gain.low:.4f} to {gain.high:.4f})"
    return f"worse than the {opponent}'s by {-gain.point:.4f} ({-gain.high:.4f} to {-gain.low:.4f})"


def _groups(report: Report) -> NDArray[Any] | None:
    """The entity of each row, None where none is declared."""
    return report.scores[ENTITY].to_numpy() if ENTITY in report.scores.columns else None


def _scores(scores: pl.DataFrame, name: str) -> NDArray[np.float64]:
    return np.asarray(scores[name].to_list(), dtype=np.float64)
