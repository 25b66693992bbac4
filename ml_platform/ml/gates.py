"""Gates: conditions on the hold-out, judged on an interval's bound and, between two models, on the same rows."""

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ml_platform.ml.evaluation import metrics_of
from ml_platform.ml.intervals import paired_difference
from ml_platform.ml.report import MODEL, TARGET, Report
from ml_platform.use_case import Gate, UseCase


def judge(use_case: UseCase, gate: Gate, report: Report, champion: NDArray[np.float64] | None) -> str | None:
    """Why a model fails a gate, as a sentence, or None where it passes.

    `champion` holds the champion's scores on the report's rows, None where there is no champion to compare with.
    """
    if gate.metric not in report.metrics:
        return f"{gate.metric} has no value on this hold-out; choose another metric or threshold."
    interval = report.metrics[gate.metric]
    found = f"{gate.metric} is {interval.point:.4f} ({interval.low:.4f} to {interval.high:.4f})"
    if gate.at_least is not None:
        return None if interval.low >= gate.at_least else f"{found}, not surely at least {gate.at_least:g}."
    if gate.at_most is not None:
        return None if interval.high <= gate.at_most else f"{found}, not surely at most {gate.at_most:g}."
    other = champion if gate.no_worse_than == "champion" else _scores(report.scores, str(gate.no_worse_than))
    if other is None:
        return None
    y = report.scores[TARGET].to_numpy()
    metric = metrics_of(use_case)[gate.metric]
    try:
        difference = paired_difference(metric, y, other, _scores(report.scores, MODEL), seed=use_case.model.seed)
    except ValueError as error:
        return f"the {gate.no_worse_than} cannot be compared: {error}"
    least, most = sorted((abs(difference.low), abs(difference.high)))
    if (difference.high if metric.greater_is_better else -difference.low) >= 0:
        return None
    return f"{found}, worse than the {gate.no_worse_than}'s by {least:.4f} to {most:.4f}."


def _scores(scores: pl.DataFrame, name: str) -> NDArray[np.float64]:
    return np.asarray(scores[name].to_list(), dtype=np.float64)
