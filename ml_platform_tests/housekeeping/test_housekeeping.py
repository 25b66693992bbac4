from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from ml_platform.cli.project import Project
from ml_platform.cli.run import run_use_case
from ml_platform.housekeeping.job import commits_needed, remove_models
from ml_platform.housekeeping.records import prune_records
from ml_platform.resources.lake import Table
from ml_platform.resources.unused_runs import remove_unused_runs
from ml_platform.stages.features import build
from ml_platform.stages.history import explain
from ml_platform.versions.reproduce import reproduce
from ml_platform_tests.tiny_project import FIRST, Variant, tiny_project


def test_the_newest_record_of_each_partition_outlives_its_run(registered: Project) -> None:
    instance, work = registered.instance, registered.work("payments")
    stage = build(work.use_case)
    succeeded, _ = run_use_case(registered, "payments", None, "2018-04-29", quiet=True)  # nothing has changed
    assert succeeded
    runs = instance.get_runs_count()
    key = dg.AssetKey(["payments", "features"])
    before = instance.get_materialized_partitions(key), explain(work, stage, "2018-04-20")[-1]
    verdicts = sorted(map(repr, red(registered)))
    removed = prune_records(instance, datetime.now(UTC))
    assert 0 < removed == runs - instance.get_runs_count()
    assert (instance.get_materialized_partitions(key), explain(work, stage, "2018-04-20")[-1]) == before
    assert sorted(map(repr, red(registered))) == verdicts
    assert prune_records(instance, datetime.now(UTC)) == 0
    succeeded, outcome = run_use_case(registered, "payments", None, "2018-04-29", quiet=True)
    assert succeeded
    assert not outcome.has_changed


def test_a_run_that_goes_on_is_left_alone(registered: Project) -> None:
    run = registered.instance.create_run_for_job(registered.job, status=dg.DagsterRunStatus.STARTED)
    prune_records(registered.instance, datetime.now(UTC) + timedelta(days=1))
    assert registered.instance.get_run_by_id(run.run_id) is not None


def red(project: Project) -> list[object]:
    checks = list(project.definitions.resolve_asset_graph().asset_check_keys)
    found = project.instance.event_log_storage.get_asset_check_partition_info(checks)
    return [(one.check_key, one.partition_key, one.latest_execution_status) for one in found]


def test_what_a_version_was_trained_on_outlives_its_commit(registered: Project) -> None:
    work = registered.work("payments")
    table = work.lake.table(dg.AssetKey(["payments", "features"]))
    trained = commits_needed(work, work.tracking.versions("payments"))
    rows = table.scan().collect()
    for _ in range(2):  # the second makes the first one's files needless
        days = rows["partition"].unique().to_list()
        table.overwrite(rows.with_columns(pl.col("TX_AMOUNT") + 1), days)
    between = table.version() - 1
    assert table.vacuum(timedelta(0), trained) == rows["partition"].n_unique()
    assert table.scan().collect().height == rows.height
    assert all(table.scan(version=commit).collect().height for commit in trained)
    with pytest.raises(Exception, match="No such file"):
        table.scan(version=between).collect()
    assert reproduce(work, work.tracking.versions("payments")[0]).equal
    assert table.vacuum(timedelta(0), trained) == 0


def test_young_files_are_kept(tmp_path: Path) -> None:
    table = Table(str(tmp_path / "t"), {})
    for number in range(3):
        table.overwrite(pl.DataFrame({"a": [number]}), None)
    assert table.vacuum(timedelta(hours=1)) == 0
    assert table.scan(version=0).collect()["a"].to_list() == [0]


def test_commits_are_not_forgotten_by_themselves(tmp_path: Path) -> None:
    table = Table(str(tmp_path / "t"), {})
    for number in range(101):  # deltalake would forget old commits at its checkpoint after a hundred
        table.overwrite(pl.DataFrame({"a": [number]}), None)
    from deltalake import DeltaTable

    assert DeltaTable(table.address).metadata().configuration == {"delta.enableExpiredLogCleanup": "false"}
    assert table.scan(version=0).collect()["a"].to_list() == [0]


