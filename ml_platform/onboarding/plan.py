"""What was decided about a use case, as the values of its YAML file and as sentences."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import polars as pl

from ml_platform.onboarding.columns import figure
from ml_platform.onboarding.keys import Key
from ml_platform.onboarding.schedule import Schedule
from ml_platform.onboarding.target import Target
from ml_platform.onboarding.tasks import Labelling
from ml_platform.use_case import Cadence, Task

METRICS = {
    "binary_classification": "roc_auc",
    "multiclass_classification": "log_loss",
    "regression": "root_mean_squared_error",
}
MARGINS = {"binary_classification": 0.02, "multiclass_classification": 0.05}
MARGIN_OF_SPREAD = 0.05
LEAST_QUARANTINE = 2
SPARE = 1.25


@dataclass(frozen=True)
class Choices:
    """What the person has chosen; None stands for what the data proposes."""

    name: str
    target: str
    time: str | None = None
    key: Sequence[str] = ()
    entity: str | None = None
    every: Cadence | None = None
    by_time: bool = True
    date_format: str | None = None


@dataclass(frozen=True)
class Timing:
    """The event time and the schedule, or neither; the reason, and a time column that is not used as such."""

    column: str | None
    schedule: Schedule | None
    reason: str
    ignored: str | None = None


@dataclass(frozen=True)
class Plan:
    """What was decided, with the reasons."""

    choices: Choices
    target: Target
    labelling: Labelling
    timing: Timing
    key: Key
    source: dict[str, Any]
    transforms: bool
    ids: dict[str, int]
    margin: float
    headline: str

    def attributes(self, contract: dict[str, dict[str, Any]]) -> dict[str, Any]:
        """The attributes of a use case without partitions, for looking at its rows."""
        return {
            "name": self.choices.name,
            "task": self.labelling.task,
            "source": self.source,
            "partitions": "none",
            "contract": {"key": list(self.key.columns), "event_time": self.timing.column, "columns": contract},
            "label": {"column": self.target.column, "positive": self.labelling.positive},
            "registry": {"name": self.choices.name},
        }

    def values(
        self,
        contract: dict[str, dict[str, Any]],
        left_out: Mapping[str, str | None],
        not_read: dict[str, str],
        quarantined: float | None,
    ) -> dict[str, Any]:
        """The values of the template of the YAML file."""
        return {
            "headline": self.headline,
            "name": self.choices.name,
            "description": f"Predicts {self.target}.",
            "task": self.labelling.task,
            "task_reason": self.labelling.reason,
            "source": self.source,
            "key": list(self.key.columns),
            "key_reason": self.key.reason,
            "event_time": self.timing.column,
            "entity": self.choices.entity,
            "entity_hint": next(iter(self.ids), "customer"),
            "entity_reason": "what several rows belong to, such as a customer: rows of one are not independent",
            "columns": contract,
            "not_read": not_read,
            "quarantine_reason": _broken(quarantined),
            "quarantine_at_most": f"{max(LEAST_QUARANTINE, math.ceil(100 * SPARE * (quarantined or 0)))}%",
            "transform": ".features:build" if self.transforms else None,
            "features": left_out,
            "label": self.target.column,
            "label_reason": self._label_reason(),
            "positive": self.labelling.positive,
            "metric": METRICS[self.labelling.task],
            "margin": self.margin,
            **self._windows(),
        }

    def _label_reason(self) -> str | None:
        if self.target.operator:
            return f"1 where {self.target}, made in features.py"
        return "made in features.py of what is written in several ways" if self.labelling.expression else None

    def _windows(self) -> dict[str, Any]:
        schedule = self.timing.schedule
        if schedule is None:
            return {"partitions": None, "partitions_reason": self.timing.reason}
        return {
            "partitions": {"every": schedule.every, "start": schedule.start, "end": schedule.end},
            "partitions_reason": f"{self.timing.column}: {schedule.reason}",
            "model_every": schedule.model_every,
            "train_on": f"{schedule.train_days} days",
            "hold_out": f"{schedule.hold_out_days} days",
            "windows_reason": self._trained_and_judged(schedule),
        }

    def _trained_and_judged(self, schedule: Schedule) -> str:
        begins = schedule.hold_out_start
        day = timedelta(days=1)
        return (
            f"the model of {schedule.cutoff} is trained on {schedule.start} to {begins - day:%Y-%m-%d} and judged on "
            f"{begins:%Y-%m-%d} to {schedule.cutoff - day}"
        )

    def decisions(self, quarantined: float) -> list[tuple[str, str]]:
        """What was decided and why, for the person."""
        schedule = self.timing.schedule
        said = [("target", f"{self.target}: {self.labelling.task}; {self.labelling.reason}")]
        if schedule and self.timing.column:
            said.append(("time", f"{self.timing.column} ({self.timing.reason})"))
            said.append(("partitions", f"every {schedule.every}: {schedule.reason}"))
            said.append(("model", self._trained_and_judged(schedule)))
        else:
            said.append(("time", self.timing.reason))
            said.append(("model", "trained on three quarters of the rows and judged on the others"))
        said.append(("key", f"{', '.join(self.key.columns)}: {self.key.reason}"))
        said.append(("quarantine", _broken(quarantined)))
        return said


def _broken(share: float | None) -> str:
    if share is None:
        return "of a partition with a greater share of rows that break the contract nothing is published"
    if not share:
        return "no row of the data seen breaks the contract"
    return f"at most {share:.2%} of a partition's rows break the contract in the data seen"


def margin_of(task: Task, labels: pl.Series) -> float:
    """The loss in the metric that a new champion may have: for a regression a part of the label's spread."""
    if task == "regression":
        return float(f"{MARGIN_OF_SPREAD * figure(labels.std()):.2g}")
    return MARGINS[task]
