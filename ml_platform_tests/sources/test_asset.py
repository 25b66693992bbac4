"""Another Dagster asset as raw data: loaded by its own I/O manager, and made again when it is."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from ml_platform.cli.project import Project
from ml_platform.cli.run import run_use_case
from ml_platform.components.use_case import stage_definitions
from ml_platform.resources.lake import Lake
from ml_platform.stages.history import explain
from ml_platform_tests.conftest import opened
from ml_platform_tests.projects import write_project, write_use_case

UPSTREAM = """
import os

import dagster as dg
import pandas as pd
import polars as pl
import pyarrow as pa


def sales(first, last):
    at = pl.datetime_range(first, last, "6h", closed="left", eager=True)
    amount = float(os.environ.get("AMOUNT", "1.5"))
    return pl.DataFrame({"id": range(at.len()), "at": at, "amount": [amount] * at.len()})


DAYS = dg.DailyPartitionsDefinition("2024-01-01", end_date="2024-01-04")


@dg.asset(key_prefix="shop-2", partitions_def=DAYS)
def daily(context: dg.AssetExecutionContext) -> pd.DataFrame:
    window = context.partition_time_window
    return sales(window.start.replace(tzinfo=None), window.end.replace(tzinfo=None)).to_pandas()


@dg.asset(key_prefix="shop-2")
def whole() -> pa.Table:
    from datetime import datetime

    return sales(datetime(2024, 1, 1), datetime(2024, 1, 4)).to_arrow()


@dg.asset(key_prefix="shop-2")
def no_frame() -> int:
    return 7
"""

YAML = """
type: ml_platform.components.UseCase
attributes:
  name: {name}
  task: regression
  source: {{type: asset, key: {key}}}
  partitions: {partitions}
  contract:
    key: [id]
    event_time: at
    columns: {{id: {{type: int64}}, at: {{type: datetime}}, amount: {{type: float64}}}}
  label: {{column: amount}}
  model: {{estimator: sklearn.linear_model.Ridge, train_on: 1 day, hold_out: 1 day}}
  registry: {{name: {name}}}
"""
DAYS = "{every: day, start: 2024-01-01, end: 2024-01-04}"
USE_CASES = {
    "by_day": ("shop-2/daily", DAYS),
    "cut": ("shop-2/whole", DAYS),
    "at_once": ("shop-2/whole", "none"),
    "all_days": ("shop-2/daily", "none"),
    "no_frame": ("shop-2/no_frame", "none"),
    "nowhere": ("shop-2/nowhere", "none"),
}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    package = f"upstream_{tmp_path.name}"
    write_project(tmp_path, package)
    (tmp_path / package / "defs" / "upstream.py").write_text(UPSTREAM)
    for name, (key, partitions) in USE_CASES.items():
        write_use_case(tmp_path, package, name, YAML.format(name=name, key=key, partitions=partitions))
    yield from opened(tmp_path, monkeypatch)


def materialize(project: Project, name: str, *partitions: str) -> None:
    for partition in partitions or (None,):
        result = project.job.execute_in_process(
            instance=project.instance, asset_selection=[dg.AssetKey(["shop-2", name])], partition_key=partition
        )
        assert result.success


def run(project: Project, name: str) -> tuple[bool, Any]:
    return run_use_case(project, name, None, None, stages=["raw_data"], quiet=True)


def ids(project: Project, name: str) -> list[int]:
    table = Lake(root=str(project.folder / ".ml_platform" / "lake")).table(dg.AssetKey([name, "raw_data"]))
    return sorted(table.scan().collect()["id"]) if table.exists() else []


def said(outcome: Any) -> dict[str | None, str]:
    return {one.partition: one.reason for one in outcome.checks if not one.passed}


def test_each_partition_is_made_of_that_of_the_asset(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    succeeded, outcome = run(project, "by_day")
    never = "the asset shop-2/daily was never materialized; materialize it first."
    assert (succeeded, set(said(outcome).values())) == (False, {never})

    materialize(project, "daily", "2024-01-01", "2024-01-02")
    succeeded, outcome = run(project, "by_day")
    missing = "the asset shop-2/daily has no partition 2024-01-03; materialize it first."
    assert (succeeded, said(outcome)) == (False, {"2024-01-03": missing})
    assert ids(project, "by_day") == [0, 0, 1, 1, 2, 2, 3, 3]

    monkeypatch.setenv("AMOUNT", "2.5")
    materialize(project, "daily", "2024-01-02", "2024-01-03")
    succeeded, outcome = run(project, "by_day")
    assert succeeded
    assert (outcome.stages["raw_data"].partitions, outcome.stages["raw_data"].unchanged) == (3, 1)

    work = project.work("by_day")
    stage = stage_definitions(work.use_case)["data"][0]
    assert explain(work, stage, "2024-01-03")[-1] == "It is up to date: a run would skip it."
    materialize(project, "daily", "2024-01-03")
    assert explain(work, stage, "2024-01-03")[-1] == "A run would compute it: data changed: source."


def test_an_asset_without_partitions_is_cut_by_event_time_or_taken_at_once(project: Project) -> None:
    materialize(project, "whole")
    for name in ("cut", "at_once"):
        succeeded, outcome = run(project, name)
        assert succeeded, said(outcome)
        assert ids(project, name) == list(range(12))


def test_without_partitions_all_those_of_the_asset_are_taken(project: Project) -> None:
    materialize(project, "daily", "2024-01-01", "2024-01-03")
    succeeded, outcome = run(project, "all_days")
    assert succeeded, said(outcome)
    assert ids(project, "all_days") == [0, 0, 1, 1, 2, 2, 3, 3]


def test_what_is_no_frame_or_no_asset_is_a_sentence(project: Project) -> None:
    materialize(project, "no_frame")
    project.instance.report_runless_asset_event(dg.AssetMaterialization(dg.AssetKey(["shop-2", "nowhere"])))
    for name, part in (("no_frame", "is a builtins.int; it must be one of "), ("nowhere", "")):
        succeeded, outcome = run(project, name)
        assert not succeeded
        (reason,) = said(outcome).values()
        assert reason.startswith(f"the asset shop-2/{name} cannot be loaded: ")
        assert part in reason
        assert ids(project, name) == []


def test_the_asset_is_upstream_of_raw_data(project: Project) -> None:
    graph = project.definitions.resolve_asset_graph()
    parents = {name: graph.get(dg.AssetKey([name, "raw_data"])).parent_keys for name in ("by_day", "cut")}
    assert parents == {
        "by_day": {dg.AssetKey(["shop-2", "daily"])},
        "cut": {dg.AssetKey(["shop-2", "whole"])},
    }
