"""Batches and open connections change the speed of Dagster's event log, not what is in it."""

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import closing
from itertools import count
from multiprocessing import get_context
from pathlib import Path
from queue import SimpleQueue
from threading import Barrier
from typing import Any

import dagster as dg
import psutil
import pytest
from dagster._core.definitions.asset_checks.asset_check_evaluation import (
    AssetCheckEvaluationPlanned,
    AssetCheckEvaluationTargetMaterializationData,
)
from dagster._core.events import (
    AssetMaterializationPlannedData,
    AssetObservationData,
    DagsterEvent,
    DagsterEventType,
    StepMaterializationData,
)
from dagster._core.storage.event_log import SqliteEventLogStorage
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sqlalchemy.exc import IntegrityError

from ml_platform.event_log import KEPT_ENGINES, BatchedSqliteEventLogStorage
from ml_platform.partitions import accepted_previews

ROOT = Path(__file__).parents[1]
DAYS = dg.DailyPartitionsDefinition("2024-01-01", end_date="2024-01-06")
KEYS = DAYS.get_partition_keys()
NUMBERS = dg.AssetKey("numbers")
NUMBER = count(1)

with accepted_previews():

    @dg.asset(
        partitions_def=DAYS,
        backfill_policy=dg.BackfillPolicy.single_run(),
        check_specs=[dg.AssetCheckSpec("positive", asset="numbers", partitions_def=DAYS)],
    )
    def numbers(context: dg.AssetExecutionContext) -> Iterator[Any]:
        for key in context.partition_keys:
            context.log_event(dg.AssetCheckEvaluation(NUMBERS, "positive", key != "2024-01-03", {}, partition=key))
        yield dg.Output(None, output_name="numbers_positive")
        yield dg.MaterializeResult()


