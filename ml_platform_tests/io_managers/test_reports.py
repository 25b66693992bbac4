"""Reports: what is stored is what is read, by cutoff, and a reader never sees half of one."""

from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from upath import UPath

from ml_platform.io_managers.reports import ReportIOManager, dump, load
from ml_platform.ml.report import Interval, Report, Slice
from ml_platform.partitions import accepted_previews
from ml_platform.resources.lake import Lake

MONDAYS = dg.WeeklyPartitionsDefinition("2024-01-01", day_offset=1, fmt="%Y-%m-%d", end_date="2024-01-29")
WEEKLY: dict[str, Any] = {"partitions_def": MONDAYS, "backfill_policy": dg.BackfillPolicy.single_run()}
KEY = dg.AssetKey(["shop", "evaluation"])
FIRST, SECOND, THIRD = "2024-01-01", "2024-01-08", "2024-01-15"

BINARY = Report(
    run_id="9f3c",
    trained_on="2024-01-01..2024-01-14",
    held_out="25% by key, gehört",
    metrics={"roc_auc": Interval(0.1 + 0.2, 1 / 3, 2 / 3, 0.95), "log_loss": Interval(1e-17, 0.0, 5e300, 0.95)},
    baselines={"linear": {"roc_auc": 0.7, "log_loss": 0.25}, "prior": {}},
    figures={"roc_curve": bytes(range(256)), "empty": b""},
    scores=pl.DataFrame({"id": [3, 1], "label": [1.0, 0.0], "model": [0.1 + 0.2, 1 / 3], "prior": [0.5, None]}),
    threshold=1 / 3,
    slices=[
        Slice(
            "shop", "gehört <b>", 120, {"roc_auc": Interval(1 / 3, 0.1 + 0.2, 0.7, 0.99), "f1": Interval(0, 0, 1, 0.99)}
        ),
        Slice("amount", "0.5 to 1", 7, {}),
    ],
    importance={"amount": Interval(0.1 + 0.2, -1e-17, 1 / 3, 0.95)},
    findings={"increases_with_amount": "3 of 120 rows fall; größer is not better.", "one_row_ms": None},
)
MULTICLASS = replace(
    BINARY,
    threshold=None,
    scores=pl.DataFrame({"shop": ["ä", "b"], "label": [2.0, 0.0], "model": [[0.1, 0.2, 0.7], [1 / 3, 1 / 3, 1 / 3]]}),
)
WITHOUT_ROWS = replace(
    BINARY, metrics={}, baselines={}, figures={}, scores=BINARY.scores.clear(), slices=[], importance={}, findings={}
)


def assert_same(report: Report, expected: Report) -> None:
    assert_frame_equal(report.scores, expected.scores)
    for field in fields(Report):
        if field.name != "scores":
            assert getattr(report, field.name) == getattr(expected, field.name)


def files(folder: UPath) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.fixture
def folder(tmp_path: Path) -> UPath:
    return UPath(tmp_path) / "shop" / "evaluation"


@pytest.mark.parametrize("report", [BINARY, MULTICLASS, WITHOUT_ROWS], ids=["binary", "multiclass", "without_rows"])
@pytest.mark.parametrize("cutoff", [FIRST, None])
def test_what_is_stored_is_what_is_read(folder: UPath, report: Report, cutoff: str | None) -> None:
    dump(report, folder, cutoff)
    assert_same(load(folder, cutoff), report)


@pytest.mark.parametrize(("cutoff", "name"), [(FIRST, "2024-01-01"), (None, "report")])
def test_a_report_is_two_files_named_by_its_cutoff(folder: UPath, cutoff: str | None, name: str) -> None:
    dump(BINARY, folder, cutoff)
    scores, described = sorted(files(folder))
    assert described == f"{name}.json"
    assert scores.startswith(f"{name}-")
    assert scores.endswith(".parquet")


def test_an_object_store_takes_reports_too() -> None:
    folder = UPath("memory://test_reports/shop/evaluation")
    for report in (BINARY, replace(MULTICLASS, run_id="a5")):
        dump(report, folder, FIRST)
        assert_same(load(folder, FIRST), report)


def test_cutoffs_do_not_mix(folder: UPath) -> None:
    second = replace(BINARY, run_id="b7", scores=BINARY.scores.with_columns(model=0.5))
    dump(BINARY, folder, FIRST)
    dump(second, folder, SECOND)
    assert_same(load(folder, FIRST), BINARY)
    assert_same(load(folder, SECOND), second)


def test_the_report_of_a_new_model_replaces_the_old_one(folder: UPath) -> None:
    newer = replace(MULTICLASS, run_id="c1", held_out="2024-01-15..2024-01-21")
    dump(BINARY, folder, FIRST)
    dump(newer, folder, FIRST)
    assert_same(load(folder, FIRST), newer)


def killed_before_its_json(report: Report) -> Report:
    """A report whose scores can be stored and whose JSON cannot: the step dies between the two."""
    return replace(report, baselines={"linear": {"roc_auc": object()}})


def test_a_reader_sees_the_old_report_until_the_new_one_is_whole(folder: UPath) -> None:
    dump(BINARY, folder, FIRST)
    with pytest.raises(TypeError, match="not JSON serializable"):
        dump(killed_before_its_json(replace(MULTICLASS, run_id="c1")), folder, FIRST)
    assert len(files(folder)) == 3
    assert_same(load(folder, FIRST), BINARY)


