"""Dagster's SQLite event log, which stores a batch of events in one transaction and keeps its connections open."""

import fcntl
import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from itertools import groupby
from pathlib import Path
from threading import RLock
from typing import Any, NamedTuple, Self
from weakref import finalize

import dagster as dg
from dagster._config import StringSource
from dagster._config.config_schema import UserConfigSchema
from dagster._core.definitions.asset_checks.asset_check_evaluation import AssetCheckEvaluationPlanned
from dagster._core.events import ASSET_CHECK_EVENTS, ASSET_EVENTS, EVENT_TYPE_TO_PIPELINE_RUN_STATUS, DagsterEventType
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus as Status
from dagster._core.storage.event_log import SqliteEventLogStorage
from dagster._core.storage.event_log.schema import AssetCheckExecutionsTable, AssetKeyTable, SqlEventLogStorageTable
from dagster._core.storage.event_log.sqlite.sqlite_event_log import INDEX_SHARD_NAME
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS
from dagster._serdes import ConfigurableClassData
from sqlalchemy import Connection, Engine, create_engine, text
from sqlalchemy.dialects.sqlite import Insert, insert

from ml_platform.storages import REVISION, is_made, revision_of

KEPT_ENGINES = 8
SCHEMA = "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%'"
STAMP = "INSERT INTO alembic_version VALUES (?)"
MIRRORED = ASSET_EVENTS | ASSET_CHECK_EVENTS | set(EVENT_TYPE_TO_PIPELINE_RUN_STATUS)
PLAN = insert(AssetCheckExecutionsTable)
EVALUATE = PLAN.on_conflict_do_update(
    index_elements=["asset_key", "check_name", "run_id", "partition"],
    set_={column.name: column for column in PLAN.excluded if column.name not in ("id", "create_timestamp")},
)


