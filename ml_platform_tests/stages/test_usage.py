"""What a stage takes stands in the metadata of each partition, as numbers."""

from datetime import date
from pathlib import Path
from time import process_time, sleep

import dagster as dg
import polars as pl

from ml_platform.stages.attributes import asset_key
from ml_platform.stages.usage import Meter
from ml_platform_tests.tiny_project import CUTOFF, FIRST, ROWS, Variant, payments, run, tiny_project

NUMBERS = ("wall_seconds", "cpu_seconds", "peak_memory_bytes", "rows_in", "bytes_in")


def test_a_lap_has_the_seconds_and_the_rows_since_the_one_before() -> None:
    meter = Meter()
    meter.read(pl.DataFrame({"a": range(1_000)}))
    sleep(0.05)
    begin = process_time()
    while process_time() - begin < 0.05:
        pass
    usage = meter.lap()
    assert usage.wall_seconds >= 0.1
    assert 0.05 <= usage.cpu_seconds <= usage.wall_seconds + 0.02  # the clocks differ by a tick
    assert (usage.rows_in, usage.bytes_in) == (1_000, 8_000)
    assert usage.peak_memory_bytes > 10_000_000
    after = meter.lap()
    assert (after.rows_in, after.bytes_in) == (0, 0)
    assert after.wall_seconds < usage.wall_seconds


def test_partitions_share_the_cost_and_have_rows_of_their_own(tmp_path: Path) -> None:
    def rows(day: date) -> pl.DataFrame:
        return payments(day).head(100 if day == FIRST else ROWS)

    with tiny_project(tmp_path, {"shop": Variant(rows=rows)}) as project:
        run(project, "shop", "raw_data", "validated_data", "features", "model")
        case = project.work("shop").use_case
        found = {}
        for stage in ("raw_data", "quarantine", "validated_data", "features", "model"):
            records = project.instance.fetch_materializations(asset_key(case, stage), limit=100).records
            found[stage] = {
                one.partition_key: {name: value.value for name, value in one.asset_materialization.metadata.items()}
                for one in records
                if one.asset_materialization
            }
        first, second = f"{FIRST}", "2024-01-02"
        for stage in ("raw_data", "validated_data", "features"):
            one, other = found[stage][first], found[stage][second]
            assert all(one[name] == other[name] > 0 for name in NUMBERS if name != "rows_in"), stage
            assert (one["rows_out"], other["rows_out"]) == (100, ROWS)
            assert 2.9 < other["bytes_out"] / one["bytes_out"] < 3.1
            assert one["wall_seconds"] < 60
        assert "wall_seconds" not in found["quarantine"][first]  # it is made with validated_data
        assert found["quarantine"][first]["rows_out"] == 0
        model = found["model"][CUTOFF]
        assert model["rows_in"] == model["rows"]
        assert "rows_out" not in model

        before = found["features"][second]
        run(project, "shop", "raw_data", "validated_data", "features")
        (newest,) = project.instance.fetch_materializations(
            dg.AssetRecordsFilter(asset_key(case, "features"), asset_partitions=[second]), limit=1
        ).records
        assert newest.asset_materialization
        metadata = newest.asset_materialization.metadata
        assert metadata["unchanged"].value is True
        assert metadata["wall_seconds"].value == before["wall_seconds"]  # what it took when it was computed
