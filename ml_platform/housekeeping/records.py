"""Dagster's records: runs, events and logs, of which the newest of each partition and check are kept for ever."""

from collections.abc import Collection, Iterator
from datetime import datetime
from pathlib import Path

import dagster as dg
from dagster._core.storage.dagster_run import FINISHED_STATUSES
from dagster._core.storage.event_log import SqlEventLogStorage, SqliteEventLogStorage
from dagster._core.storage.event_log.schema import (
    AssetCheckExecutionsTable,
    AssetEventTagsTable,
    SqlEventLogStorageTable,
)
from sqlalchemy import ColumnElement, Connection, and_, delete, func, select

AT_ONCE = 100
MATERIALIZATION = dg.DagsterEventType.ASSET_MATERIALIZATION.value


def prune_records(instance: dg.DagsterInstance, before: datetime) -> int:
    """Remove what runs left that ended before a moment; the number of runs of which nothing is left.

    Of each partition the newest materialization stays, of each check and partition the newest verdict, and with them
    the runs that they name, without their events: what the UI and the stages know of a partition does not change.
    """
    removed = 0
    for runs in _batches(instance, before):
        kept = _prune_events(instance, runs)
        for run_id in runs:
            instance.compute_log_manager.delete_logs(prefix=[run_id])
            _prune_shard(instance, run_id)
            if run_id not in kept:
                instance.run_storage.delete_run(run_id)
                removed += 1
    return removed


def _batches(instance: dg.DagsterInstance, before: datetime) -> Iterator[list[str]]:
    """The ids of the runs that have ended and were made before a moment, the oldest first."""
    cursor = None
    chosen = dg.RunsFilter(statuses=list(FINISHED_STATUSES), created_before=before)
    while found := instance.get_run_ids(chosen, cursor=cursor, limit=AT_ONCE):
        cursor = found[-1]
        yield list(found)


def _prune_events(instance: dg.DagsterInstance, runs: Collection[str]) -> set[str]:
    """Remove the events of runs but those that are the newest of their partition; the runs that still have some."""
    storage = instance.event_log_storage
    assert isinstance(storage, SqlEventLogStorage)
    events, checks = SqlEventLogStorageTable.c, AssetCheckExecutionsTable.c
    with storage.index_connection() as index:
        newest = (
            select(func.max(events.id))
            .where(events.dagster_event_type == MATERIALIZATION)
            .group_by(events.asset_key, events.partition)
        )
        newest_checks = select(func.max(checks.id)).group_by(checks.asset_key, checks.check_name, checks.partition)
        old = and_(events.run_id.in_(runs), events.id.not_in(newest))
        _remove_tags(index, old)
        index.execute(delete(SqlEventLogStorageTable).where(old))
        index.execute(delete(AssetCheckExecutionsTable).where(checks.run_id.in_(runs), checks.id.not_in(newest_checks)))
        return {
            run_id
            for column in (events.run_id, checks.run_id)
            for run_id in index.execute(select(column).where(column.in_(runs)).distinct()).scalars()
        }


def _remove_tags(index: Connection, old: ColumnElement[bool]) -> None:
    ids = select(SqlEventLogStorageTable.c.id).where(old)
    index.execute(delete(AssetEventTagsTable).where(AssetEventTagsTable.c.event_id.in_(ids)))


def _prune_shard(instance: dg.DagsterInstance, run_id: str) -> None:
    """Remove the database file that SQLite's event log has for each run, and what a killed run left beside it."""
    storage = instance.event_log_storage
    if isinstance(storage, SqliteEventLogStorage):
        for beside in ("", "-wal", "-shm"):
            Path(f"{storage.path_for_shard(run_id)}{beside}").unlink(missing_ok=True)