def test_a_reader_sees_the_old_report_until_the_same_model_is_evaluated_again(folder: UPath) -> None:
    dump(BINARY, folder, FIRST)
    with pytest.raises(TypeError, match="not JSON serializable"):
        dump(killed_before_its_json(replace(BINARY, scores=BINARY.scores.with_columns(model=0.0))), folder, FIRST)
    assert_same(load(folder, FIRST), BINARY)


@pytest.mark.parametrize("cutoff", [FIRST, None])
def test_scores_alone_are_no_report(folder: UPath, cutoff: str | None) -> None:
    with pytest.raises(TypeError, match="not JSON serializable"):
        dump(killed_before_its_json(BINARY), folder, cutoff)
    assert len(files(folder)) == 1
    with pytest.raises(FileNotFoundError):
        load(folder, cutoff)


def evaluation(reports: Mapping[str | None, Report], *, partitioned: bool = True) -> dg.AssetsDefinition:
    def compute() -> Any:
        return reports

    with accepted_previews():
        return dg.asset(key=KEY, **(WEEKLY if partitioned else {}))(compute)


def reader(seen: list[dict[str | None, Report]], *, partitioned: bool = True) -> dg.AssetsDefinition:
    def compute(evaluation: dict[str | None, Report]) -> None:
        seen.append(evaluation)

    with accepted_previews():
        return dg.asset(name="reader", ins={"evaluation": dg.AssetIn(KEY)}, **(WEEKLY if partitioned else {}))(compute)


def run(root: Path, *assets: dg.AssetsDefinition, cutoffs: tuple[str, str] | None, only: str | None = None) -> bool:
    ends = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")
    with dg.DagsterInstance.ephemeral() as instance:
        return dg.materialize(
            assets,
            instance=instance,
            resources={"io_manager": ReportIOManager(lake=Lake(root=f"{root}/"))},
            selection=[only] if only else None,
            tags=dict(zip(ends, cutoffs, strict=True)) if cutoffs else None,
        ).success


def test_the_next_stage_gets_the_reports_of_its_cutoffs(tmp_path: Path, folder: UPath) -> None:
    seen: list[dict[str | None, Report]] = []
    reports: dict[str | None, Report] = {FIRST: BINARY, SECOND: replace(MULTICLASS, run_id="b7"), THIRD: BINARY}
    assets = [evaluation(reports), reader(seen)]
    assert run(tmp_path, *assets, cutoffs=(FIRST, THIRD))
    assert run(tmp_path, *assets, cutoffs=(SECOND, SECOND), only="reader")
    assert [list(one) for one in seen] == [[FIRST, SECOND, THIRD], [SECOND]]
    for cutoff, report in reports.items():
        assert_same(seen[0][cutoff], report)
    assert "2024-01-01.json" in files(folder)


def test_a_cutoff_without_a_report_is_left_out(tmp_path: Path) -> None:
    seen: list[dict[str | None, Report]] = []
    assets = [evaluation({FIRST: BINARY}), reader(seen)]
    run(tmp_path, *assets, cutoffs=(FIRST, FIRST), only="shop/evaluation")
    run(tmp_path, *assets, cutoffs=(FIRST, THIRD), only="reader")
    assert list(seen[0]) == [FIRST]


def test_without_partitions_there_is_one_report(tmp_path: Path) -> None:
    seen: list[dict[str | None, Report]] = []
    assets = [evaluation({None: BINARY}, partitioned=False), reader(seen, partitioned=False)]
    assert run(tmp_path, *assets, cutoffs=None)
    assert list(seen[0]) == [None]
    assert_same(seen[0][None], BINARY)


def manager(root: Path) -> ReportIOManager:
    return ReportIOManager(lake=Lake(root=f"{root}/"))


def test_a_stored_report_has_its_data_version(tmp_path: Path, folder: UPath) -> None:
    written = manager(tmp_path).write(
        dg.AssetSpec(KEY), {FIRST: BINARY, SECOND: MULTICLASS}, {FIRST: "0a", SECOND: "0b"}
    )
    assert written == {}
    assert manager(tmp_path).data_versions(KEY, [FIRST, SECOND, THIRD]) == {FIRST: "0a", SECOND: "0b"}
    assert_same(load(folder, SECOND), MULTICLASS)


def test_only_the_cutoffs_that_are_named_are_written(tmp_path: Path, folder: UPath) -> None:
    reports = {cutoff: replace(BINARY, run_id="0") for cutoff in (FIRST, SECOND)}
    manager(tmp_path).write(dg.AssetSpec(KEY), reports, {FIRST: "0a", SECOND: "0b"})
    manager(tmp_path).write(dg.AssetSpec(KEY), {FIRST: BINARY, SECOND: BINARY, THIRD: BINARY}, {FIRST: "0c"})
    assert manager(tmp_path).data_versions(KEY, [FIRST, SECOND, THIRD]) == {FIRST: "0c", SECOND: "0b"}
    assert_same(load(folder, FIRST), BINARY)
    assert load(folder, SECOND).run_id == "0"


def test_without_partitions_the_report_has_a_data_version_too(tmp_path: Path) -> None:
    assert manager(tmp_path).data_versions(KEY, [None]) == {}
    manager(tmp_path).write(dg.AssetSpec(KEY), {None: BINARY}, {None: "0a"})
    assert manager(tmp_path).data_versions(KEY, [None]) == {None: "0a"}


def test_a_report_of_an_asset_of_ones_own_has_no_data_version(tmp_path: Path) -> None:
    run(tmp_path, evaluation({FIRST: BINARY}), cutoffs=(FIRST, FIRST))
    assert manager(tmp_path).data_versions(KEY, [FIRST]) == {}
    assert list(manager(tmp_path).reports(KEY, [FIRST, SECOND])) == [FIRST]