class BatchedSqliteEventLogStorage(SqliteEventLogStorage):
    """The same files and rows as Dagster's own storage, which can read them and be put back at any time.

    Dagster 1.13 stores each event of a batch in transactions of its own, and opens the file for each of them: closing
    it, SQLite writes its log back and removes it, which takes ten times as long as the event. Seconds for a year of
    partitions. Drop this when Dagster's storage does better. Its private methods are overridden and called here: look
    through it with each new version of Dagster.
    """

    def __init__(self, base_dir: str | None = None, inst_data: ConfigurableClassData | None = None) -> None:
        self._inst_data = inst_data
        self._lock = RLock()  # Dagster's is not reentrant, and a batch has the run's shard and the index open at once
        self._open: dict[str, Connection] = {}
        self._engines: dict[str, Engine] = {}
        finalize(self, _close, self._engines)  # SQLite tidies up beside a file when the last one closes it
        self._there: set[str] = set()
        if base_dir:
            self._settle(base_dir)

    def _settle(self, base_dir: str) -> None:
        super().__init__(os.path.join(base_dir, "history", "runs"), self._inst_data)  # noqa: PTH118

    @classmethod
    def config_type(cls) -> UserConfigSchema:
        """`base_dir`, the folder that has or gets `history/runs`; without it, that of the Dagster instance."""
        return {"base_dir": dg.Field(StringSource, is_required=False)}

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]) -> Self:
        """The storage of a configuration."""
        return cls(config_value.get("base_dir"), inst_data)

    def register_instance(self, instance: dg.DagsterInstance) -> None:
        """Store in the instance's folder, unless the configuration says where."""
        # not in $DAGSTER_HOME: some of Dagster's commands do without, with a temporary instance
        if not hasattr(self, "_base_dir"):
            self._settle(instance.root_directory)
        super().register_instance(instance)

    def store_event(self, event: dg.EventLogEntry) -> None:
        """Store an event."""
        self.store_event_batch([event])

    def store_event_batch(self, events: Sequence[dg.EventLogEntry]) -> None:
        """Store all these events of one run, or none of them.

        Raises:
            ValueError: they are not of one run.
            sqlalchemy.exc.DatabaseError: the database is locked, or refuses a row.
        """
        (run_id,) = {event.run_id for event in events}
        rows = [self._event_to_row(event) for event in events]
        mirrored = [n for n, event in enumerate(events) if event.dagster_event_type in MIRRORED]
        # one inside the other: Dagster stores the events of a failed batch again, so none may stay in the run's shard
        with self.run_connection(run_id) as run:
            run.execute(SqlEventLogStorageTable.insert(), rows)
            if mirrored:
                with self.index_connection() as index:
                    self._mirror(index, [events[n] for n in mirrored], [rows[n] for n in mirrored])
        # the UI waits for the file to change; what is committed lies in SQLite's log beside it
        os.utime(self.path_for_shard(run_id))

    def _mirror(self, index: Connection, events: list[dg.EventLogEntry], rows: list[dict[str, Any]]) -> None:
        column = SqlEventLogStorageTable.c.id
        statement = SqlEventLogStorageTable.insert().returning(column, sort_by_parameter_order=True)
        ids = index.execute(statement, rows).scalars()
        stored = [_Stored(*one) for one in zip(events, rows, ids, strict=True)]
        assets = [one for one in stored if one.event.dagster_event_type in ASSET_EVENTS]
        self._store_asset_event_tags(index, [one.event for one in assets], [one.event_id for one in assets])
        last = {(one.row["asset_key"], one.event.dagster_event_type): one for one in assets}
        changes: dict[str, dict[str, Any]] = {}
        for (asset_key, _), one in sorted(last.items(), key=lambda item: item[1].event_id):
            has_columns = self._has_asset_key_index_cols_on_connection(index)
            values = self._get_asset_entry_values(one.event, one.event_id, has_columns)
            changes[asset_key] = changes.get(asset_key, {}) | values
        for asset_key, values in changes.items():
            if values:
                asset = insert(AssetKeyTable).values(asset_key=asset_key, **values)
                index.execute(asset.on_conflict_do_update(index_elements=["asset_key"], set_=values))
        checks = [one for one in stored if one.event.dagster_event_type in ASSET_CHECK_EVENTS]
        for way, alike in groupby(checks, _Stored.way):
            if way is None:
                for one in alike:
                    self.store_asset_check_event(one.event, one.event_id)
            else:
                index.execute(way, [row for one in alike for row in one.executions()])

    def has_table(self, table_name: str) -> bool:
        """Whether the index has a table; one that is there is not looked up again."""
        if table_name not in self._there and super().has_table(table_name):
            self._there.add(table_name)
        return table_name in self._there

    def _has_asset_key_col_on_connection(self, conn: Connection, column_name: str) -> bool:
        name = f"{AssetKeyTable.name}.{column_name}"
        if name not in self._there and super()._has_asset_key_col_on_connection(conn, column_name):
            self._there.add(name)
        return name in self._there

    def dispose(self) -> None:
        """Close what is open."""
        super().dispose()
        with self._lock:
            _close(self._engines)

    @contextmanager
    def _connect(self, shard: str) -> Iterator[Connection]:
        with self._lock:
            if shard in self._open:
                yield self._open[shard]
                return
            engine = self._engine(shard)
            if shard not in self._initialized_dbs:
                self._initdb(engine, for_index_shard=shard == INDEX_SHARD_NAME)
                self._initialized_dbs.add(shard)
            with engine.connect() as connection, connection.begin():
                self._open[shard] = connection
                try:
                    yield connection
                finally:
                    del self._open[shard]

    def _engine(self, shard: str) -> Engine:
        """The engine of a file, which keeps its connection; that of the file used longest ago is closed for it."""
        arguments = {"timeout": SQLITE_BUSY_TIMEOUT_SECONDS}
        engine = self._engines.pop(shard, None) or create_engine(
            self.conn_string_for_shard(shard), connect_args=arguments
        )
        self._engines[shard] = engine
        if len(self._engines) > KEPT_ENGINES:
            self._engines.pop(next(iter(self._engines))).dispose()
        return engine

    def _initdb(self, engine: Engine, for_index_shard: bool = False) -> None:
        """Make the tables of a file that has none yet: a run's as the index has them, which takes one transaction."""
        file = str(engine.url.database)
        if not (is_made(Path(file)) if for_index_shard else self._is_like_index(file)):
            # Dagster looks for a revision and then adds its own: two at once would add two, which no process can read
            folder = os.open(self._base_dir, os.O_RDONLY)
            try:
                fcntl.flock(folder, fcntl.LOCK_EX)
                super()._initdb(engine, for_index_shard)
            finally:
                os.close(folder)

    def _is_like_index(self, file: str) -> bool:
        """Whether a run's file has the index's tables, made now if it has none; one of another version is Dagster's."""
        with self.index_connection() as index:
            schema = index.execute(text(SCHEMA)).scalars().all()
            revision = index.execute(text(REVISION)).scalar()
        with closing(sqlite3.connect(file, SQLITE_BUSY_TIMEOUT_SECONDS, isolation_level=None)) as run:
            run.execute("PRAGMA journal_mode=WAL")
            run.execute("BEGIN IMMEDIATE")  # another process may be at it
            if not run.execute("SELECT 1 FROM sqlite_master").fetchone():
                for statement in schema:
                    run.execute(statement)
                run.execute(STAMP, (revision,))
            is_like_index = revision_of(run) == revision
            run.execute("COMMIT")
        return is_like_index


def _close(engines: dict[str, Engine]) -> None:
    for engine in engines.values():
        engine.dispose()
    engines.clear()


class _Stored(NamedTuple):
    """An event, its row, and the row's id in the index."""

    event: dg.EventLogEntry
    row: dict[str, Any]
    event_id: int

    def way(self) -> Insert | None:
        """How the executions of a check are stored; None is Dagster's own way, which looks for what was planned."""
        event = self.event.get_dagster_event()
        if event.event_type == DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED:
            return PLAN
        # without a partition no two rows are in conflict; there is one such event for each check of a run
        return EVALUATE if self.event.run_id and event.asset_check_evaluation_data.partition is not None else None

    def executions(self) -> list[dict[str, Any]]:
        """The rows of a check's executions: of each planned partition, or of the evaluated one."""
        data: Any = self.event.get_dagster_event().event_specific_data
        row = {
            "asset_key": data.asset_key.to_string(),
            "check_name": data.check_name,
            "run_id": self.event.run_id,
            "evaluation_event": self.row["event"],
            "evaluation_event_timestamp": self.row["timestamp"],
            "evaluation_event_storage_id": self.event_id,
        }
        if isinstance(data, AssetCheckEvaluationPlanned):
            keys = data.partitions_subset.get_partition_keys() if data.partitions_subset else [None]
            return [row | {"partition": key, "execution_status": Status.PLANNED.value} for key in keys]
        status = Status.SUCCEEDED if data.passed else Status.FAILED
        target = data.target_materialization_data and data.target_materialization_data.storage_id
        outcome = {"execution_status": status.value, "materialization_event_storage_id": target}
        return [row | outcome | {"partition": data.partition}]
