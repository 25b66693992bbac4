"""The kept engines change the speed of Dagster's event log, not what is in it."""

from pathlib import Path

import dagster as dg
import pytest

from ml_platform.partitions import accepted_previews

ROOT = Path(__file__).parents[1]
DAYS = dg.DailyPartitionsDefinition("2024-01-01", end_date="2024-01-06")

with accepted_previews():

    @dg.asset(partitions_def=DAYS, backfill_policy=dg.BackfillPolicy.single_run())
    def numbers(context: dg.AssetExecutionContext) -> None:
        context.log.info(f"{len(context.partition_keys)} days")


def test_what_is_stored_is_what_dagsters_own_storage_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    (tmp_path / "dagster.yaml").write_text((ROOT / "dagster.yaml").read_text())
    tags = {"dagster/asset_partition_range_start": "2024-01-01", "dagster/asset_partition_range_end": "2024-01-05"}
    with dg.DagsterInstance.get() as instance:
        assert type(instance.event_log_storage).__name__ == "KeptEnginesEventLogStorage"
        run_id = dg.materialize([numbers], instance=instance, tags=tags).run_id
        stored = [entry.message for entry in instance.all_logs(run_id)]

    (tmp_path / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    with dg.DagsterInstance.get() as instance:
        assert type(instance.event_log_storage).__name__ == "SqliteEventLogStorage"
        assert [entry.message for entry in instance.all_logs(run_id)] == stored
        assert len(stored) > 10
        assert instance.get_materialized_partitions(numbers.key) == set(DAYS.get_partition_keys())
