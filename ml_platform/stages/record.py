"""Events of a step, written to the event log in batches while the step goes on."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import dagster as dg
from dagster._core.definitions.asset_checks.asset_check_evaluation import (
    AssetCheckEvaluationTargetMaterializationData,
)
from dagster._core.definitions.data_version import DATA_VERSION_TAG
from dagster._core.events import (
    DagsterEvent,
    DagsterEventBatchMetadata,
    EngineEventData,
    StepMaterializationData,
    generate_event_batch_id,
)
from dagster._core.storage.event_log import EventLogStorage

from ml_platform.event_log import BatchedSqliteEventLogStorage
from ml_platform.io_managers.publishing import Key
from ml_platform.stages.acceptance import Acceptance
from ml_platform.stages.definition import Verdict

Event = dg.AssetMaterialization | dg.AssetCheckEvaluation


def record(context: dg.AssetExecutionContext | dg.OpExecutionContext, events: Sequence[Event]) -> None:
    """Write materializations or check evaluations of one asset to the event log, in as few batches as it takes.

    Dagster's `log_event` would write each by itself, and only when the step ends.
    """
    step = context.get_step_execution_context()
    for batch in _batches(events, context.instance.event_log_storage):
        batch_id = generate_event_batch_id()  # type: ignore[no-untyped-call]
        for number, event in enumerate(batch, start=1):
            where = f" {event.partition}" if event.partition else ""
            if isinstance(event, dg.AssetMaterialization):
                kind, data = dg.DagsterEventType.ASSET_MATERIALIZATION, StepMaterializationData(event)
                message = f"Materialized {event.asset_key.to_user_string()}{where}."
            else:
                kind, data = dg.DagsterEventType.ASSET_CHECK_EVALUATION, event  # type: ignore[assignment]
                message = f"{event.check_name}{where}: {'passed' if event.passed else event.description}"
            DagsterEvent.from_step(kind, step, data, message, DagsterEventBatchMetadata(batch_id, number == len(batch)))


def _batches(events: Sequence[Event], storage: EventLogStorage) -> Iterable[Sequence[Event]]:
    """Events of one asset as a storage takes them at once: ours all, those of Dagster materializations alone."""
    are_alike = all(isinstance(event, dg.AssetMaterialization) for event in events)
    if are_alike or isinstance(storage, BatchedSqliteEventLogStorage):
        return [events]
    return [[event] for event in events]


def say(context: dg.AssetExecutionContext, message: str, metadata: Mapping[str, Any]) -> None:
    """Write a line to the run's log, with what a program may read of it."""
    DagsterEvent.engine_event(context.get_step_execution_context(), message, EngineEventData(metadata=metadata))


def materialization(
    key: dg.AssetKey, partition: Key, data_version: str, metadata: Mapping[str, Any]
) -> dg.AssetMaterialization:
    """The record of a published partition."""
    return dg.AssetMaterialization(key, partition=partition, metadata=metadata, tags={DATA_VERSION_TAG: data_version})


def evaluation(
    key: dg.AssetKey, verdict: Verdict, acceptance: Acceptance | None, newest: dg.EventLogRecord | None
) -> dg.AssetCheckEvaluation:
    """The record of a verdict; Dagster shows it as long as the newest materialization stays the newest."""
    warns = verdict.warning or acceptance is not None
    target = newest and AssetCheckEvaluationTargetMaterializationData(
        storage_id=newest.storage_id, run_id=newest.run_id, timestamp=newest.timestamp
    )
    return dg.AssetCheckEvaluation(
        asset_key=key,
        check_name=verdict.check,
        passed=verdict.passed,
        severity=dg.AssetCheckSeverity.WARN if warns else dg.AssetCheckSeverity.ERROR,
        description=f"{verdict.reason} ({acceptance})" if acceptance and verdict.reason else verdict.reason,
        partition=verdict.partition,
        metadata=verdict.metadata,
        blocking=verdict.blocks,
        target_materialization_data=target,
    )


def newest_materializations(
    instance: dg.DagsterInstance, key: dg.AssetKey, keys: Collection[Key]
) -> dict[Key, dg.EventLogRecord]:
    """The newest materialization of each of these partitions that has one."""
    if not keys:
        return {}  # Dagster takes no partitions for all of them
    if None in keys:
        newest = instance.fetch_materializations(key, limit=1).records
        return {None: newest[0]} if newest else {}
    ids = instance.event_log_storage.get_latest_storage_id_by_partition(
        key, dg.DagsterEventType.ASSET_MATERIALIZATION, set(map(str, keys))
    )
    if not ids:
        return {}
    found = instance.fetch_materializations(dg.AssetRecordsFilter(key, storage_ids=list(ids.values())), limit=len(ids))
    return {one.partition_key: one for one in found.records}


def newest_before(instance: dg.DagsterInstance, key: dg.AssetKey, partition: Key) -> dg.EventLogRecord | None:
    """The newest materialization of the last published partition before one; None where there is none."""
    earlier = [one for one in instance.get_materialized_partitions(key) if partition is not None and one < partition]
    return newest_materializations(instance, key, [max(earlier)])[max(earlier)] if earlier else None


def metadata_of(materialization: dg.AssetMaterialization | None) -> dict[str, Any]:
    """The values of a materialization's metadata by name; none without one."""
    return {name: value.value for name, value in materialization.metadata.items()} if materialization else {}


def told(record: dg.EventLogRecord | None, name: str) -> Any:
    """A value of a materialization's metadata, None where it has none of that name."""
    found = record.asset_materialization.metadata.get(name) if record and record.asset_materialization else None
    return found.value if found is not None else None
