"""The stage `evaluation` in the graph: intervals, slices, findings, and what keeps a model from being judged."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import dagster as dg
import numpy as np
import polars as pl
import pytest
from sklearn.metrics import roc_auc_score

from ml_platform.cli.project import Project
from ml_platform.cli.run import run_use_case
from ml_platform.ml.report import Report
from ml_platform.stages.acceptance import Acceptance, accept
from ml_platform.use_case import Stage
from ml_platform_tests.tiny_project import (
    AMOUNT,
    CUTOFF,
    DAYS,
    FIRST,
    Variant,
    payments,
    reasons,
    run,
    tiny_project,
    verdicts,
)

BOTH = AMOUNT.replace('"amount")', '"amount", "other")')
LATER, LATER_DAYS = "2024-01-14", 13
DRIFT = FIRST + timedelta(days=6)


def by_regulars(day: date) -> pl.DataFrame:
    """Rows of thirty terminals, each of which always has about the same amount and the same label."""
    rows, rng = payments(day), np.random.default_rng(3)
    amount, fraud = rng.exponential(10, 30), rng.permutation(30) < 10
    amount[fraud] += 3
    of = rows["terminal"].to_numpy()
    noise = np.random.default_rng(day.toordinal()).normal(0, 0.01, rows.height)
    return rows.with_columns(amount=pl.Series(amount[of] + noise), fraud=pl.Series(fraud[of].astype(np.int64)))


def drifting(day: date) -> pl.DataFrame:
    """Rows whose label follows the amount on the first days, and `other` from the drift on."""
    rows = payments(day)
    return rows if day < DRIFT else rows.rename({"amount": "other", "other": "amount"})


def unlabelled(day: date) -> pl.DataFrame:
    """Rows of which those of the hold-out have no label."""
    rows = payments(day)
    return rows.with_columns(fraud=pl.lit(None, pl.Int64)) if FIRST + timedelta(days=4) <= day else rows


def repeated(day: date) -> pl.DataFrame:
    """Rows that come once more four days later, under other keys."""
    rows = payments(day - timedelta(days=4) if day >= FIRST + timedelta(days=4) else day)
    moved = day - rows["at"][0].date()
    return rows.with_columns(id=pl.col("id") % 1000 + 1000 * (day - FIRST).days, at=pl.col("at") + moved)


BY_CITY = {"evaluation": {"slices": ["city"], "slice_rows": 20}}
LOOKED_AT: dict[str, Any] = {
    "evaluation": {
        "slices": ["city", "amount"],
        "slice_rows": 20,
        "behaviour": [{"increases_with": "amount"}, {"invariant_to": "amount"}],
        "latency": {"one_row_ms": 0.0001, "thousand_rows_ms": 60_000},
    },
    "gates": [{"metric": "roc_auc", "at_least": 0.5}],
}
VARIANTS = {
    "looked_at": Variant(LOOKED_AT),
    "by_row": Variant(BY_CITY, rows=by_regulars),
    "by_terminal": Variant({**BY_CITY, "contract": {"entity": "terminal"}}, rows=by_regulars),
    "drifting": Variant(features=BOTH, rows=drifting, days=LATER_DAYS),
    "misnamed": Variant({"evaluation": {"slices": ["citi"]}}),
    "unlabelled": Variant(rows=unlabelled),
    "repeated": Variant(features=BOTH, rows=repeated),
}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    with tiny_project(tmp_path_factory.mktemp("evaluations"), VARIANTS) as opened:
        yield opened


def trained(project: Project, name: str, days: int = DAYS) -> None:
    """A model of a variant."""
    for stages in ((), ("model",)):
        succeeded, outcome = run(project, name, *stages, days=days)
        assert succeeded, (outcome.errors, reasons(outcome, "model"))


def evaluated(project: Project, name: str) -> Report:
    """The report on a new model of a variant."""
    trained(project, name)
    succeeded, outcome = run(project, name, "evaluation")
    assert succeeded, (outcome.errors, reasons(outcome, "evaluation"))
    return report_of(project, name)


def report_of(project: Project, name: str, cutoff: str = CUTOFF) -> Report:
    return project.work(name).reports.reports(dg.AssetKey([name, "evaluation"]), [cutoff])[cutoff]


@pytest.fixture(scope="module")
def report(project: Project) -> Report:
    return evaluated(project, "looked_at")


def rows_of_the_hold_out(report: Report) -> pl.DataFrame:
    """The scores of a report, with the columns of the source."""
    days = pl.concat([payments(FIRST + timedelta(days=number)) for number in range(DAYS)])
    return report.scores.join(days, on="id", how="left", maintain_order="left", validate="1:1")


def test_slices_of_the_contract_and_of_the_features_have_the_rows_that_they_name(report: Report) -> None:
    rows = rows_of_the_hold_out(report)
    cities = {one.value: one for one in report.slices if one.column == "city"}
    assert sorted(cities) == ["Bern", "Oslo", "Rome"]
    for city, one in cities.items():
        chosen = rows.filter(pl.col("city") == city)
        assert one.rows == chosen.height
        assert one.metrics["roc_auc"].point == pytest.approx(roc_auc_score(chosen["label"], chosen["model"]))
    quartiles = [one for one in report.slices if one.column == "amount"]
    assert len(quartiles) >= 2
    for one in quartiles:
        low, high = map(float, one.value.split(" to "))
        # the ends are told with six digits
        between = pl.col("amount").is_between(low * (1 - 1e-5), high * (1 + 1e-5))
        assert one.rows == pytest.approx(rows.filter(between).height, abs=2)


def test_an_evaluation_has_its_pictures(project: Project, report: Report) -> None:
    names = ["roc_curve", "precision_recall_curve", "calibration_curve", "confusion_matrix", "importance"]
    assert sorted(report.figures) == sorted(names)
    assert all(picture.startswith(b"\x89PNG") for picture in report.figures.values())
    event = project.instance.get_latest_materialization_event(dg.AssetKey(["looked_at", "evaluation"]))
    assert event is not None
    assert event.asset_materialization is not None
    shown = str(event.asset_materialization.metadata["pictures"].value)
    assert all(f"![{name}](data:image/png;base64," in shown for name in names)


def test_the_calibration_error_is_among_the_metrics(report: Report) -> None:
    interval = report.metrics["calibration_error"]
    assert 0 <= interval.low <= interval.point <= interval.high < 0.5


def test_findings_do_not_block_the_evaluation_and_keep_the_model_from_promotion(
    project: Project, report: Report
) -> None:
    succeeded, outcome = run(project, "looked_at", "evaluation", force=True)

    assert succeeded
    assert verdicts(outcome, "evaluation") == {
        "measurable": True,
        "separate": True,
        "increases_with_amount": True,
        "invariant_to_amount": False,
        "latency_one_row": False,
        "latency_thousand_rows": True,
        "importance_shift": True,
    }
    found = reasons(outcome, "evaluation")
    assert found["invariant_to_amount"].startswith("the score moves with 'amount' in ")
    assert "at most 0.0001 ms may pass" in found["latency_one_row"]
    assert report.findings["increases_with_amount"] is None

    succeeded, outcome = run(project, "looked_at", "promotion")

    assert succeeded
    decision = outcome.stages["promotion"].latest
    assert decision["promoted"] is False
    assert "invariant_to_amount: the score moves with 'amount' in " in decision["reason"]
    assert "latency_one_row: a prediction of one row took " in decision["reason"]
    assert project.work("looked_at").tracking.champion("looked_at") is None


def test_with_an_entity_the_intervals_are_those_of_entities(project: Project) -> None:
    by_row, by_terminal = evaluated(project, "by_row"), evaluated(project, "by_terminal")
    assert "__entity" in by_terminal.scores.columns
    assert "__entity" not in by_row.scores.columns
    assert by_terminal.scores["model"].equals(by_row.scores["model"])
    for metric in ("roc_auc", "log_loss"):
        row, entity = by_row.metrics[metric], by_terminal.metrics[metric]
        assert row.point == entity.point
        assert entity.high - entity.low > 1.5 * (row.high - row.low)
    row, entity = by_row.importance["amount"], by_terminal.importance["amount"]
    assert entity.high - entity.low > 1.5 * (row.high - row.low)
    assert [one.value for one in by_terminal.slices] == [one.value for one in by_row.slices] != []
    for by_rows, by_entities in zip(by_row.slices, by_terminal.slices, strict=True):
        row, entity = by_rows.metrics["log_loss"], by_entities.metrics["log_loss"]
        assert entity.high - entity.low > 1.5 * (row.high - row.low)


def test_a_model_that_looks_at_other_features_than_the_champion_is_promoted_with_a_warning(project: Project) -> None:
    trained(project, "drifting")
    succeeded, outcome = run(project, "drifting", "evaluation", "promotion")
    assert succeeded
    assert outcome.stages["promotion"].latest["promoted"] is True
    assert reasons(outcome, "evaluation") == {}  # there was no champion to compare with

    trained(project, "drifting", LATER_DAYS)
    succeeded, outcome = run(project, "drifting", "evaluation", "promotion", days=LATER_DAYS)

    assert succeeded, (outcome.errors, reasons(outcome, "evaluation"))
    (shift,) = reasons(outcome, "evaluation").items()
    assert shift[0] == "importance_shift"
    assert "'other' gained most" in shift[1]
    assert "'amount' lost most" in shift[1]
    assert report_of(project, "drifting", LATER).findings["importance_shift"] == shift[1]
    assert outcome.stages["promotion"].latest["promoted"] is True
    storage = project.instance.event_log_storage
    (record,) = storage.get_asset_check_execution_history(
        dg.AssetCheckKey(dg.AssetKey(["drifting", "evaluation"]), "importance_shift"), limit=1
    )
    assert record.event is not None
    evaluation = record.event.dagster_event.asset_check_evaluation_data  # type: ignore[union-attr]
    assert (evaluation.severity, evaluation.passed) == (dg.AssetCheckSeverity.WARN, False)


def test_a_slice_of_an_unknown_column_is_told_with_the_one_that_was_meant(project: Project) -> None:
    trained(project, "misnamed")
    succeeded, outcome = run(project, "misnamed", "evaluation")
    assert not succeeded
    assert not outcome.errors
    reason = reasons(outcome, "evaluation")["measurable"]
    assert reason.startswith("there is no column 'citi' in contract or features; ")
    assert "city" in reason


def test_a_feature_that_is_without_values_now_is_told_of_the_model_that_learned_it(registered: Project) -> None:
    table = registered.work("payments").lake.table(dg.AssetKey(["payments", "features"]))
    rows = table.scan().collect()
    days = rows["partition"].unique().to_list()
    versions = table.data_versions(days)
    stages: tuple[Stage, ...] = ("evaluation",)

    def judged(changed: pl.DataFrame) -> tuple[bool, dict[str, str]]:
        table.overwrite(changed, days, versions)
        succeeded, outcome = run_use_case(
            registered, "payments", None, "2018-04-29", stages=stages, force=True, quiet=True
        )
        assert not outcome.errors
        return succeeded, reasons(outcome, "evaluation")

    reason = (
        "the model needs the feature 'TX_AMOUNT', which the features lack; make them with it, or materialize model "
        "again."
    )
    nothing = pl.lit(None, pl.Float64)
    assert judged(rows.with_columns(TX_AMOUNT=nothing)) == (False, {"measurable": reason})
    newest = pl.col("partition") > date(2018, 4, 24)  # the hold-out
    later = pl.when(newest).then(nothing).otherwise("TX_AMOUNT")
    assert "measurable" not in judged(rows.with_columns(TX_AMOUNT=later))[1]


def test_a_hold_out_without_labels_is_told(project: Project) -> None:
    trained(project, "unlabelled")
    succeeded, outcome = run(project, "unlabelled", "evaluation")
    assert not succeeded
    assert reasons(outcome, "evaluation") == {
        "measurable": "no rows with labels in 2024-01-05..2024-01-06; use longer windows."
    }


def test_rows_to_judge_on_that_were_trained_on_under_other_keys_are_told_until_that_is_accepted(
    project: Project,
) -> None:
    trained(project, "repeated")
    succeeded, outcome = run(project, "repeated", "evaluation")

    assert not succeeded
    assert not outcome.errors
    reason = reasons(outcome, "evaluation")["separate"]
    assert "the hold-out has 600 of 600 rows (100%) to judge on with the features and the label of a row" in reason
    assert reason.endswith(": remove the repeated rows at the source.")
    assert not project.work("repeated").reports.reports(dg.AssetKey(["repeated", "evaluation"]), [CUTOFF])

    now = datetime.now(UTC)
    why = Acceptance("evaluation", CUTOFF, "a drill", now.date(), "ann", now.replace(tzinfo=None))
    accept(project.work("repeated").lake, "repeated", why)
    succeeded, outcome = run(project, "repeated", "evaluation")
    assert succeeded
    assert outcome.stages["evaluation"].latest["accepted"] == f"accepted by ann until {now.date()}: a drill"


def test_evaluations_do_not_depend_on_the_order_of_the_files_rows(project: Project, report: Report) -> None:
    variant = replace(VARIANTS["looked_at"], rows=lambda day: payments(day).reverse())
    for number in range(DAYS):
        day = FIRST + timedelta(days=number)
        variant.rows(day).write_parquet(project.folder / "data" / f"looked_at-{day}.parquet")
    again = evaluated(project, "looked_at")
    assert again.run_id != report.run_id
    assert again.metrics == report.metrics
    assert again.slices == report.slices
    assert again.scores.equals(report.scores)