def test_what_is_stored_is_what_dagsters_own_storage_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    monkeypatch.setenv("DAGSTER_EVENT_BATCH_SIZE", "1000")
    (tmp_path / "dagster.yaml").write_text((ROOT / "dagster.yaml").read_text())
    tags = {"dagster/asset_partition_range_start": KEYS[0], "dagster/asset_partition_range_end": KEYS[-1]}
    with dg.DagsterInstance.get() as instance:
        assert type(instance.event_log_storage) is BatchedSqliteEventLogStorage
        run_id = dg.materialize([numbers], instance=instance, tags=tags).run_id
        stored = [entry.message for entry in instance.all_logs(run_id)]
    assert "Falling back" not in capsys.readouterr().err

    (tmp_path / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    with dg.DagsterInstance.get() as instance:
        assert type(instance.event_log_storage) is SqliteEventLogStorage
        assert [entry.message for entry in instance.all_logs(run_id)] == stored
        assert instance.get_materialized_partitions(NUMBERS) == set(KEYS)
        checks = instance.event_log_storage.get_asset_check_execution_history(
            dg.AssetCheckKey(NUMBERS, "positive"), limit=10
        )
        assert {check.partition: check.status.value for check in checks} == {
            key: "FAILED" if key == "2024-01-03" else "SUCCEEDED" for key in KEYS
        }


def test_it_makes_nothing_until_an_instance_has_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    BatchedSqliteEventLogStorage.from_config_value(None, {})
    assert list(tmp_path.iterdir()) == []


def entry(run_id: str, kind: DagsterEventType, data: Any = None) -> dg.EventLogEntry:
    number = next(NUMBER)
    event = DagsterEvent(kind.value, "job", step_key="step", event_specific_data=data, message=f"event {number}")
    return dg.EventLogEntry(None, 10, "", run_id, 1.7e9 + number, "step", "job", event)


def materialization(run_id: str, asset: str, partition: str | None, passed: bool = True) -> dg.EventLogEntry:
    value = dg.AssetMaterialization(
        asset, partition=partition, metadata={"passed": passed}, tags={"dagster/data_version": str(partition)}
    )
    return entry(run_id, DagsterEventType.ASSET_MATERIALIZATION, StepMaterializationData(value))


def observation(run_id: str, asset: str, partition: str | None, passed: bool) -> dg.EventLogEntry:
    value = dg.AssetObservation(asset, partition=partition, tags={"dagster/data_version": str(passed)})
    return entry(run_id, DagsterEventType.ASSET_OBSERVATION, AssetObservationData(value))


def planned(run_id: str, asset: str, partition: str | None, _: bool) -> dg.EventLogEntry:
    data = AssetMaterializationPlannedData(dg.AssetKey(asset), partition=partition)
    return entry(run_id, DagsterEventType.ASSET_MATERIALIZATION_PLANNED, data)


def evaluation(run_id: str, asset: str, partition: str | None, passed: bool) -> dg.EventLogEntry:
    target = (
        AssetCheckEvaluationTargetMaterializationData(storage_id=7, run_id="other", timestamp=1.6e9) if passed else None
    )
    data = dg.AssetCheckEvaluation(dg.AssetKey(asset), "check", passed, {}, target, partition=partition)
    return entry(run_id, DagsterEventType.ASSET_CHECK_EVALUATION, data)


def planned_check(run_id: str, asset: str, whole: bool) -> dg.EventLogEntry:
    subset = None if whole else DAYS.subset_with_partition_keys(KEYS[:3]).to_serializable_subset()
    data = AssetCheckEvaluationPlanned(asset_key=dg.AssetKey(asset), check_name="check", partitions_subset=subset)
    return entry(run_id, DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED, data)


def ordinary(run_id: str, asset: str, _: str | None, started: bool) -> dg.EventLogEntry:
    if asset == "a":
        return dg.EventLogEntry(None, 10, "said by a step", run_id, 1.7e9 + next(NUMBER))
    return entry(run_id, DagsterEventType.RUN_START if started else DagsterEventType.STEP_UP_FOR_RETRY)


ASSETS = st.sampled_from(["a", "b"])
KINDS = st.sampled_from([materialization, observation, planned, evaluation, ordinary])
LATER = st.lists(st.tuples(KINDS, ASSETS, st.sampled_from([KEYS[0], KEYS[4], None]), st.booleans()), max_size=12)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return tmp_path_factory.mktemp("batched"), tmp_path_factory.mktemp("own")


@settings(max_examples=10, deadline=None)
@example(first={("a", True)}, later=[(evaluation, "a", None, True)] * 2, cut=2)
@given(first=st.sets(st.tuples(ASSETS, st.booleans())), later=LATER, cut=st.integers(1, 20))
def test_a_batch_is_its_events_one_by_one(
    pair: tuple[Path, Path], first: set[tuple[str, bool]], later: list[Any], cut: int
) -> None:
    batched, own = BatchedSqliteEventLogStorage(str(pair[0])), SqliteEventLogStorage(str(pair[1] / "history" / "runs"))
    run_id = f"run {next(NUMBER)}"
    events = [materialization(run_id, "a", None)]
    events += [planned_check(run_id, *one) for one in sorted(first)] + [kind(run_id, *one) for kind, *one in later]
    for batch in (events[:cut], events[cut:]):
        if batch:
            batched.store_event_batch(batch)
    for event in events:
        own.store_event(event)
    assert contents(pair[0], run_id) == contents(pair[1], run_id)
    assert [one.message for one in batched.get_logs_for_run(run_id)] == [event.message for event in events]


def contents(folder: Path, run_id: str) -> dict[tuple[str, str], list[dict[str, Any]]]:
    found = {}
    for shard in (run_id, "index"):
        with sqlite3.connect(folder / "history" / "runs" / f"{shard}.db") as database:
            database.row_factory = sqlite3.Row
            for table in ("event_logs", "asset_keys", "asset_event_tags", "asset_check_executions"):
                rows = [dict(row) for row in database.execute(f"SELECT * FROM {table}")]  # noqa: S608
                found[shard, table] = sorted(
                    ({name: row[name] for name in row if name not in ("id", "create_timestamp")} for row in rows),
                    key=str,
                )
        database.close()
    return found


def test_the_file_of_a_run_has_the_tables_that_dagster_makes(tmp_path: Path) -> None:
    batched, own = BatchedSqliteEventLogStorage(str(tmp_path / "a")), SqliteEventLogStorage(str(tmp_path / "b"))
    for storage in (batched, own):
        storage.store_event(materialization("run", "a", None))
    assert tables(batched) == tables(own)


def tables(storage: SqliteEventLogStorage) -> tuple[set[str], list[str]]:
    with closing(sqlite3.connect(storage.path_for_shard("run"))) as file:
        statements = file.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall()
        return {str(one) for (one,) in statements}, file.execute("SELECT * FROM alembic_version").fetchall()


def test_who_watches_a_run_sees_each_event_at_once(tmp_path: Path) -> None:
    storage, seen = BatchedSqliteEventLogStorage(str(tmp_path)), SimpleQueue[str]()
    watcher = BatchedSqliteEventLogStorage(str(tmp_path))
    watcher.watch("run", None, lambda event, _: seen.put(event.message))
    for event in (materialization("run", "a", None), ordinary("run", "b", None, True)):
        storage.store_event(event)
        assert seen.get(timeout=10) == event.message
    watcher.dispose()


KEPT_UNTIL_THE_END = """
import atexit
import os
import sys

atexit.register(os._exit, 0)  # first, as the command line does

from ml_platform.event_log import BatchedSqliteEventLogStorage
from ml_platform_tests.test_event_log import materialization

storage = BatchedSqliteEventLogStorage(sys.argv[1])
storage.itself = storage
storage.store_event(materialization("run", "a", None))
"""


def test_a_process_that_ends_leaves_no_log_beside_its_files(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", KEPT_UNTIL_THE_END, tmp_path], check=True, cwd=ROOT)
    assert {file.name for file in (tmp_path / "history" / "runs").iterdir()} == {"index.db", "run.db"}


def test_no_more_files_stay_open_than_are_used(tmp_path: Path) -> None:
    storage = BatchedSqliteEventLogStorage(str(tmp_path))
    for number in range(3 * KEPT_ENGINES):
        storage.store_event(materialization(f"run {number}", "a", None))
    opened = {Path(file.path).name for file in psutil.Process().open_files() if str(tmp_path) in file.path}
    assert len({name for name in opened if name.endswith(".db")}) == KEPT_ENGINES
    storage.dispose()
    assert not [file for file in psutil.Process().open_files() if str(tmp_path) in file.path]
    assert not list((tmp_path / "history" / "runs").glob("*.db-wal"))


def test_of_a_batch_that_is_refused_nothing_is_left(tmp_path: Path) -> None:
    storage = BatchedSqliteEventLogStorage(str(tmp_path))
    twice = [planned_check("run", "a", whole=False), planned_check("run", "a", whole=False)]
    with pytest.raises(IntegrityError):
        storage.store_event_batch([materialization("run", "a", "2024-01-01"), *twice])
    assert not any(contents(tmp_path, "run").values())


def test_many_that_make_the_file_at_once_make_one(tmp_path: Path) -> None:
    begin = Barrier(8)

    def make(_: int) -> int | None:
        begin.wait()
        return BatchedSqliteEventLogStorage(str(tmp_path)).get_maximum_record_id()

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(make, range(8))) == [None] * 8
    with closing(sqlite3.connect(tmp_path / "history" / "runs" / "index.db")) as index:
        assert len(index.execute("SELECT version_num FROM alembic_version").fetchall()) == 1


def store(folder: Path, run_id: str) -> None:
    storage = BatchedSqliteEventLogStorage(str(folder))
    for _ in range(10):
        storage.store_event_batch([materialization(run_id, "a", f"{run_id} {n}") for n in range(20)])


def test_two_processes_at_once_lose_nothing(tmp_path: Path) -> None:
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        list(pool.map(store, [tmp_path] * 2, ["one", "two"]))
    storage = BatchedSqliteEventLogStorage(str(tmp_path))
    assert [len(storage.get_logs_for_run(run_id)) for run_id in ("one", "two")] == [200, 200]
    assert len(contents(tmp_path, "one")["index", "event_logs"]) == 400
    assert storage.get_materialized_partitions(dg.AssetKey("a")) == {
        f"{run} {n}" for run in ("one", "two") for n in range(20)
    }