def test_models_that_nothing_refers_to_are_removed_with_their_files(registered: Project) -> None:
    import mlflow

    work = registered.work("payments")
    client = mlflow.MlflowClient(work.tracking.uri)
    experiment = client.get_experiment_by_name("payments")
    assert experiment is not None
    kept = {one.info.run_id for one in client.search_runs([experiment.experiment_id])}
    failed = client.create_run(experiment.experiment_id)
    client.log_text(failed.info.run_id, "half", "half.txt")
    client.set_terminated(failed.info.run_id, "FAILED")
    file = Path(failed.info.artifact_uri.removeprefix("file://")) / "half.txt"
    assert file.exists()
    now = datetime.now(UTC) + timedelta(seconds=1)
    assert remove_models(work, now - timedelta(days=1)) == 0
    assert remove_models(work, now) == 1
    assert not file.exists()
    assert {one.info.run_id for one in client.search_runs([experiment.experiment_id])} == kept
    assert reproduce(work, work.tracking.versions("payments")[0]).equal


def test_the_job_removes_all_three_and_says_how_many(registered: Project) -> None:
    job = registered.definitions.resolve_job_def("housekeeping")
    config = {"ops": {"housekeeping_step": {"config": {"runs": 0}}}}
    result = job.execute_in_process(instance=registered.instance, run_config=config)
    (output,) = [one for one in result.all_events if one.event_type_value == "STEP_OUTPUT"]
    removed = {name: value.value for name, value in output.step_output_data.metadata.items()}
    assert (removed["files_removed"], removed["models_removed"]) == (0, 0)
    assert len(registered.instance.get_materialized_partitions(dg.AssetKey(["payments", "features"]))) == 29


def test_what_mlflow_alone_can_remove_is_told(registered: Project) -> None:
    work = registered.work("payments")
    elsewhere = replace(work, tracking=work.tracking.model_copy(update={"uri": "http://127.0.0.1:1"}))
    with pytest.raises(ValueError, match="is a server, and no database: run `mlflow gc` on its machine"):
        remove_unused_runs(elsewhere.tracking, "payments", [], datetime.now(UTC))


@pytest.fixture
def ninety_days(tmp_path: Path) -> Iterator[Project]:
    variant = Variant(
        {"partitions": {"every": "day", "start": FIRST, "end": FIRST + timedelta(days=90)}},
        rows=lambda day: pl.DataFrame(
            {
                "id": [(day - date(2020, 1, 1)).days],
                "at": [datetime.combine(day, datetime.min.time())],
                "amount": [1.0],
                "other": [1.0],
                "city": ["Bern"],
                "terminal": [1],
                "fraud": [0],
            }
        ),
        days=90,
    )
    with tiny_project(tmp_path, {"ninety": variant}) as project:
        yield project


def test_the_size_of_the_records_levels_off(ninety_days: Project) -> None:
    instance, kept = ninety_days.instance, 5
    began: list[datetime] = []
    sizes: list[int] = []
    for number in range(0, 90, 3):
        first, last = (f"{FIRST + timedelta(days=number + more)}" for more in (0, 2))
        began.append(datetime.now(UTC))
        succeeded, _ = run_use_case(ninety_days, "ninety", first, last, stages=["raw_data"], quiet=True)
        assert succeeded
        if len(began) > kept:
            prune_records(instance, began[-kept])
        sizes.append(size(Path(instance.root_directory)))
    assert len(instance.get_materialized_partitions(dg.AssetKey(["ninety", "raw_data"]))) == 90
    # what still grows is the newest record of each partition
    assert sizes[29] - sizes[24] < 0.3 * (sizes[4] - sizes[0])


def size(folder: Path) -> int:
    """The bytes of all files below a folder."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
