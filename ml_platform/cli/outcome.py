"""The outcome of a command's runs, gathered from their events."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import dagster as dg

from ml_platform.stages.attributes import rows_told
from ml_platform.stages.book import Entry
from ml_platform.use_case import STAGES, Stage

ONLY_FOR_THE_UI = (dg.TableSchemaMetadataValue, dg.MarkdownMetadataValue)


@dataclass
class StageOutcome:
    """What one stage did: partitions published and how many of them had not changed, rows, seconds."""

    partitions: int = 0
    unchanged: int = 0
    rows: int = 0
    seconds: float = 0.0
    broken_rules: Counter[str] = field(default_factory=Counter)
    latest: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Check:
    """The verdict of a check on a partition; the reason says why it failed."""

    stage: Stage
    name: str
    partition: str | None
    passed: bool
    reason: str | None


@dataclass
class Outcome:
    """What a command's runs did, stage by stage; `move` is the newest of the champion, whoever made it."""

    stages: dict[Stage, StageOutcome] = field(default_factory=dict)
    checks: list[Check] = field(default_factory=list)
    runs: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    move: Entry | None = None

    def listen(self, entry: dg.EventLogEntry) -> None:
        """Take in one event of a run."""
        event = entry.dagster_event
        if event is None:
            return
        if entry.run_id not in self.runs:
            self.runs.append(entry.run_id)
        if event.is_step_failure:
            self._failed_step(event)
        elif event.event_type is dg.DagsterEventType.ENGINE_EVENT:
            self._advanced(event)
        elif event.is_run_failure:
            self._failed(event)
        elif event.is_step_materialization and event.asset_key and event.asset_key.path[-1] in STAGES:
            self._materialized(event)
        elif event.event_type is dg.DagsterEventType.ASSET_CHECK_EVALUATION:
            self._checked(event.asset_check_evaluation_data)

    @property
    def has_changed(self) -> bool:
        """Whether anything was computed."""
        return any(one.partitions > one.unchanged for one in self.stages.values())

    def of(self, stage: Stage) -> StageOutcome:
        """The outcome of a stage."""
        return self.stages.setdefault(stage, StageOutcome())

    def _advanced(self, event: dg.DagsterEvent) -> None:
        said = event.engine_event_data.metadata
        if "stage" in said and "seconds" in said:
            self.of(_stage(str(said["stage"].value))).seconds = float(str(said["seconds"].value))

    def _failed_step(self, event: dg.DagsterEvent) -> None:
        """Keep what stopped a step; why partitions were refused is known from the checks."""
        data = event.step_failure_data
        if data.user_failure_data and "refused" in data.user_failure_data.metadata:
            return
        if data.user_failure_data and "failure_class" in data.user_failure_data.metadata:
            self.errors.append(str(data.user_failure_data.description))
            return
        error = data.error.cause if data.error and data.error.cause else data.error
        if error is not None:
            self.errors.append(f"{event.step_key} stopped: {error.message.strip()}")

    def _failed(self, event: dg.DagsterEvent) -> None:
        """Keep why a run failed outside its steps; what stopped a step is known from the step."""
        failure = event.job_failure_data
        error = None if failure.first_step_failure_event else failure.error
        while error and error.cause:
            error = error.cause
        if error:
            self.errors.append(error.message.strip())

    def _materialized(self, event: dg.DagsterEvent) -> None:
        materialization = event.step_materialization_data.materialization
        outcome = self.of(_stage(materialization.asset_key.path[-1]))
        metadata: dict[str, Any] = {
            name: value.value
            for name, value in materialization.metadata.items()
            if not isinstance(value, ONLY_FOR_THE_UI)
        }
        outcome.partitions += 1
        outcome.unchanged += "unchanged" in metadata
        outcome.rows += rows_told(metadata)
        outcome.broken_rules.update(metadata.get("broken_rules", {}))
        outcome.latest = {"partition": materialization.partition, **metadata}

    def _checked(self, evaluation: dg.AssetCheckEvaluation) -> None:
        stage = _stage(evaluation.asset_key.path[-1])
        check = Check(stage, evaluation.check_name, evaluation.partition, evaluation.passed, evaluation.description)
        self.checks.append(check)


def _stage(name: str) -> Stage:
    return next(stage for stage in STAGES if stage == name)
