"""What the runs that ended say: what their checks do, and which of them failed or succeeded."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Literal

import dagster as dg
from dagster._core.definitions.partitions.partition_key_range import PartitionKeyRange
from dagster._core.storage.tags import (
    ASSET_PARTITION_RANGE_END_TAG,
    ASSET_PARTITION_RANGE_START_TAG,
    PARTITION_NAME_TAG,
)
from dagster_shared.error import SerializableErrorInfo

from ml_platform.alerts.checks import judged, said_severity, unjudged
from ml_platform.alerts.incidents import WHOLE, Finding
from ml_platform.alerts.project import Project
from ml_platform.stages.step import REFUSED
from ml_platform.use_case.words import MODEL

RUNS_AT_ONCE = 50
EVENTS_AT_ONCE = 5_000
FAILURE_CLASS = "failure_class"  # of the metadata of a failure, where a stage says it
MOST_TOLD = 500
MARKED = "This run has been marked as failed from outside the execution context."
"""What Dagster says where it knows no more: its code server, of a process that is gone, and its UI."""
ENDS: tuple[
    Literal[dg.DagsterEventType.RUN_FAILURE, dg.DagsterEventType.RUN_SUCCESS, dg.DagsterEventType.RUN_CANCELED],
    ...,
] = (dg.DagsterEventType.RUN_FAILURE, dg.DagsterEventType.RUN_SUCCESS, dg.DagsterEventType.RUN_CANCELED)
TOLD_BY_A_RUN = {
    dg.DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED,
    dg.DagsterEventType.ASSET_CHECK_EVALUATION,
    dg.DagsterEventType.STEP_FAILURE,
}
TOLD_BY_ONE_CUT_SHORT = TOLD_BY_A_RUN | {dg.DagsterEventType.ASSET_MATERIALIZATION}


def ended_runs(instance: dg.DagsterInstance, read_to: int | None, since: datetime) -> list[dg.EventLogRecord]:
    """How the next runs ended, the earliest first: after an event of the log, or the first time since a moment."""
    found: list[dg.EventLogRecord] = []
    for kind in ENDS:
        after: dict[str, Any] = (
            {"after_storage_id": read_to} if read_to is not None else {"after_timestamp": since.timestamp()}
        )
        records = dg.RunStatusChangeRecordsFilter(kind, **after)
        found += instance.fetch_run_status_changes(records, limit=RUNS_AT_ONCE, ascending=True).records
    return sorted(found, key=lambda one: one.storage_id)[:RUNS_AT_ONCE]


def findings(
    instance: dg.DagsterInstance, project: Project, ends: Iterable[dg.EventLogRecord]
) -> Iterator[tuple[int, list[Finding]]]:
    """What each run says, with the event that it ended with, until enough events are read for once."""
    read = 0
    for end in ends:
        run = instance.get_run_by_id(end.run_id)
        if run is not None and read < EVENTS_AT_ONCE:
            told = TOLD_BY_A_RUN if run.is_success else TOLD_BY_ONE_CUT_SHORT
            records = instance.get_records_for_run(end.run_id, of_type=told).records
            events = [one.event_log_entry.get_dagster_event() for one in records]
            read += len(events)
            of_checks = [*judged(project, run, events), *unjudged(project, run, events)]
            yield end.storage_id, [*of_checks, *_run(project, run, end, events)]
        elif run is None:
            yield end.storage_id, []  # deleted by a person
        else:
            return


def _run(
    project: Project, run: dg.DagsterRun, end: dg.EventLogRecord, events: Sequence[dg.DagsterEvent]
) -> Iterator[Finding]:
    """That a run failed, step by step, or that it succeeded; what checks refused is told by the checks."""
    ended = end.event_log_entry.get_dagster_event()
    selected = run.asset_selection or frozenset()
    if ended.event_type is dg.DagsterEventType.RUN_SUCCESS:
        for use_case in sorted({key.path[0] for key in selected} or {project.owner(run.job_name)}):
            yield from _success(project, run, use_case, [key for key in selected if key.path[0] == use_case])
    elif ended.event_type is dg.DagsterEventType.RUN_FAILURE:
        steps = [event for event in events if event.event_type is dg.DagsterEventType.STEP_FAILURE]
        for step in steps:
            if REFUSED not in _metadata(step):
                assets = [key for key in selected if project.step(key) == step.step_key]
                yield _failure(project, run, str(step.step_key) if assets else run.job_name, assets, step)
        if not steps:
            for use_case in sorted({key.path[0] for key in selected} or {project.owner(run.job_name)}):
                assets = [key for key in selected if key.path[0] == use_case]
                yield _failure(project, run, use_case if assets else run.job_name, assets, ended)


def _success(project: Project, run: dg.DagsterRun, use_case: str, assets: Sequence[dg.AssetKey]) -> Iterator[Finding]:
    finding = Finding(
        kind="run_failed",
        use_case=project.known(use_case),
        subject=run.job_name,
        passed=True,
        partitions=_partitions(project, run, assets),
        assets=frozenset(key.to_user_string() for key in assets),
        run_id=run.run_id,
        from_here_on=bool(assets) and all(key.path[-1] in MODEL for key in assets),
    )
    yield finding
    about = project.about(use_case)
    if about.on_success:
        stages = ", ".join(sorted(key.path[-1] for key in assets)) or run.job_name
        severity = about.severity("run_succeeded")
        yield replace(finding, kind="run_succeeded", subject=stages, notice=True, severity=severity)


def _failure(
    project: Project, run: dg.DagsterRun, subject: str, assets: Sequence[dg.AssetKey], event: dg.DagsterEvent
) -> Finding:
    metadata = _metadata(event)
    use_case = project.known(assets[0].path[0]) if assets else project.owner(run.job_name)
    said = metadata.get(FAILURE_CLASS)
    why = _error(event)
    return Finding(
        kind="run_failed",
        use_case=use_case,
        subject=subject,
        passed=False,
        partitions=_partitions(project, run, assets),
        assets=frozenset(key.to_user_string() for key in assets),
        severity=said_severity(metadata) or project.about(use_case).severity("run_failed"),
        why=f"{why} ({said.value})" if said else why,
        run_id=run.run_id,
    )


def _metadata(event: dg.DagsterEvent) -> Mapping[str, dg.MetadataValue[Any]]:
    """What a step recorded with its failure."""
    failure = event.step_failure_data.user_failure_data if event.is_step_failure else None
    return failure.metadata if failure else {}


def root_cause(error: SerializableErrorInfo) -> str:
    """What an error began with, in a line."""
    while error.cause:
        error = error.cause
    return " ".join(error.message.split())[:MOST_TOLD]


def _error(event: dg.DagsterEvent) -> str:
    """Why a step or a run failed."""
    if error := getattr(event.event_specific_data, "error", None):
        return root_cause(error)
    if event.message == MARKED:
        return "its process was killed, or somebody has marked it as failed; its log says more."
    return event.message or "it does not say why."


def _partitions(project: Project, run: dg.DagsterRun, assets: Sequence[dg.AssetKey]) -> Sequence[str]:
    """The partitions that a run was over."""
    first, last = run.tags.get(ASSET_PARTITION_RANGE_START_TAG), run.tags.get(ASSET_PARTITION_RANGE_END_TAG)
    definition = project.partitions(assets[0]) if assets else None
    if first and last and definition:
        return definition.get_partition_keys_in_range(PartitionKeyRange(first, last))
    return [run.tags.get(PARTITION_NAME_TAG, WHOLE)]
