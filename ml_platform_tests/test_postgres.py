"""Dagster and MLflow on a real PostgreSQL: models, and a daemon that dies in mid-backfill."""

import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic, sleep, time
from uuid import uuid4

import dagster as dg
import pytest
from dagster._core.execution.backfill import BulkActionStatus, PartitionBackfill
from sqlalchemy import create_engine, text

from ml_platform.cli.project import Project, environment
from ml_platform.housekeeping.records import prune_records
from ml_platform_tests.services import postgres  # noqa: F401 - a fixture
from ml_platform_tests.tiny_project import FIRST, Variant, tiny_project, told

REPOSITORY = Path(__file__).parent.parent
DAYS = [f"{FIRST + timedelta(days=number)}" for number in range(7)]
STAGES = ("raw_data", "quarantine", "validated_data", "features")
SLOW = """
import time

import polars as pl


def build(rows: pl.DataFrame) -> pl.DataFrame:
    time.sleep(6)  # so that the daemon can die meanwhile
    return rows.select("id", "at", "fraud", "amount")
"""


@pytest.fixture
def project(postgres: str, tmp_path: Path) -> Iterator[Project]:  # noqa: F811 - that fixture
    server = create_engine(postgres, isolation_level="AUTOCOMMIT")
    with server.connect() as connection:
        made = {name: f"{name}_{uuid4().hex}" for name in ("dagster", "mlflow")}
        for name in made.values():
            connection.execute(text(f"create database {name}"))
    server.dispose()
    shutil.copy(REPOSITORY / "docs" / "dagster.postgres.yaml", tmp_path / "dagster.yaml")
    package = f"project_{tmp_path.name.replace('-', '_')}"
    (tmp_path / "workspace.yaml").write_text(f"load_from: [{{python_module: {package}.definitions}}]\n")
    variables = {
        "DAGSTER_POSTGRES": postgres.replace("/postgres", f"/{made['dagster']}"),
        "MLFLOW_TRACKING_URI": postgres.replace("/postgres", f"/{made['mlflow']}"),
    }
    with tiny_project(tmp_path, {"slow": Variant(features=SLOW), "quick": Variant(days=8)}, **variables) as opened:
        yield opened


# how Dagster makes a backfill of its own; drop when it no longer does
@pytest.mark.filterwarnings("ignore:Function `AssetSelection.sources` is deprecated")
def test_a_daemon_that_dies_in_mid_backfill_loses_nothing_and_does_nothing_twice(project: Project) -> None:
    instance = project.instance
    backfill = f"{uuid4()}"[:8]
    graph = project.definitions.resolve_asset_graph()
    keys = [dg.AssetKey(["slow", stage]) for stage in STAGES]
    instance.add_backfill(
        PartitionBackfill.from_asset_partitions(
            asset_graph=graph,
            backfill_id=backfill,
            tags={},
            backfill_timestamp=time(),
            asset_selection=keys,
            partition_names=DAYS,
            dynamic_partitions_store=instance,
            all_partitions=False,
            title=None,
            description=None,
            run_config=None,
        )
    )
    with daemon(project) as first:
        wait(lambda: "slow/validated_data" in published(project))
        os.kill(first.pid, signal.SIGKILL)
    with daemon(project):
        wait(lambda: instance.get_backfill(backfill).status not in {BulkActionStatus.REQUESTED})
    assert instance.get_backfill(backfill).status == BulkActionStatus.COMPLETED_SUCCESS
    computed = Counter(
        (one.asset_key.path[-1], one.partition_key)
        for key in keys
        for one in instance.fetch_materializations(key, limit=1000).records
        if "unchanged" not in one.asset_materialization.metadata
    )
    assert computed == Counter({(stage, day): 1 for stage in STAGES for day in DAYS})
    prune_records(instance, datetime.now(UTC))
    assert len(instance.get_materialized_partitions(keys[-1])) == len(DAYS)
    rows = project.work("slow").rows("features", DAYS).collect()
    assert rows["id"].n_unique() == rows.height == 300 * len(DAYS)


def test_a_model_is_trained_judged_moved_and_reproduced(project: Project) -> None:
    for day in ("2024-01-07", "2024-01-08"):
        told("run", "quick", "--to", day)
    assert project.work("quick").rows("predictions", ["2024-01-08"]).collect().height == 300
    assert told("rollback", "quick", "--why", "it was better")["version"] == 1
    assert [one["event"] for one in told("history", "quick")] == ["promoted", "promoted", "rolled_back"]
    assert told("reproduce", "quick@2")["equal"] is True


def published(project: Project) -> set[str]:
    """The assets of which anything was published so far."""
    return {key.to_user_string() for key in project.instance.all_asset_keys()}


@contextmanager
def daemon(project: Project) -> Iterator[subprocess.Popen[bytes]]:
    """The daemon, until it is killed or the block ends."""
    command = [str(Path(sys.executable).with_name("dagster-daemon")), "run", "-w", "workspace.yaml"]
    variables = {**os.environ, **environment(project.folder)}
    with (project.folder / "daemon.log").open("a") as log:
        process = subprocess.Popen(command, cwd=project.folder, env=variables, stdout=log, stderr=log)
        try:
            yield process
        finally:
            process.terminate()
            process.wait(30)


def wait(look: Callable[[], bool], seconds: float = 240) -> None:
    """Wait until something is so."""
    end = monotonic() + seconds
    while not look():
        assert monotonic() < end, "it took too long"
        sleep(0.2)
