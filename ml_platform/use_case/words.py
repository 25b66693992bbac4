"""The words of a use case: stages, checks, tasks, metrics and types of columns, by one name everywhere."""

import re
from math import inf
from typing import Literal, get_args

Stage = Literal[
    "raw_data",
    "validated_data",
    "quarantine",
    "features",
    "model",
    "evaluation",
    "promotion",
    "predictions",
    "monitoring",
]
STAGES: tuple[Stage, ...] = get_args(Stage)
# what runs at once: the partitions of the data, the cutoffs, and the data's again
DATA: tuple[Stage, ...] = ("raw_data", "quarantine", "validated_data", "features")
MODEL: tuple[Stage, ...] = ("model", "evaluation", "promotion")
PREDICTIONS: tuple[Stage, ...] = ("predictions", "monitoring")
# the stages that take checks of the user's, with the platform's own
CheckedStage = Literal["raw_data", "validated_data", "features", "predictions"]
PLATFORM_CHECKS: dict[CheckedStage, tuple[str, ...]] = {
    "raw_data": ("readable",),
    "validated_data": ("contract", "volume", "duplicates"),
    "features": ("complete",),
    "predictions": ("predicted",),
}

Severity = Literal["low", "medium", "high", "critical"]
SEVERITIES: tuple[Severity, ...] = get_args(Severity)

Task = Literal["binary_classification", "multiclass_classification", "regression"]
Cadence = Literal["day", "week", "month"]
ColumnType = Literal["int64", "float64", "string", "boolean", "datetime", "date"]
PYTHON_TYPES: dict[str, tuple[type, ...]] = {
    "int64": (int,),
    "float64": (int, float),
    "string": (str,),
    "boolean": (bool,),
    "datetime": (),
    "date": (),
}
# the platform's own columns, and what polars, a JSON path or Dagster would take for a pattern
RESERVED = re.compile(r"partition|rescued|violations|__.*|\*|\^.*\$|.*([\"\\]|\{\{).*", re.DOTALL)

# the columns of a report, beside the key: the label, and the scores of the model and of the baselines
SCORES = ("label", "model", "linear", "prior")

METRICS: dict[Task, tuple[str, ...]] = {
    "binary_classification": (
        "roc_auc",
        "average_precision",
        "log_loss",
        "brier_score",
        "calibration_error",
        "precision",
        "recall",
        "f1",
        "accuracy",
        "balanced_accuracy",
    ),
    "multiclass_classification": ("accuracy", "balanced_accuracy", "f1_macro", "log_loss", "calibration_error"),
    "regression": ("mean_absolute_error", "root_mean_squared_error", "r2"),
}
# the least and the greatest value that a metric can take
METRIC_RANGES: dict[str, tuple[float, float]] = {
    **{metric: (0.0, 1.0) for metrics in METRICS.values() for metric in metrics},
    "log_loss": (0.0, inf),
    "mean_absolute_error": (0.0, inf),
    "root_mean_squared_error": (0.0, inf),
    "r2": (-inf, 1.0),
}
