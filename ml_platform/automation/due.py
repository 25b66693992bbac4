"""Which partitions are due: never computed, refused but with new inputs, or made of what has changed."""

from collections.abc import Collection
from typing import Any

import dagster as dg
from dagster._core.definitions.data_version import DATA_VERSION_TAG
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus as Status
from dagster._time import get_current_datetime

from ml_platform.io_managers.publishing import Key
from ml_platform.partitions import data_partitions, known_by, looked_at, newest_cutoff
from ml_platform.stages.attributes import asset_key
from ml_platform.stages.execution import MADE_OF
from ml_platform.stages.ledger import ledger_key
from ml_platform.stages.predictions import data_version_of
from ml_platform.stages.record import metadata_of, newest_materializations
from ml_platform.use_case import FilesSource, Stage, UseCase

TRIES = 3


def watches_files(use_case: UseCase) -> bool:
    """Whether the source is files of which each belongs to a partition, so that one that changes says which."""
    source = use_case.source
    return use_case.windows is not None and isinstance(source, FilesSource) and "{partition}" in source.path


def published(instance: dg.DagsterInstance, use_case: UseCase, stage: Stage) -> dict[Key, int]:
    """The partitions of a stage that are published, each with the event that said so last."""
    key = asset_key(use_case, stage)
    if use_case.windows is None:
        return {one: record.storage_id for one, record in newest_materializations(instance, key, [None]).items()}
    storage = instance.event_log_storage
    found = storage.get_latest_storage_id_by_partition(key, dg.DagsterEventType.ASSET_MATERIALIZATION)
    return dict(found.items())


def _judged(instance: dg.DagsterInstance, use_case: UseCase, stage: Stage, check: str) -> dict[Key, int]:
    """The partitions that a check has judged, each with the event that said so last."""
    key = dg.AssetCheckKey(asset_key(use_case, stage), check)
    found = instance.event_log_storage.get_asset_check_partition_info([key])
    over = {Status.SUCCEEDED, Status.FAILED}
    return {
        one.partition_key: one.latest_check_event_storage_id for one in found if one.latest_execution_status in over
    }


def due_days(instance: dg.DagsterInstance, use_case: UseCase) -> list[Key]:
    """The partitions of data that are over and have no features.

    One that was refused is due again when rows that it looks at were published since. Where nothing tells that the
    source has changed it is also tried again as long as it is one of the newest `TRIES`. Without partitions the data
    always is due: unchanged data is skipped by the run.
    """
    definition = data_partitions(use_case)
    if definition is None:
        return [None]
    over: list[str] = list(definition.get_partition_keys())
    tried = _judged(instance, use_case, "features", "complete")
    rows = published(instance, use_case, "validated_data")
    again = set() if watches_files(use_case) else set(over[-TRIES:])
    done = published(instance, use_case, "features")
    needed = looked_at(use_case, [key for key in over if key not in done])
    return [
        key
        for key, days in needed.items()
        if key not in tried or key in again or any(rows.get(day, 0) > tried[key] for day in days)
    ]


def due_cutoff(instance: dg.DagsterInstance, use_case: UseCase, wanted: str | None = None) -> list[Key]:
    """The newest cutoff that is reached, or the wanted one, if neither it nor a later one has been decided on.

    One that was refused is due again when features are new.
    """
    if use_case.windows is None:
        return [None]
    now = get_current_datetime(use_case.automation.time_zone).replace(tzinfo=None)
    cutoff = wanted or newest_cutoff(use_case, now)
    if cutoff is None or any(str(key) >= cutoff for key in published(instance, use_case, "promotion")):
        return []
    tried = _judged(instance, use_case, "model", "trainable").get(cutoff, 0)
    features = published(instance, use_case, "features")
    return [cutoff] if not tried or any(features.get(day, 0) > tried for day in known_by(use_case, cutoff)) else []


def newest_move(instance: dg.DagsterInstance, use_case: UseCase) -> tuple[int, str | None, str]:
    """The newest move in the ledger: its event, 0 where there is none, the champion by its data version, its cutoff."""
    event, shown = newest_metadata(instance, ledger_key(use_case.name))
    number = shown.get("version")
    champion = None if number is None else data_version_of(use_case, number, shown.get("mlflow_run"))
    return event, champion, shown.get("cutoff", "")


def newest_metadata(instance: dg.DagsterInstance, key: dg.AssetKey) -> tuple[int, dict[str, Any]]:
    """The newest materialization of an asset, 0 where there is none, and what its metadata says."""
    for one in instance.fetch_materializations(key, limit=1).records:
        return one.storage_id, metadata_of(one.asset_materialization)
    return 0, {}


def outdated(instance: dg.DagsterInstance, use_case: UseCase, champion: str, keys: Collection[Key]) -> list[Key]:
    """Those of these partitions whose predictions are not by this champion on the features as they are."""
    features = newest_materializations(instance, asset_key(use_case, "features"), keys)
    predictions = newest_materializations(instance, asset_key(use_case, "predictions"), keys)
    found = []
    for key, one in features.items():
        tags = one.asset_materialization.tags if one.asset_materialization else None
        made_of = {"champion": champion, "features": (tags or {}).get(DATA_VERSION_TAG)}
        before = predictions[key].asset_materialization if key in predictions else None
        if before is None or before.metadata[MADE_OF].value["inputs"] != made_of:  # type: ignore[call-overload,index]
            found.append(key)
    return sorted(found, key=str)


def since_cutoff(instance: dg.DagsterInstance, use_case: UseCase, cutoff: str) -> list[Key]:
    """The published partitions of features that the champion of a cutoff predicts: those that begin at or after it."""
    return [key for key in published(instance, use_case, "features") if key is None or key >= cutoff]
